"""Recordings as archives: there and back, and what is refused of those that somebody else made."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.capture import archive
from pyctr.core.capture.moments import Moment, Recording, Stage, check, difference, from_json
from pyctr.core.errors import PyctrError, StorageError, Unsupported

ID = "a1" * 32
RECORD = json.dumps({"id": ID, "group": f"/pyctr/{ID}"}).encode()
LONG = f"root/containers/{ID}/" + "x" * 200
FIRST = {"proc/stat": b"cpu 1\n", f"root/containers/{ID}/state.json": RECORD, "root/names/web@": ID.encode(), LONG: b""}
SECOND = {"proc/stat": b"cpu 2\n", f"root/containers/{ID}/state.json": RECORD, "proc/7/comm": b"\xff\n"}


def recording() -> Recording:
    moments = (difference(10.0, {}, FIRST), difference(11.5, FIRST, SECOND))
    return Recording({"host": "web-01"}, moments)


def packed(path: Path, recorded: Recording) -> str:
    out = bytearray()
    archive.pack(recorded, out.extend)
    path.write_bytes(out)
    return str(path)


def forged(path: Path, members: dict[str, bytes | tarfile.TarInfo], **manifest: Any) -> str:
    """An archive by another hand: any members behind a manifest."""
    about = {"format": archive.FORMAT, "version": archive.VERSION, "moments": [{"time": 1.0, "gone": []}], **manifest}
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {"manifest.json": json.dumps(about).encode(), **members}.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_what_is_packed_comes_back_and_tar_reads_it_too(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.capture", recording())
    found = archive.unpack(path)
    assert found.manifest["host"] == "web-01"
    assert found.moments == recording().moments
    with tarfile.open(path) as tar:
        names = tar.getnames()
    assert names[0] == "manifest.json"
    assert {f"0/{LONG}", "0/root/names/web", "1/proc/7/comm"} <= set(names)
    assert (
        packed(tmp_path / "b.capture", recording())
        and (tmp_path / "a.capture").read_bytes() == (tmp_path / "b.capture").read_bytes()
    ), "the same recording is the same file"


def test_a_stage_shows_each_moment_and_goes_back(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path), recording())

    def there() -> dict[str, bytes]:
        files = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*")}
        found = {f"{name}@": os.readlink(path).encode() for name, path in files.items() if path.is_symlink()}
        return found | {name: path.read_bytes() for name, path in files.items() if path.is_file()}

    for number, wanted in ((0, FIRST), (1, SECOND), (0, FIRST), (1, SECOND)):
        stage.show(number)
        assert there() == wanted
    kept = os.open(tmp_path / "proc/stat", os.O_RDONLY)
    try:
        stage.show(0)
        assert os.pread(kept, 100, 0) == b"cpu 1\n", "who keeps a file open sees the host go on"
    finally:
        os.close(kept)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"0/proc/../../etc/cron.d/x": b"x"}, "has no place in a recording"),
        ({"0//etc/passwd": b"x"}, "has no place"),
        ({"0/etc/passwd": b"x"}, "has no place"),
        ({"../proc/stat": b"x"}, "does not fit"),
        ({"0/root/names/x": special("0/root/names/x", tarfile.SYMTYPE, "/etc/shadow")}, "leads out"),
        ({"0/root/names/x": special("0/root/names/x", tarfile.SYMTYPE, "../../../etc")}, "leads out"),
        ({"0/root/names/x": special("0/root/names/x", tarfile.SYMTYPE, "a/../../../../etc")}, "leads out"),
        (
            {"0/root/l": special("0/root/l", tarfile.SYMTYPE, ".."), "0/root/l/x": b"x"},
            "is behind a link",
        ),
        ({"0/proc/stat": special("0/proc/stat", tarfile.FIFOTYPE)}, "neither a file nor a link"),
        ({"0/proc/stat": special("0/proc/stat", tarfile.CHRTYPE)}, "neither a file nor a link"),
        ({"0/proc/stat": special("0/proc/stat", tarfile.LNKTYPE, "/etc/shadow")}, "neither a file nor a link"),
        ({f"0/root/containers/{ID}/state.json": b'{"id": "../../etc", "group": "/x"}'}, "not the record"),
        (
            {f"0/root/containers/{ID}/state.json": json.dumps({"id": ID, "group": "/../../proc"}).encode()},
            "not the record",
        ),
        ({"1/proc/stat": b"x"}, "does not fit"),
    ],
)
def test_nothing_in_an_archive_leads_out_of_it(tmp_path: Path, members: Any, said: str) -> None:
    with pytest.raises(StorageError, match=said) as caught:
        archive.unpack(forged(tmp_path / "evil", members))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gone", ["../../etc/passwd", "/etc/passwd", "etc/passwd"])
def test_nothing_outside_is_removed(tmp_path: Path, gone: str) -> None:
    with pytest.raises(StorageError, match="has no place"):
        archive.unpack(forged(tmp_path / "evil", {}, moments=[{"time": 1.0, "gone": [gone]}]))


def test_other_versions_and_other_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="format 99, this pyctr reads 1"):
        archive.unpack(forged(tmp_path / "later", {}, version=99))
    with pytest.raises(StorageError, match="no capture of a host"):
        archive.unpack(forged(tmp_path / "other", {}, format="backup"))
    with pytest.raises(PyctrError, match="no such file"):
        archive.unpack(str(tmp_path / "nothing"))
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(StorageError, match="cannot be replayed"):
        archive.unpack(str(tmp_path / "text"))
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(StorageError, match="it is empty"):
        archive.unpack(str(tmp_path / "empty"))
    for times in ([2.0, 1.0], [float("nan")]):
        moments = [{"time": one, "gone": []} for one in times]
        with pytest.raises(StorageError, match="not one after the other"):
            archive.unpack(forged(tmp_path / "times", {}, moments=moments))


def test_a_cut_archive_is_refused_wherever_the_cut_is(tmp_path: Path) -> None:
    whole = Path(packed(tmp_path / "whole", recording())).read_bytes()
    for end in range(1, len(whole), 7):
        (tmp_path / "cut").write_bytes(whole[:end])
        with pytest.raises(StorageError, match="cannot be replayed"):
            archive.unpack(str(tmp_path / "cut"))


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PLAIN", 1 << 20)
    path = forged(tmp_path / "bomb", {"0/proc/stat": bytes(8 << 20)})
    assert os.path.getsize(path) < 1 << 17
    with pytest.raises(StorageError, match="larger than 1 MiB"):
        archive.unpack(path)
    head = io.BytesIO()
    with tarfile.open(fileobj=head, mode="w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.size = 1 << 40
        tar.addfile(info)
    (tmp_path / "promise").write_bytes(gzip.compress(head.getvalue()))
    with pytest.raises(StorageError, match="no capture"):
        archive.unpack(str(tmp_path / "promise"))


def test_the_tests_own_recording_is_one_of_the_same_kind() -> None:
    golden = from_json(str(Path(__file__).parents[2] / "golden" / "host" / "host.json"))
    assert len(golden.moments) == 10
    out = bytearray()
    archive.pack(golden, out.extend)
    check([Moment(1.0, {"proc/stat": b""})])
