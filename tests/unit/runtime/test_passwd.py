"""USER and --user against the container's own files, which may try to lead out or to block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import errors
from pyctr.core.runtime import passwd

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n12345:x:7:7::/seven:/bin/sh\nshort:x\n"
GROUP = "root:x:0:\napp:x:1001:\nwheel:x:10:root,app\nvideo:x:44:app\nbroken:x:y:\n"


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "rootfs" / "etc").mkdir(parents=True)
    etc = tmp_path / "rootfs" / "etc"
    (etc / "passwd").write_text(PASSWD)
    (etc / "group").write_text(GROUP)
    return etc


@pytest.fixture
def root(etc: Path) -> Iterator[int]:
    fd = os.open(etc.parent, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, [10], "/root")),
        ("0", (0, 0, [10], "/root")),
        ("app", (1000, 1001, [10, 44], "/home/app")),
        ("1000", (1000, 1001, [10, 44], "/home/app")),
        ("app:video", (1000, 44, [], "/home/app")),
        ("app:55", (1000, 55, [], "/home/app")),
        ("4242", (4242, 0, [], "/")),
        ("4242:4343", (4242, 4343, [], "/")),
        ("12345", (7, 7, [], "/seven")),
    ],
)
def test_resolving(root: int, user: str, expected: tuple) -> None:
    assert passwd.resolve(root, user) == expected


@pytest.mark.parametrize("user", ["nobody", "app:nogroup", "app:broken"])
def test_unknown_names_are_refused(root: int, user: str) -> None:
    with pytest.raises(errors.RuntimeFailure, match=r"no (user|group) '(nobody|nogroup|broken)'"):
        passwd.resolve(root, user)


def test_further_groups_by_name(root: int) -> None:
    assert passwd.groups(root, ["video", "root"]) == [44, 0]
    for name in ("nogroup", "broken"):
        with pytest.raises(errors.RuntimeFailure, match=f"no group '{name}'"):
            passwd.groups(root, [name])


def test_links_stay_inside(root: int, etc: Path, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("evil:x:666:666::/:\n")
    (etc / "passwd").unlink()
    (etc / "passwd").symlink_to("../../passwd")
    with pytest.raises(errors.RuntimeFailure):
        passwd.resolve(root, "evil")
    (etc / "passwd").unlink()
    (etc / "passwd").symlink_to("/share")
    (etc.parent / "share").write_text(PASSWD)
    assert passwd.resolve(root, "app")[0] == 1000


def test_a_fifo_in_place_of_passwd_does_not_block(root: int, etc: Path) -> None:
    (etc / "passwd").unlink()
    os.mkfifo(etc / "passwd")
    assert passwd.resolve(root, "5")[0] == 5
