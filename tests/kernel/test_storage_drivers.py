"""Which driver a host gets, and how much a container may write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core.linux import quota
from tests.support.host import Host


def test_the_driver_is_chosen_by_trying_and_shown(host: Host) -> None:
    assert json.loads(host.run("info", "-f", "json").stdout)["Driver"] == "overlay"
    host.env["PYCTR_STORAGE_DRIVER"] = "vfs"
    assert json.loads(host.run("info", "-f", "json").stdout)["Driver"] == "vfs"
    host.run("run", "--name", "box", "--network", "none", "base", "sh", "-c", "echo x >/new; rm /etc/shells")
    assert host.run("diff", "box").stdout == "C /etc\nD /etc/shells\nA /new\n"
    Path(f"{host.base}/f").write_text("came")
    host.run("cp", f"{host.base}/f", "box:/new")
    host.run("cp", "box:/new", f"{host.base}/back")
    assert Path(f"{host.base}/back").read_text() == "came"
    host.env["PYCTR_STORAGE_DRIVER"] = "zfs"
    done = host.run("create", "base", check=False)
    assert done.returncode == 125 and "'zfs' is no storage driver" in done.stderr


@pytest.mark.parametrize(
    ("option", "why"), [("size=0", "no limit at all"), ("size=x", "not a"), ("inodes=5", "only one")]
)
def test_storage_options_that_make_no_sense(host: Host, option: str, why: str) -> None:
    done = host.run("create", "--storage-opt", option, "base", check=False)
    assert done.returncode == 125 and why in done.stderr


def test_a_size_limit_is_refused_where_nobody_counts(host: Host) -> None:
    """Rather than being forgotten."""
    if quota.counted(host.base):
        pytest.skip("the file system of /tmp counts projects")
    done = host.run("create", "--name", "box", "--storage-opt", "size=4m", "base", check=False)
    assert done.returncode == 125 and "does not count projects" in done.stderr and "prjquota" in done.stderr
    assert host.files() == []


FORMATS = {
    "ext4": ("mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota"),
    "xfs": ("mkfs.xfs", "-q"),
}


@pytest.fixture(params=FORMATS)
def counting(request: pytest.FixtureRequest, host: Host) -> Iterator[Host]:
    """Containers on a file system in a file, mounted with project quotas."""
    form = str(request.param)
    program = FORMATS[form]
    if shutil.which(program[0]) is None:
        pytest.skip(f"needs {program[0]}")
    image, place = f"{host.base}/disk", host.paths.containers
    with open(image, "wb") as file:
        file.truncate((400 if form == "xfs" else 64) << 20)
    subprocess.run([*program, image], check=True)
    os.mkdir(place, 0o700)
    done = subprocess.run(["mount", "-o", "loop,prjquota", image, place], capture_output=True, text=True)
    if done.returncode or not quota.counted(place):
        if not done.returncode:
            subprocess.run(["umount", place], check=True)
        pytest.skip(f"this kernel has no project quotas on {form}")
    yield host
    from pyctr.core import containers, lifecycle
    from pyctr.core.engine import Engine
    from pyctr.core.runtime import launcher

    launcher.dismiss(host.paths.run)
    engine = Engine(host.paths)
    for container in containers.all(engine):
        lifecycle.remove(engine, container.id, force=True)
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_a_container_writes_no_more_than_its_size(counting: Host, driver: str) -> None:
    counting.env["PYCTR_STORAGE_DRIVER"] = driver
    write = "dd if=/dev/zero of=/big bs=1024 count=12000 2>&1; wc -c </big"
    for turn in (1, 2):  # the second one takes the room of the first
        done = counting.run("run", "--name", f"c{turn}", "--network", "none", "--storage-opt", "size=8m",
                            "base", "sh", "-c", write)  # fmt: skip
        assert "space left" in done.stdout or "quota exceeded" in done.stdout, done.stdout
        assert 4 << 20 < int(done.stdout.split()[-1]) <= 8 << 20
    free = counting.run("run", "--name", "free", "--network", "none", "base", "sh", "-c", write)
    assert free.stdout.split()[-1] == str(12000 * 1024)
    document = json.loads(counting.run("inspect", "c1").stdout)[0]
    assert document["HostConfig"]["StorageOpt"] == {"size": str(8 << 20)}


@pytest.fixture
def snapshots(bare_host: Host) -> Iterator[Host]:
    """All of a pyctr on btrfs, with its snapshots for containers."""
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs mkfs.btrfs: apt install btrfs-progs")
    image, place = f"{bare_host.base}/disk", bare_host.paths.root
    with open(image, "wb") as file:
        file.truncate(300 << 20)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, stderr=subprocess.DEVNULL)
    if subprocess.run(["mount", "-o", "loop", image, place], capture_output=True).returncode:
        pytest.skip("this kernel has no btrfs")
    bare_host.env["PYCTR_STORAGE_DRIVER"] = "btrfs"
    yield bare_host
    from pyctr.core import containers, lifecycle
    from pyctr.core.engine import Engine
    from pyctr.core.runtime import launcher

    launcher.dismiss(bare_host.paths.run)
    engine = Engine(bare_host.paths)
    for container in containers.all(engine):
        lifecycle.remove(engine, container.id, force=True)
    subprocess.run(["umount", place], check=True)


def test_containers_on_btrfs_are_snapshots(snapshots: Host, tmp_path: Path) -> None:
    """They share the image's blocks and nothing else, and no subvolume outlives them."""
    host = snapshots
    run = ("run", "--network", "none", "localhost/base")
    assert json.loads(host.run("info", "-f", "json").stdout)["Driver"] == "btrfs"
    host.run("run", "--name", "one", *run[1:], "sh", "-c", "echo x >/new; rm /etc/shells")
    host.run("run", "--name", "two", *run[1:], "sh", "-c", "test ! -e /new && test -e /etc/shells && echo y >/new")
    assert host.run("diff", "one").stdout == "C /etc\nD /etc/shells\nA /new\n"
    host.run("cp", "one:/new", f"{tmp_path}/back")
    assert (tmp_path / "back").read_text() == "x\n"
    host.run("start", "-a", "two", check=False)
    assert len(_subvolumes(host)) == 3, "an image's and two containers'"
    base = Path(host.paths.root, "snapshots")
    first = next(path for path in base.glob("*/files/etc/passwd"))
    assert _blocks(first) == _blocks(Path(host.paths.container(_id(host, "one"), "rootfs/etc/passwd")))
    host.run("commit", "one", "made")
    (tmp_path / "Dockerfile").write_text("FROM made\nCOPY Dockerfile /here\nRUN --network=none cat /new /here >/both\n")
    host.run("build", "-q", "-t", "built", str(tmp_path))
    assert host.run("run", "--rm", "--network", "none", "built", "cat", "/both").stdout.startswith("x\nFROM made\n")
    host.run("rm", "one", "two")
    assert {path.partition("/")[0] for path in _subvolumes(host)} == {"snapshots"}
    host.run("system", "prune", "-af")
    assert _subvolumes(host) == []


def test_btrfs_elsewhere_is_refused(host: Host) -> None:
    host.env["PYCTR_STORAGE_DRIVER"] = "btrfs"
    done = host.run("create", "base", check=False)
    assert done.returncode == 125 and "is on another file system" in done.stderr
    assert host.files() == []


def _subvolumes(host: Host) -> list[str]:
    """Paths below our root."""
    listed = subprocess.run(["btrfs", "subvolume", "list", host.paths.root], capture_output=True, text=True, check=True)
    return [line.split(" path ", 1)[1] for line in listed.stdout.splitlines()]


def _blocks(path: Path) -> list[list[str]]:
    listed = subprocess.run(["filefrag", "-v", str(path)], capture_output=True, text=True, check=True).stdout
    return [line.split()[3:5] for line in listed.splitlines() if ":" in line and line.split()[0] == "0:"]


def _id(host: Host, name: str) -> str:
    return host.run("inspect", "-f", "{{.Id}}", name).stdout.strip()
