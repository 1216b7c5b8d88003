"""Layers put on top of each other one by one are what overlayfs would show."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyctr.core.images import merged
from pyctr.core.images.applied import apply, underlay
from pyctr.core.images.changes import compare
from pyctr.core.images.layers import LayerStore
from pyctr.core.images.store import ImageStore
from pyctr.core.paths import Paths
from pyctr.core.storage import Storage
from tests.support.images import hardlink, image, member, symlink

BASE = [
    *(member("etc/"), member("etc/motd", "hello"), member("etc/hosts", "theirs"), member("etc/mtab", "x")),
    *(member("var/"), member("var/old", "o"), member("var/deep/"), member("var/deep/er", "e"), member("lib/")),
    *(member("lib/one", "1"), hardlink("lib/two", "lib/one"), symlink("link", "etc"), member("file", "f")),
]
LAYERS = {
    "files": [member("etc/"), member("etc/motd", "bye"), member("lib/"), member("lib/two", "2", mode=0o600)],
    "whiteouts": [member("etc/"), member("etc/.wh.motd"), member("lib/"), member("lib/.wh.one"), member(".wh.link")],
    "a directory anew": [member("var/"), member("var/.wh..wh..opq"), member("var/new", "n")],
    "a directory for a file": [member("file/"), member("file/in", "x"), member("link/"), member("link/in", "x")],
    "a file for a directory": [member("var", "flat"), symlink("lib", "etc")],
    "hard links": [member("a", "same"), hardlink("b", "a"), member("lib/"), hardlink("lib/two", "a")],
    "another mode": [member("var/", mode=0o1777), member("etc/", mode=0o700)],
    "no mount point": [member("etc/"), member("etc/.wh.hosts"), member(".wh.proc"), member("sys", "no directory")],
    "no etc": [member(".wh.etc")],
    "an etc without them": [member("etc/"), member("etc/.wh..wh..opq")],
    "nothing": [],
}


def seen(fd: int) -> list[tuple[object, ...]]:
    """All that a tree has: names, types, contents, owners, times, and which names are one file."""
    found: list[tuple[object, ...]] = []
    for path, directories, files, here in os.fwalk(".", dir_fd=fd):
        for name in (*directories, *files):
            about = os.stat(name, dir_fd=here, follow_symlinks=False)
            regular = about.st_mode & 0o170000 == 0o100000
            content = Path(f"/proc/self/fd/{here}/{name}").read_bytes() if regular else b""
            links = about.st_nlink if regular else 0
            found.append((f"{path}/{name}", about.st_mode, about.st_uid, about.st_mtime_ns, links, content))
    return sorted(found)


@pytest.mark.parametrize("what", LAYERS)
def test_a_tree_of_layers_is_what_overlayfs_would_show(tmp_path: Path, what: str) -> None:
    paths = Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run"))
    made = image(ImageStore(paths), "app", [BASE, LAYERS[what], [member("last", "l")]])
    lower = list(Storage(paths, LayerStore(paths), "vfs").prepare("one", made)["lower"])
    (tmp_path / "tree").mkdir()
    into, copied = (os.open(path, os.O_RDONLY) for path in (tmp_path / "tree", paths.container("one", "rootfs")))
    for link in reversed(lower[:-1]):
        fd = os.open(link, os.O_RDONLY)
        apply(fd, into)
        os.close(fd)
    with merged.Directory.root(lower) as all, merged.Directory.root([str(tmp_path / "tree")]) as now:
        underlay(all, into)
        assert compare(all, now) == []
    assert seen(into) == seen(copied)
    os.close(into)
    os.close(copied)


def test_xattrs_of_a_directory_are_the_topmost_layers(tmp_path: Path) -> None:
    for name, key in (("under", "user.under"), ("over", "user.over")):
        (tmp_path / name / "dir").mkdir(parents=True)
        os.setxattr(tmp_path / name / "dir", key, b"x")
    (tmp_path / "tree").mkdir()
    into = os.open(tmp_path / "tree", os.O_RDONLY)
    for name in ("under", "over"):
        fd = os.open(tmp_path / name, os.O_RDONLY)
        apply(fd, into)
        os.close(fd)
    os.close(into)
    assert os.listxattr(tmp_path / "tree" / "dir") == ["user.over"]
