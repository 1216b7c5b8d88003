"""A recording as one file: a gzip'ed tar, written by `pack`, read back with suspicion by `unpack`."""

from __future__ import annotations

import json
import math
import os
import zlib

from pyctr.core.capture.moments import LINK, Moment, Recording, check
from pyctr.core.errors import StorageError, Unsupported, from_oserror
from pyctr.core.files import archives
from pyctr.core.images import tarstream
from pyctr.core.images.tarstream import Entry, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FORMAT = "pyctr-capture"
VERSION = 1
"""Raised when a reader of before would show something false. Files it does not know are no reason."""
MANIFEST = "manifest.json"
PLAIN = 512 << 20
"""Bytes a recording may have unpacked, and `MEMBERS` files."""
MEMBERS = 500_000
_PAX = 1 << 13
_BLOCK = 512
_DAMAGED = "get it again, or make another one with pyctr capture"


def pack(recording: Recording, write: Callable[[bytes], object]) -> None:
    """The archive, through `write`. The same recording gives the same bytes."""
    gzip = zlib.compressobj(6, wbits=31)

    def out(content: bytes) -> None:
        if packed := gzip.compress(content):
            write(packed)

    moments = [{"time": moment.time, "gone": list(moment.gone)} for moment in recording.moments]
    manifest = {"format": FORMAT, "version": VERSION, **recording.manifest, "moments": moments}
    _member(out, MANIFEST, json.dumps(manifest, indent=1).encode() + b"\n")
    for number, moment in enumerate(recording.moments):
        for name in sorted(moment.changed):
            _member(out, f"{number}/{name}", moment.changed[name])
    out(bytes(2 * _BLOCK))
    write(gzip.flush())


def _member(out: Callable[[bytes], object], name: str, content: bytes) -> None:
    """POSIX ustar, with a pax header where a name is too long for it."""
    link = name.endswith(LINK)
    path = os.fsencode(name.removesuffix(LINK))
    target = content if link else b""
    if len(path) > 100 or len(target) > 100:
        records = _record("path", path) + (_record("linkpath", target) if link else b"")
        _header(out, b"pax", b"", "x", len(records))
        _padded(out, records)
    _header(out, path[:100], target[:100], tarstream.SYMLINK if link else tarstream.FILE, 0 if link else len(content))
    if not link:
        _padded(out, content)


def _record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    size = len(body) + len(str(len(body)))
    if len(str(size)) > len(str(len(body))):
        size += 1
    return str(size).encode() + body


def _header(out: Callable[[bytes], object], path: bytes, target: bytes, kind: str, size: int) -> None:
    block = bytearray(_BLOCK)
    block[0 : len(path)] = path
    block[100:124] = b"0000600\0" + b"0000000\0" * 2
    block[124:148] = b"%011o\0" % size + b"%011o\0" % 0
    block[148:156] = b" " * 8
    block[156:157] = kind.encode()
    block[157 : 157 + len(target)] = target
    block[257:265] = b"ustar\00000"
    block[148:156] = b"%06o\0 " % sum(block)
    out(bytes(block))


def _padded(out: Callable[[bytes], object], content: bytes) -> None:
    out(content)
    out(bytes(-len(content) % _BLOCK))


def unpack(path: str) -> Recording:
    """The recording in a file. Raises PyctrError: no such file, no capture, one of a later pyctr, a damaged one, one
    with names or links that lead elsewhere, one that is too large."""
    try:
        with open(path, "rb") as file:
            return _read(file)
    except OSError as error:
        raise from_oserror(error, "opening the recording") from None
    except StorageError as error:
        raise StorageError(f"'{path}' cannot be replayed: {error.message}", hint=error.hint or _DAMAGED) from None


def _read(file: archives.Readable) -> Recording:
    stream = Stream(archives.plain(file))
    found: dict[str, bytes] = {}
    manifest: dict[str, Any] | None = None
    room = PLAIN
    for entry in tarstream.entries(stream):
        if manifest is None:
            manifest = _manifest(entry, stream)
            continue
        room -= entry.size + len(entry.name)
        if room < 0 or len(found) >= MEMBERS:
            raise StorageError(f"it is larger than {PLAIN >> 20} MiB or has more than {MEMBERS} files")
        name = entry.name
        if entry.kind == tarstream.SYMLINK:
            name, content = name + LINK, os.fsencode(entry.linkname)
        elif entry.kind == tarstream.FILE and entry.spans is None and not name.endswith(LINK):
            content = stream.exactly(entry.size)
            stream.pad(entry.size)
        else:
            raise StorageError(f"'{name}' is neither a file nor a link", hint=_DAMAGED)
        if name in found:
            raise StorageError(f"'{name}' is in it twice")
        found[name] = content
    stream.drain()
    if manifest is None:
        raise StorageError("it is empty")
    return Recording(manifest, _moments(manifest, found))


def _manifest(entry: Entry, stream: Stream) -> dict[str, Any]:
    if entry.name != MANIFEST or entry.kind != tarstream.FILE or entry.size > 64 << 20:
        raise StorageError("it is no capture of a host", hint="pyctr capture -o FILE makes one")
    try:
        manifest = json.loads(stream.exactly(entry.size))
        stream.pad(entry.size)
        if manifest["format"] != FORMAT:
            raise ValueError
        version = int(manifest["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StorageError("it is no capture of a host", hint="pyctr capture -o FILE makes one") from None
    if version != VERSION:
        raise Unsupported(f"the recording has format {version}, this pyctr reads {VERSION}", hint="use a newer pyctr")
    return dict(manifest)


def _moments(manifest: dict[str, Any], found: dict[str, bytes]) -> tuple[Moment, ...]:
    changed: dict[str, dict[str, bytes]] = {}
    for name, content in found.items():
        number, _, rest = name.partition("/")
        changed.setdefault(number, {})[rest] = content
    try:
        told = [(float(one["time"]), tuple(str(name) for name in one["gone"])) for one in manifest["moments"]]
    except (ValueError, KeyError, TypeError):
        raise StorageError("its manifest does not say what is when") from None
    moments = tuple(Moment(time, changed.pop(str(number), {}), gone) for number, (time, gone) in enumerate(told))
    if changed or not moments:
        raise StorageError("its manifest does not fit what is in it")
    times = [moment.time for moment in moments]
    if times != sorted(times) or not all(map(math.isfinite, times)):
        raise StorageError("its moments are not one after the other")
    check(moments)
    return moments
