"""Whatever is done to an archive, unpacking it ends in files below the root or in one clear error."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core.errors import PyctrError
from pyctr.core.files.extract import Extractor
from pyctr.core.images.unpack import Unpacker
from tests.support.images import archive, hardlink, member, symlink

_FIELDS = {
    "name": (0, 100), "mode": (100, 108), "uid": (108, 116), "gid": (116, 124), "size": (124, 136), "mtime": (136, 148),
    "kind": (156, 157), "link": (157, 257), "major": (329, 337), "minor": (337, 345), "prefix": (345, 500),
    "map": (386, 482), "real": (482, 495),
}  # fmt: skip
_MEMBERS = [
    member("d/", mode=0o755),
    member("d/f", b"x" * 700, pax_headers={"mtime": "1600000000.25", "SCHILY.xattr.user.note": "kept", "uid": "5"}),
    member("s", b"abcdefgh", pax_headers={"GNU.sparse.map": "0,4,8,4", "GNU.sparse.size": "16"}),
    symlink("l", "/d"),
    hardlink("h", "d/f"),
    member("l/.wh.x"),
    member("d/.wh..wh..opq"),
    member("pipe", type=tarfile.FIFOTYPE),
    member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
]
_WHOLE = [archive(_MEMBERS, format) for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)]

_values = st.one_of(
    st.sampled_from([b"\xff" * 12, b"7" * 12, b"\x80" + b"\xff" * 11, b"-1", b"0o7", b"", b"S", b"x"]),
    st.sampled_from([b"../victim", b"l/../.."]),
    st.binary(max_size=155),
)  # fmt: skip
_edits = st.one_of(
    st.tuples(st.just("field"), st.integers(0, 40), st.sampled_from(sorted(_FIELDS)), _values),
    st.tuples(st.just("byte"), st.integers(0, 1 << 14), st.just(""), st.binary(min_size=1, max_size=3)),
    st.tuples(st.just("cut"), st.integers(0, 1 << 14), st.just(""), st.just(b"")),
)


def edited(whole: bytes, edits: list[tuple[str, int, str, bytes]]) -> bytes:
    """With right checksums all the same: those are for accidents."""
    content = bytearray(whole)
    for what, number, field, value in edits:
        heads = [at for at in range(0, len(content) - 511, 512) if content[at + 257 : at + 262] == b"ustar"]
        if what == "field" and heads:
            start, end = (heads[number % len(heads)] + place for place in _FIELDS[field])
            content[start:end] = value[: end - start].ljust(end - start, b"\0")
        elif what == "byte" and content:
            number %= len(content)
            content[number : number + len(value)] = value
        elif what == "cut":
            del content[number:]
    for at in range(0, len(content) - 511, 512):
        if content[at + 257 : at + 262] == b"ustar":
            content[at + 148 : at + 156] = b" " * 8
            content[at + 148 : at + 156] = f"{sum(content[at : at + 512]):06o}\0 ".encode()
    return bytes(content)


@settings(max_examples=400, derandomize=True)
@given(st.sampled_from(_WHOLE), st.lists(_edits, min_size=1, max_size=5), st.booleans())
def test_a_mangled_archive_is_unpacked_below_the_root_or_refused(
    whole: bytes, edits: list[tuple[str, int, str, bytes]], add: bool
) -> None:
    top = Path(tempfile.mkdtemp())
    try:
        (top / "victim").write_text("untouched")
        (top / "into").mkdir()
        fd = os.open(top / "into", os.O_RDONLY | os.O_DIRECTORY)
        try:
            if add:
                Extractor(fd).extract([edited(whole, edits)])
            else:
                Unpacker(fd).unpack([edited(whole, edits)])
        except PyctrError as error:
            assert error.message
        finally:
            os.close(fd)
        assert sorted(os.listdir(top)) == ["into", "victim"] and (top / "victim").read_text() == "untouched"
    finally:
        shutil.rmtree(top)
