"""Images and volumes that try to lead the runtime astray, and starts that fail half-way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import errors
from tests.support.bundle import Bundle
from tests.support.host import Host


@pytest.fixture
def bundle(bare_host: Host) -> Iterator[Bundle]:
    yield Bundle(bare_host)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def bind(source: Path, destination: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind"]}


@pytest.mark.parametrize("link", ["/{outside}", "../../../../../../..{outside}"])
def test_a_mount_target_that_is_a_symlink_stays_inside(bundle: Bundle, tmp_path: Path, link: str) -> None:
    """CVE-2021-30465: what the link means is taken below the container's root."""
    outside, source = tmp_path / "outside", tmp_path / "source"
    outside.mkdir()
    source.mkdir()
    (source / "f").write_text("mine")
    (bundle.rootfs / "target").symlink_to(link.format(outside=outside))
    result = bundle.shell(
        "cat /target/f; cat /etc/hosts", mounts=[*bundle.config("x")["mounts"], bind(source, "/target")]
    )
    assert result.out == "mine"
    assert list(outside.iterdir()) == []
    assert (bundle.rootfs / str(outside).lstrip("/")).is_dir(), "the target was made inside"


def test_a_file_mounted_over_a_dangling_link_is_made_inside(bundle: Bundle, tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    source = tmp_path / "source"
    source.write_text("mine")
    (bundle.rootfs / "etc/hosts").symlink_to(outside)
    result = bundle.shell("cat /etc/hosts", mounts=[*bundle.config("x")["mounts"], bind(source, "/etc/hosts")])
    assert result.out == "mine"
    assert not outside.exists()


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_and_sys_must_be_real_directories(bundle: Bundle, name: str) -> None:
    """CVE-2019-19921: with /proc elsewhere, masks and labels would go elsewhere, too."""
    os.rmdir(bundle.rootfs / name)
    (bundle.rootfs / "other").mkdir()
    (bundle.rootfs / name).symlink_to("other")
    with pytest.raises(errors.RuntimeFailure, match=f"mount target '/{name}'"):
        bundle.run("true")


def test_a_masked_path_behind_a_link_masks_inside_only(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("host")
    (bundle.rootfs / "mask").symlink_to(tmp_path / "seen")
    result = bundle.shell("echo fine", maskedPaths=["/mask", "/proc/kcore"])
    assert result.out == "fine\n"
    assert (tmp_path / "seen").read_text() == "host"


def test_devices_of_an_image_are_hidden_by_ours(bundle: Bundle) -> None:
    """CVE-2025-31133: an image's own /dev/null that is something else."""
    (bundle.rootfs / "dev/null").write_text("not a device")
    result = bundle.shell("echo gone > /dev/null; cat /dev/null; cat /proc/keys; stat -c %F /dev/null")
    assert result.out == "character special file\n"


def test_a_mask_is_no_null_device_of_the_containers(bundle: Bundle, tmp_path: Path) -> None:
    """CVE-2025-31133: what would lie over every masked file is theirs, and could be a link to a file of procfs."""
    for name in ("pts", "shm", "mqueue"):
        (tmp_path / name).mkdir()
    (tmp_path / "null").write_text("theirs")
    (bundle.rootfs / "secret").write_text("secret")
    config = bundle.config("sh", "-c", "cat /secret /dev/null; stat -c %t:%T /secret", maskedPaths=["/secret"])
    mounts = [entry for entry in config["mounts"] if entry["destination"] != "/dev"]
    own = {"destination": "/dev", "type": "bind", "source": str(tmp_path), "options": ["rbind"]}
    result = bundle.run(*config["process"]["args"], maskedPaths=["/secret"], mounts=[own, *mounts])
    assert result.out == "theirs1:3\n", result


def test_the_working_directory_cannot_be_a_leaked_descriptor(bundle: Bundle) -> None:
    """CVE-2024-21626."""
    for fd in range(3, 15):
        with pytest.raises(errors.PyctrError):
            bundle.run("true", cwd=f"/proc/self/fd/{fd}")


def test_a_passwd_that_is_a_fifo_does_not_hold_the_start(bundle: Bundle) -> None:
    os.unlink(bundle.rootfs / "etc/passwd")
    os.mkfifo(bundle.rootfs / "etc/passwd")
    with pytest.raises(errors.RuntimeFailure, match="no user 'sam'"):
        bundle.run("true", user={"username": "sam"})


def test_a_passwd_that_leads_to_the_hosts_is_the_images(bundle: Bundle) -> None:
    os.unlink(bundle.rootfs / "etc/passwd")
    (bundle.rootfs / "etc/passwd").symlink_to("../../../../../../../../etc/passwd")
    with pytest.raises(errors.RuntimeFailure, match="no user 'daemon'"):
        bundle.run("true", user={"username": "daemon"})


def test_escape_sequences_do_not_reach_the_error_as_they_are_not_ours(bundle: Bundle) -> None:
    with pytest.raises(errors.CommandNotFound, match="not found"):
        bundle.run("no\x1b[31mthing")


BAD: dict[str, dict[str, Any]] = {
    "a limit the kernel refuses": {"resources": {"cpu": {"cpus": "9999"}}},
    "a namespace that is not there": {
        "namespaces": [{"type": "mount"}, {"type": "network", "path": "/proc/1/ns/none"}]
    },
    "a file that is no namespace": {"namespaces": [{"type": "mount"}, {"type": "network", "path": "/etc/passwd"}]},
    "a bind source that is not there": {
        "mounts": [{"destination": "/x", "type": "bind", "source": "/no", "options": []}]
    },
    "an unknown filesystem": {"mounts": [{"destination": "/x", "type": "nofs", "source": "x", "options": []}]},
    "an option tmpfs refuses": {
        "mounts": [{"destination": "/x", "type": "tmpfs", "source": "x", "options": ["moon=1"]}]
    },
    "a mount onto a file's child": {
        "mounts": [{"destination": "/etc/passwd/x", "type": "tmpfs", "source": "x", "options": []}]
    },
    "a rootfs that is not there": {"root": {"path": "nowhere"}},
    "a sysctl that is not there": {"sysctl": {"net.no.such": "1"}},
    "a host name that is too long": {"hostname": "x" * 100},
    "an rlimit nobody knows": {"rlimits": [{"type": "RLIMIT_MOON", "soft": 1, "hard": 1}]},
    "a working directory that is a file": {"cwd": "/etc/passwd"},
    "a command that is not there": {"args": ["nope"]},
}


@pytest.mark.parametrize("case", BAD)
def test_a_start_that_fails_leaves_nothing_and_says_why(bundle: Bundle, case: str) -> None:
    """The fixture counts processes, cgroups, mounts, links and files afterwards."""
    changes = dict(BAD[case])
    args = changes.pop("args", ["true"])
    if "mounts" in changes:
        changes["mounts"] = [*bundle.config("x")["mounts"], *changes["mounts"]]
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(errors.PyctrError) as raised:
        bundle.run(*args, **changes)
    assert raised.value.exit_code in (1, 125, 126, 127)
    assert "bug in pyctr" not in raised.value.hint, raised.value
    assert len(os.listdir("/proc/self/fd")) == before
    assert bundle.record().get("process") is None
    assert bundle.run("true").code == 0, "and the next start works"


def test_a_filter_that_kills_everything_is_an_error_of_the_start(bundle: Bundle) -> None:
    import struct

    from pyctr.core.runtime import plan

    kill_all = struct.pack("HBBI", 0x06, 0, 0, 0x80000000)
    assert plan.build(bundle.config("true"), {"seccomp": kill_all})
    with pytest.raises(errors.RuntimeFailure, match="died before exec"):
        bundle.run("true", wishes={"seccomp": kill_all})


def test_too_little_memory_to_start_is_an_error_not_a_hang(bundle: Bundle) -> None:
    tiny = {"memory": {"limit": 4096 * 20, "swap": 4096 * 20}}
    with pytest.raises(errors.PyctrError):
        bundle.run("true", resources=tiny)
