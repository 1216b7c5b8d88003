"""Links and exchanged directories in a root filesystem or a volume that somebody else writes to at the same time."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import errors
from pyctr.core.images import merged
from pyctr.core.runtime.context import Context
from pyctr.core.runtime.ops_root import Pivot
from pyctr.core.runtime.plan import Plan
from tests.support.bundle import Bundle
from tests.support.host import Host
from tests.support.oci import Oci

RENAME_EXCHANGE = 2
AT_FDCWD = -100


@pytest.fixture
def bundle(bare_host: Host) -> Iterator[Bundle]:
    yield Bundle(bare_host)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


@contextmanager
def exchanging(one: Path, other: Path) -> Iterator[None]:
    """A process that exchanges two names as fast as it can (renameat2(2)), for the length of the block."""
    rename = ctypes.CDLL(None, use_errno=True).renameat2
    child = os.fork()
    if child == 0:
        first, second = os.fsencode(one), os.fsencode(other)
        while True:
            rename(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def bind(source: Path, destination: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind"]}


def test_masks_hold_when_proc_is_exchanged_during_the_start(bundle: Bundle) -> None:
    """CVE-2025-31133's and CVE-2019-19921's class: the masks go elsewhere, and the container keeps an open procfs."""
    (bundle.rootfs / "decoy").mkdir()
    # one directory is held while it is judged: the names go on changing places
    open_ = "cd $d && test -d self && test -e version && ! test -c version"
    script = f"for d in /proc /decoy; do ({open_}) && echo open; done; true"
    started = 0
    with exchanging(bundle.rootfs / "proc", bundle.rootfs / "decoy"):
        for _ in range(30):
            try:
                result = bundle.shell(script, maskedPaths=["/proc/version"], readonlyPaths=[])
            except errors.RuntimeFailure as error:
                assert "was moved while" in error.message or "cannot be used" in error.message, error
                continue
            started += 1
            assert result.out == "", "a procfs without its masks"
    assert started, "the race never let one through: it shows nothing"


def test_a_procfs_that_was_led_away_ends_the_start(tmp_path: Path) -> None:
    """What the container would see as its /proc is somebody's directory."""
    (tmp_path / "proc").mkdir()
    context = Context(Plan({"operations": [], "execs": [], "wishes": {}}))
    context.root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        for exchanged in (False, True):
            context.pinned = {"/proc": os.open(tmp_path / "proc", os.O_PATH)}
            if not exchanged:
                Pivot()._check_places(context)
                continue
            (tmp_path / "proc").rename(tmp_path / "away")
            (tmp_path / "proc").symlink_to("away")
            with pytest.raises(errors.RuntimeFailure, match="'/proc' was moved while"):
                Pivot()._check_places(context)
    finally:
        os.close(context.root)


def test_a_mount_target_exchanged_for_a_link_never_leads_out(bundle: Bundle, tmp_path: Path) -> None:
    """CVE-2021-30465: a volume shared with an attacker, a second mount inside of it."""
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    for directory in (volume, outside, volume / "target", outside / "inner"):
        directory.mkdir()
    (outside / "marker").write_text("of the host")
    (volume / "link").symlink_to(f"../../../../../../../../../..{outside}")
    mounts = [
        *bundle.config("x")["mounts"],
        bind(volume, "/volume"),
        {"destination": "/volume/target/made/here", "type": "tmpfs", "source": "tmpfs", "options": ["mode=700"]},
    ]
    with exchanging(volume / "target", volume / "link"):
        for _ in range(20):
            try:
                result = bundle.shell("cat /volume/target/marker /volume/link/marker 2>/dev/null; true", mounts=mounts)
            except errors.PyctrError:
                continue  # the target was a link in one moment and none in the next
            assert result.out == ""
    assert sorted(os.listdir(outside)) == ["inner", "marker"]
    assert os.listdir(outside / "inner") == []


