"""Sparse members: holes stay holes in every spelling, and a map that lies is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from pyctr.core.errors import StorageError
from pyctr.core.files.extract import Extractor
from pyctr.core.images.store import ImageStore
from pyctr.core.images.transfer import load_layout
from pyctr.core.images.unpack import Unpacker
from pyctr.core.paths import Paths
from tests.support.images import archive, member

_MIB = 1 << 20
WAYS = {
    "old GNU": ["--format=gnu"],
    "PAX 0.0": ["--format=posix", "--sparse-version=0.0"],
    "PAX 0.1": ["--format=posix", "--sparse-version=0.1"],
    "PAX 1.0": ["--format=posix", "--sparse-version=1.0"],
}
gnu_tar = pytest.mark.skipif(
    not shutil.which("tar") or b"GNU tar" not in subprocess.run(["tar", "--version"], capture_output=True).stdout,
    reason="needs GNU tar, which writes sparse files",
)


def unpack(into: Path, content: bytes, *, add: bool = False) -> Path:
    """As a layer, or as ADD and cp do it."""
    into.mkdir()
    fd = os.open(into, os.O_RDONLY | os.O_DIRECTORY)
    pieces = (content[at : at + 700] for at in range(0, len(content), 700))
    try:
        if add:
            Extractor(fd).extract(pieces)
        else:
            Unpacker(fd).unpack(pieces)
    finally:
        os.close(fd)
    return into


def holed(path: Path, parts: int, size: int) -> bytes:
    """A file with `parts` pieces of data; what is in it."""
    with path.open("wb") as file:
        for number in range(parts):
            file.seek(size // parts * number + 8192)
            file.write(f"part {number} ".encode() * 700)
        file.truncate(size)
    return path.read_bytes()


@gnu_tar
@pytest.mark.parametrize("add", [False, True], ids=["layer", "ADD"])
@pytest.mark.parametrize("way", WAYS)
def test_what_gnu_tar_packs_sparse_has_its_holes_again(tmp_path: Path, way: str, add: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    # more parts than a header, and than one block after it, has places for
    expected = {
        "few": holed(source / "few", 2, 4 * _MIB),
        "many": holed(source / "many", 60, 8 * _MIB),
        "n" * 150: holed(source / ("n" * 150), 1, _MIB),
        "hole": b"\0" * 3 * _MIB,
        "plain": b"after them" * 100,
    }
    (source / "hole").touch()
    os.truncate(source / "hole", 3 * _MIB)
    (source / "plain").write_bytes(expected["plain"])
    done = subprocess.run(
        ["tar", "-C", str(source), "--sparse", *WAYS[way], "-cf", "-", *sorted(expected)],
        capture_output=True,
        check=True,
    )
    assert len(done.stdout) < 4 * _MIB, "it was packed without holes"
    into = unpack(tmp_path / "into", done.stdout, add=add)
    assert {path.name for path in into.iterdir()} == set(expected)
    for name, content in expected.items():
        assert (into / name).read_bytes() == content, name
    assert (into / "hole").stat().st_blocks == 0
    assert (into / "many").stat().st_blocks * 512 < 2 * _MIB


def with_records(records: dict[str, str], content: bytes) -> bytes:
    return archive([member("f", content, pax_headers=records), member("next", "n")])


def old(places: list[tuple[int, int]], real: int, content: bytes, *, extended: int = 0) -> bytes:
    """One old GNU sparse member whose map says just that."""
    header = bytearray(tarfile.TarInfo("f").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = f"{len(content):011o}\0".encode()
    header[156:157] = b"S"
    for number, (offset, count) in enumerate(places):
        header[386 + 24 * number : 410 + 24 * number] = f"{offset:011o}\0{count:011o}\0".encode()
    header[482] = extended
    header[483:495] = f"{real:011o}\0".encode()
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header) + content + b"\0" * (-len(content) % 512) + archive([member("next", "n")])


def one_point_zero(lines: bytes, content: bytes, real: int) -> bytes:
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(real)}
    return with_records(records, lines + b"\0" * (-len(lines) % 512) + content)


def map_of(text: str, size: int, content: bytes, **more: str) -> bytes:
    records = {"GNU.sparse.map": text, "GNU.sparse.size": str(size)}
    return with_records(records | {f"GNU.sparse.{key}": value for key, value in more.items()}, content)


def test_maps_by_hand_say_what_the_broken_ones_below_do_not(tmp_path: Path) -> None:
    for number, content in enumerate(
        [old([(0, 4), (8, 4)], 16, b"abcdefgh"), map_of("0,4,8,4", 16, b"abcdefgh", numblocks="2"),
         one_point_zero(b"2\n0\n4\n8\n4\n", b"abcdefgh", 16)]
    ):  # fmt: skip
        into = unpack(tmp_path / str(number), content)
        assert (into / "f").read_bytes() == b"abcd\0\0\0\0efgh\0\0\0\0" and (into / "next").read_text() == "n"


HOSTILE = {
    "overlap": old([(0, 4), (2, 4)], 16, b"abcdefgh"),
    "backwards": old([(8, 4), (0, 4)], 16, b"abcdefgh"),
    "behind the end": old([(8, 8)], 12, b"abcdefgh"),
    "fewer bytes than told": old([(0, 400)], 400, b"abcdefgh"),
    "more bytes than told": old([(0, 4)], 16, b"abcdefgh"),
    "blocks that never come": old([(0, 4)], 16, b"", extended=1)[:512],
    "negative": map_of("-4,8", 16, b"abcdefgh"),
    "no number": map_of("0,8x", 16, b"abcdefgh"),
    "half a place": map_of("0,8,16", 16, b"abcdefgh"),
    "another count": map_of("0,8", 16, b"abcdefgh", numblocks="1000000"),
    "no size": with_records({"GNU.sparse.map": "0,8"}, b"abcdefgh"),
    "beyond what files can be": map_of("9223372036854775800,8", 1 << 63, b"abcdefgh"),
    "digits without end": with_records({"GNU.sparse.map": "0,8", "GNU.sparse.size": "9" * 5000}, b"abcdefgh"),
    "lines without end": one_point_zero(b"1" * 5000, b"", 8),
    "a count without end": one_point_zero(b"99999999\n0\n8\n", b"abcdefgh", 8),
    "a map that is cut": one_point_zero(b"2\n0\n4\n", b"", 8),
    "another version": with_records({"GNU.sparse.major": "2", "GNU.sparse.minor": "0"}, b"abcdefgh"),
    "half a version": with_records({"GNU.sparse.major": "1"}, b"abcdefgh"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_map_that_lies_is_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(StorageError, match=r"sparse|ends in the middle"):
        unpack(tmp_path / "into", HOSTILE[what])


def test_a_map_of_millions_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    def blocks() -> bytes:
        empty = f"{0:011o}\0{0:011o}\0".encode() * 21 + b"\1" + b"\0" * 7
        return old([(0, 0)] * 4, 1 << 40, b"", extended=1)[:512] + empty * 20_000

    with pytest.raises(StorageError, match="more than"):
        unpack(tmp_path / "into", blocks())


def test_a_sparse_name_is_no_way_out_either(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    with pytest.raises(StorageError, match="outside"):
        unpack(tmp_path / "into", map_of("0,8", 8, b"abcdefgh", name="../victim"))
    assert victim.read_text() == "untouched"


def test_repeated_records_that_do_not_take_turns_are_refused(tmp_path: Path) -> None:
    records = b"".join(f"{len(text) + 4} {text}\n".encode() for text in ("GNU.sparse.offset=0", "GNU.sparse.offset=4"))
    extended = tarfile.TarInfo("x")
    extended.type, extended.size = tarfile.XHDTYPE, len(records)
    content = extended.tobuf(tarfile.USTAR_FORMAT) + records + b"\0" * (-len(records) % 512)
    with pytest.raises(StorageError, match="take turns"):
        unpack(tmp_path / "into", content + archive([member("f", "abcd")], tarfile.USTAR_FORMAT))


def test_a_huge_hole_takes_no_disk_and_a_size_no_filesystem_has_is_told(tmp_path: Path) -> None:
    into = unpack(tmp_path / "into", map_of("0,4", 1 << 40, b"abcd"))
    found = (into / "f").stat()
    assert found.st_size == 1 << 40 and found.st_blocks * 512 < _MIB
    content = map_of("0,4", (1 << 63) - 1, b"abcd")
    try:
        into = unpack(tmp_path / "more", content)
    except StorageError:
        raise AssertionError("a size the map has nothing against") from None
    except Exception as error:  # EFBIG on ext4, room on tmpfs and btrfs
        assert "unpacking 'f'" in str(error)


def test_an_image_archive_is_not_packed_like_that(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(map_of("0,8", 16, b"abcdefgh", name="manifest.json"))
    with pytest.raises(StorageError, match="packed as a sparse file"):
        load_layout(
            ImageStore(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run"))), str(tmp_path / "image.tar")
        )
