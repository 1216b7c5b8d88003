"""What containers said to the journal (docker's and podman's `journald` drivers): `journalctl` reads its files.

The journal's files are compressed in ways that only systemd's library reads, so this is the one log that another
program is started for; no daemon is asked by it either.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
from collections import deque

from pyctr.core import errors
from pyctr.core.engines.model import Log
from pyctr.core.logentries import Form, Joiner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyctr.core.engines.trees import Tree
    from pyctr.core.logentries import Entry, Line

MACHINE = "/var/log/journal"
"""Where the machine's own journal is kept, or else below /run: journalctl knows."""
_FIELDS = "MESSAGE,PRIORITY,CONTAINER_PARTIAL_MESSAGE,CONTAINER_PARTIAL_LAST"
_ERROR = 3
"""The priority of stderr, syslog(3); stdout has 6."""


def log(tree: Tree, id: str) -> Log:
    """Its path is a directory of journals, and what entries of that container have in them."""
    if tree.guarded:
        # journalctl would follow links out of there
        return Log(why=f"they are in the journal inside: journalctl CONTAINER_ID_FULL={id}")
    return Log("journal", f"{tree.where(MACHINE)}/CONTAINER_ID_FULL={id}")


def parse(entry: bytes) -> Entry | None:
    """Of a line of `journalctl -o json`."""
    return _parsed(_document(entry))


def _document(entry: bytes) -> dict[str, Any]:
    try:
        found = json.loads(entry)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _parsed(found: dict[str, Any]) -> Entry | None:
    text = found.get("MESSAGE")
    try:
        # what is no text comes as numbers
        content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text or ())
        stamp = int(found["__REALTIME_TIMESTAMP"]) * 1000
        stream = "stderr" if int(found.get("PRIORITY", 6)) <= _ERROR else "stdout"
    except (KeyError, TypeError, ValueError):
        return None
    partial = found.get("CONTAINER_PARTIAL_MESSAGE") == "true" and found.get("CONTAINER_PARTIAL_LAST") != "true"
    return stamp, stream, not partial, content.removesuffix(b"\n")


def _whole(entry: bytes) -> bool:
    parsed = parse(entry)
    return parsed is not None and parsed[2]


FORM = Form(parse, _whole)


def read(
    path: str,
    tail: int | None = None,
    since: int | None = None,
    until: int | None = None,
    follow: bool = False,
    *,
    stop: int = -1,
    parts: bool = False,
    current: Callable[[], None] | None = None,
) -> Iterator[Line]:
    """As `logreading.read`. Raises Unsupported where there is no journalctl, PyctrError for what it complains of."""
    joiner = Joiner(parts and tail is None, FORM)
    cursor = ""
    lines: list[Line] | deque[Line]
    if tail is None:
        for entry in _entries(path, _bounds(since, until)):
            cursor = _document(entry).get("__CURSOR", cursor)
            yield from joiner.feed(entry)
    else:
        newest = _last(path, _bounds(since, until), tail)
        cursor = _document(newest[-1]).get("__CURSOR", "") if newest else ""
        lines = deque((line for entry in newest for line in joiner.feed(entry)), maxlen=tail)
        if not follow:
            lines.extend(joiner.rest())
        yield from lines
        if follow and parts:
            yield from joiner.rest()
    if follow and until is None:
        joiner.parts = parts
        if current is not None:
            current()
        words = [f"--after-cursor={cursor}"] if cursor else _bounds(since, None)
        for entry in _entries(path, ["--follow", "--no-tail", *words], stop):
            cursor = _document(entry).get("__CURSOR", cursor)
            yield from joiner.feed(entry)
        # what was under way to the journal when the container ended
        for entry in _entries(path, [f"--after-cursor={cursor}"] if cursor else words):
            yield from joiner.feed(entry)
    yield from joiner.rest()


def _bounds(since: int | None, until: int | None) -> list[str]:
    """The journal counts microseconds; both ends are inside, as in `logreading.read`."""
    words = [f"--since=@{since // 1000 / 1e6:.6f}"] if since is not None else []
    return words + ([f"--until=@{-(-until // 1000) / 1e6:.6f}"] if until is not None else [])


def _last(path: str, bounds: list[str], count: int) -> list[bytes]:
    """The entries of the last `count` lines, and of an unfinished one at the end."""
    found: list[bytes] = []
    wanted = count + 1
    entries = _entries(path, [*bounds, "--reverse"])
    try:
        for entry in entries:
            # this one ends the line before those that are wanted
            wanted -= _whole(entry) or not found
            if wanted <= 0 and count:
                break
            found.append(entry)
            if not count:
                break  # only its cursor is of use
    finally:
        entries.close()  # type: ignore[attr-defined]
    found.reverse()
    return found


def _entries(path: str, words: list[str], stop: int = -1) -> Iterator[bytes]:
    """Lines of journalctl; until `stop` becomes readable, if it is given."""
    program = shutil.which("journalctl")
    if program is None:
        raise errors.Unsupported("its log is in the journal, and there is no journalctl", hint="it comes with systemd")
    directory, _, match = path.rpartition("/")
    where = [] if directory == MACHINE else [f"--directory={directory}"]
    base = ["--all", "--quiet", "--no-pager", "--output=json", f"--output-fields={_FIELDS}"]
    process = subprocess.Popen(
        [program, *base, *where, *words, match],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if stop < 0 else subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
    )
    assert process.stdout is not None
    ended = False
    try:
        yield from _lines(process.stdout.fileno(), stop)
        ended = stop < 0
    finally:
        if not ended:
            process.send_signal(signal.SIGKILL)
        said = process.stderr.read(4096) if process.stderr is not None and ended else b""
        process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()
        process.wait()
    if ended and process.returncode and said:
        words_said = said.decode("utf-8", "replace").strip().splitlines()
        raise errors.Unsupported("the journal cannot be read", hint=words_said[-1] if words_said else "")


def _lines(fd: int, stop: int) -> Iterator[bytes]:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    if stop >= 0:
        poller.register(stop, select.POLLIN)
    carry = b""
    while True:
        ready = {one for one, _ in poller.poll()}
        if fd in ready:
            block = os.read(fd, 1 << 16)
            if not block:
                return
            lines = (carry + block).split(b"\n")
            carry = lines.pop()
            yield from lines
        elif stop in ready:
            return
