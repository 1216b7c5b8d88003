"""Which driver the probing decides on. Whether the parts tell the truth about a file system: tests/kernel."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pyctr.core import datasets, fuseoverlay, storageprobe, whole
from pyctr.core.images.layers import LayerStore
from pyctr.core.linux import rename, zfs
from pyctr.core.paths import Paths

ORDER = ("overlay", "btrfs", "zfs", "fuse-overlayfs")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("working", "found"),
    [
        (ORDER, "overlay"),
        (("btrfs", "fuse-overlayfs"), "btrfs"),
        (("zfs", "fuse-overlayfs"), "zfs"),
        (("fuse-overlayfs",), "fuse-overlayfs"),
        ((), "vfs"),
    ],
)
def test_the_first_that_works_is_taken(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, working: tuple[str, ...], found: str
) -> None:
    monkeypatch.setattr(storageprobe, "_overlay_works", lambda _: "overlay" in working)
    monkeypatch.setattr(whole, "snapshots_work", lambda *_: "btrfs" in working)
    monkeypatch.setattr(datasets, "works", lambda _: "zfs" in working)
    monkeypatch.setattr(fuseoverlay, "works", lambda _: "fuse-overlayfs" in working)
    assert storageprobe.found(paths, LayerStore(paths)) == found
    assert os.listdir(paths.containers) == []


def test_overlayfs_is_not_taken_where_it_could_not_remove_directories(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(first: str, second: str) -> None:
        raise OSError(errno.EINVAL, "no such flag", first)

    monkeypatch.setattr(rename, "exchange", refused)
    assert storageprobe.found(paths, LayerStore(paths)) != "overlay"


def test_a_lack_of_room_says_nothing_about_a_file_system(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(first: str, second: str) -> None:
        raise OSError(errno.ENOSPC, "full", first)

    monkeypatch.setattr(rename, "exchange", full)
    with pytest.raises(OSError, match="full"):
        storageprobe.found(paths, LayerStore(paths))


def test_two_names_change_places(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").mkdir()
    rename.exchange(f"{tmp_path}/one", f"{tmp_path}/two")
    assert (tmp_path / "two").read_text() == "1" and (tmp_path / "one").is_dir()
    with pytest.raises(FileNotFoundError):
        rename.exchange(f"{tmp_path}/one", f"{tmp_path}/three")


@pytest.mark.parametrize("lacking", ["file system", "program", "device"])
def test_zfs_needs_its_file_system_its_program_and_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    """Without any of them nothing is run."""
    program, ran = tmp_path / "zfs", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\necho $* >>{ran}\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(zfs, "is_zfs", lambda _: lacking != "file system")
    monkeypatch.setattr(zfs, "_PLACES", () if lacking == "program" else (str(tmp_path),))
    monkeypatch.setattr(zfs, "DEVICE", f"{tmp_path}/none" if lacking == "device" else "/dev/null")
    monkeypatch.setattr(zfs, "dataset_of", lambda _: "pool/root")
    assert not datasets.works(str(tmp_path))
    assert not ran.exists()


def test_sizes_of_all_clones_are_asked_for_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, ran = tmp_path / "zfs", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\necho $* >>{ran}\nprintf 'a/p\\t9\\na/p/c-1\\t100\\na/p/c-2\\t200\\n'\n")
    program.chmod(0o755)
    monkeypatch.setattr(zfs, "_PLACES", (str(tmp_path),))
    monkeypatch.setattr(datasets, "_FRESH", 1000.0)
    assert [datasets.used(f"a/p/c-{number}") for number in (1, 2, 1, 2)] == [100, 200, 100, 200]
    assert len(ran.read_text().splitlines()) == 1
    monkeypatch.setattr(datasets, "_FRESH", -1.0)
    assert datasets.used("a/p/c-1") == 100 and datasets.used("") == 0
    assert len(ran.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("cannot open 'a/b': dataset does not exist", errno.ENOENT),
        ("cannot create 'a/b': dataset already exists", errno.EEXIST),
        ("cannot destroy 'a/b': dataset is busy", errno.EBUSY),
        ("cannot destroy 'a/b': filesystem has dependent clones", errno.ENOTEMPTY),
        ("cannot create 'a/b': out of space", errno.ENOSPC),
        ("cannot create 'a/b': permission denied", errno.EPERM),
        ("internal error", errno.EIO),
    ],
)
def test_what_zfs_says_is_an_error_with_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, number: int
) -> None:
    program = tmp_path / "zfs"
    program.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr(zfs, "_PLACES", (str(tmp_path),))
    with pytest.raises(OSError, match=said.partition(":")[2].strip() or said) as failed:
        zfs.create("a/b", {})
    assert failed.value.errno == number
    if number in (errno.EPERM, errno.ENOSPC):
        monkeypatch.setattr(zfs, "is_zfs", lambda _: True)
        monkeypatch.setattr(zfs, "DEVICE", "/dev/null")
        monkeypatch.setattr(zfs, "dataset_of", lambda _: "pool/root")
        if number == errno.EPERM:
            assert not datasets.works(str(tmp_path))
        else:
            with pytest.raises(OSError, match="out of space"):
                datasets.works(str(tmp_path))
