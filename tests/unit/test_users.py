"""USER and --user against the image's own files, which may lie in any layer and may try to lead out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyctr.core import errors
from pyctr.core.runtime.users import read_file, resolve

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n12345:x:7:7::/seven:/bin/sh\n"
GROUP = "root:x:0:\napp:x:1001:\nwheel:x:10:root,app\nvideo:x:44:app\n"


def layer(path: Path, **files: str) -> str:
    (path / "etc").mkdir(parents=True)
    for name, text in files.items():
        (path / "etc" / name).write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("", [], (0, 0, [10], "/root")),
        ("app", [], (1000, 1001, [10, 44], "/home/app")),
        ("1000", [], (1000, 1001, [10, 44], "/home/app")),
        ("app:video", [], (1000, 44, [], "/home/app")),
        ("app:55", [], (1000, 55, [], "/home/app")),
        ("4242", [], (4242, 0, [], "/")),
        ("4242:4343", ["wheel", "99"], (4242, 4343, [10, 99], "/")),
        ("0:0", [], (0, 0, [], "/root")),
    ],
)
def test_resolving(tmp_path: Path, user: str, groups: list[str], expected: tuple) -> None:
    found = resolve(user, groups, [str(tmp_path / "missing-upper"), layer(tmp_path / "l", passwd=PASSWD, group=GROUP)])
    assert (found["uid"], found["gid"], found["additionalGids"], found["home"]) == expected


@pytest.mark.parametrize(("user", "groups"), [("nobody", []), ("app:nogroup", []), ("app", ["nogroup"])])
def test_unknown_names_are_refused(tmp_path: Path, user: str, groups: list[str]) -> None:
    with pytest.raises(errors.UsageError, match=r"no (user|group) 'no"):
        resolve(user, groups, [layer(tmp_path / "l", passwd=PASSWD, group=GROUP)])


def test_the_upper_layer_wins(tmp_path: Path) -> None:
    lower = layer(tmp_path / "low", passwd=PASSWD)
    upper = layer(tmp_path / "up", passwd="app:x:2000:2000::/new:\n")
    assert resolve("app", [], [upper, lower])["uid"] == 2000


def test_links_stay_inside_the_layer(tmp_path: Path) -> None:
    secret = tmp_path / "passwd"
    secret.write_text("evil:x:666:666::/:\n")
    rootfs = tmp_path / "l"
    (rootfs / "etc").mkdir(parents=True)
    (rootfs / "etc" / "passwd").symlink_to("../../passwd")
    assert read_file([str(rootfs)], "etc/passwd") == b""
    (rootfs / "etc" / "passwd").unlink()
    (rootfs / "etc" / "passwd").symlink_to("/usr/share/passwd")
    (rootfs / "usr" / "share").mkdir(parents=True)
    (rootfs / "usr" / "share" / "passwd").write_text(PASSWD)
    assert resolve("app", [], [str(rootfs)])["uid"] == 1000


def test_a_fifo_in_place_of_passwd_does_not_block(tmp_path: Path) -> None:
    rootfs = tmp_path / "l"
    (rootfs / "etc").mkdir(parents=True)
    os.mkfifo(rootfs / "etc" / "passwd")
    assert read_file([str(rootfs)], "etc/passwd") == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="making a whiteout needs root")
def test_a_whiteout_hides_the_file_below(tmp_path: Path) -> None:
    lower = layer(tmp_path / "low", passwd=PASSWD)
    upper = layer(tmp_path / "up")
    os.mknod(f"{upper}/etc/passwd", 0o020000, os.makedev(0, 0))
    assert read_file([upper, lower], "etc/passwd") == b""