def test_a_working_directory_exchanged_for_a_link_is_not_made_outside(bundle: Bundle, tmp_path: Path) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    for directory in (volume, outside, volume / "a"):
        directory.mkdir()
    (volume / "link").symlink_to(f"../../../../../../../../../..{outside}")
    mounts = [*bundle.config("x")["mounts"], bind(volume, "/volume")]
    with exchanging(volume / "a", volume / "link"):
        for number in range(20):
            try:
                bundle.run("true", mounts=mounts, cwd=f"/volume/a/{number}/deep")
            except errors.PyctrError:
                continue  # likewise
    assert os.listdir(outside) == []


@pytest.mark.parametrize("destination", ["/proc", "/proc/sys", "/proc/self/attr", "/lead/kernel", "/proc/../proc/tty"])
def test_nothing_but_procfs_is_mounted_on_proc(oci: Oci, tmp_path: Path, destination: str) -> None:
    """CVE-2019-16884, CVE-2023-27561: labels and masks would be written into somebody's files."""
    (oci.rootfs / "lead").symlink_to("proc/sys")
    (tmp_path / "source").mkdir()

    def over(config: dict[str, Any]) -> None:
        config["mounts"].append(bind(tmp_path / "source", destination))

    assert "is inside /proc" in oci.refused(over) or "mount target" in oci.refused(over)


def test_numbers_of_proc_may_be_told_otherwise(oci: Oci, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("one\n")
    config = oci.config("cat", "/proc/cpuinfo")
    config["mounts"].append(bind(tmp_path / "cpuinfo", "/proc/cpuinfo"))
    assert oci.run_config(config).stdout == "one\n"


def test_a_volume_of_an_image_cannot_take_the_place_of_proc(host: Host, tmp_path: Path) -> None:
    done = host.run("run", "--rm", "-v", f"{tmp_path}:/proc", "localhost/base", "true", check=False)
    assert done.returncode == 125 and "is inside /proc" in done.stderr


def test_a_console_that_is_a_link_is_not_followed_out(oci: Oci, tmp_path: Path) -> None:
    """CVE-2025-52565: an image's own /dev without a tmpfs over it."""
    outside = tmp_path / "outside"
    outside.write_text("of the host")
    (oci.rootfs / "dev/console").symlink_to(f"../../../../../../../..{outside}")
    (oci.rootfs / "dev/pts").mkdir()
    config = oci.config("sh", "-c", "echo hello > /dev/console")
    config["mounts"] = [entry for entry in config["mounts"] if entry["destination"] != "/dev"]
    config["process"]["terminal"] = True
    done = oci.run_config(config)
    assert done.stdout.split() == ["hello"], "the link leads to a place inside, and there the terminal is"
    assert outside.read_text() == "of the host"


def test_a_multiplexer_that_is_not_the_kernels_is_refused(oci: Oci) -> None:
    (oci.rootfs / "dev/pts").mkdir()
    (oci.rootfs / "dev/pts/ptmx").write_text("")
    config = oci.config("true")
    config["mounts"] = [entry for entry in config["mounts"] if not entry["destination"].startswith("/dev")]
    config["process"]["terminal"] = True
    done = oci.run_config(config)
    assert done.returncode and "pseudoterminal" in done.stderr


def test_filling_a_volume_links_and_changes_nothing_outside(tmp_path: Path) -> None:
    """CVE-2018-15664's class: the volume is another container's, too, which puts links where we copy."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "one").write_text("of the host")
    (outside / "one").chmod(0o600)
    target = tmp_path / "volume"
    target.mkdir()
    (target / "a").symlink_to(outside)
    (target / "name").symlink_to(outside / "one")
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="symbolic link"):
            merged.link_copied(fd, "a/one", fd, "stolen")
        with pytest.raises(OSError):
            merged._chmod(fd, "name", 0o666)
    finally:
        os.close(fd)
    assert not (target / "stolen").exists()
    assert (outside / "one").stat().st_mode & 0o777 == 0o600
