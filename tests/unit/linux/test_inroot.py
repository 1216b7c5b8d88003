"""No link in an image leads out of its rootfs."""

import errno
import os
from pathlib import Path

import pytest

from pyctr.core.linux import inroot


@pytest.fixture
def root(tmp_path: Path):
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "outside").mkdir()
    fd = os.open(tmp_path / "rootfs", os.O_PATH | os.O_DIRECTORY)
    yield fd, tmp_path / "rootfs", tmp_path / "outside"
    os.close(fd)


def same(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    finally:
        os.close(fd)


def test_links_and_dots_end_at_the_root(root) -> None:
    fd, rootfs, _outside = root
    (rootfs / "etc").mkdir()
    (rootfs / "up").symlink_to("../../../../etc")
    (rootfs / "abs").symlink_to("/etc")
    assert same(inroot.open_in(fd, "up"), rootfs / "etc")
    assert same(inroot.open_in(fd, "/abs"), rootfs / "etc")
    assert same(inroot.open_in(fd, "../../etc"), rootfs / "etc")
    assert same(inroot.open_in(fd, "/"), rootfs)


def test_directories_are_made_inside_even_through_hostile_links(root) -> None:
    fd, rootfs, outside = root
    (rootfs / "escape").symlink_to(outside)
    assert same(inroot.make_directories(fd, "/escape/a/b"), rootfs / str(outside).lstrip("/") / "a/b")
    (rootfs / "rel").symlink_to("../outside")
    assert same(inroot.make_directories(fd, "rel/x"), rootfs / "outside/x")
    assert list(outside.iterdir()) == []


def test_a_link_to_a_directory_not_made_yet_is_followed(root) -> None:
    fd, rootfs, _ = root
    (rootfs / "var").mkdir()
    (rootfs / "var/run").symlink_to("/run")
    assert same(inroot.make_directories(fd, "/var/run/lock/x"), rootfs / "run/lock/x")
    (rootfs / "var/up").symlink_to("../../srv/./data")
    assert same(inroot.make_directories(fd, "/var/up/y"), rootfs / "srv/data/y")


def test_a_file_as_a_mount_target(root) -> None:
    fd, rootfs, outside = root
    assert same(inroot.make_file(fd, "/etc/hosts"), rootfs / "etc/hosts")
    (rootfs / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    found = inroot.make_file(fd, "/etc/resolv.conf")
    assert same(found, rootfs / "run/systemd/resolve/stub-resolv.conf")
    (rootfs / "etc/out").symlink_to(outside / "file")
    os.close(inroot.make_file(fd, "/etc/out"))
    assert list(outside.iterdir()) == []
    (rootfs / "etc/hosts").write_text("kept")
    os.close(inroot.make_file(fd, "/etc/hosts"))
    assert (rootfs / "etc/hosts").read_text() == "kept"


@pytest.mark.parametrize("make", [inroot.make_directories, inroot.make_file])
def test_loops_end(root, make) -> None:
    fd, rootfs, _ = root
    (rootfs / "a").symlink_to("b")
    (rootfs / "b").symlink_to("a")
    with pytest.raises(OSError) as caught:
        make(fd, "a/c")
    assert caught.value.errno == errno.ELOOP


def test_a_file_in_the_way_is_named(root) -> None:
    fd, rootfs, _ = root
    (rootfs / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        inroot.make_directories(fd, "file/x")


def test_no_descriptor_stays_open(root) -> None:
    fd, rootfs, _ = root
    (rootfs / "loop").symlink_to("loop")
    before = os.listdir("/proc/self/fd")
    os.close(inroot.make_directories(fd, "a/b/c"))
    os.close(inroot.make_file(fd, "a/b/d"))
    for make in (inroot.make_directories, inroot.make_file):
        with pytest.raises(OSError):
            make(fd, "loop/x")
    assert os.listdir("/proc/self/fd") == before
