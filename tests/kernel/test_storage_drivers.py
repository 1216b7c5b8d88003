"""Which driver a host gets, and how much a container may write."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import fuseoverlay
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
    host.env["PYCTR_STORAGE_DRIVER"] = "tape"
    done = host.run("create", "base", check=False)
    assert done.returncode == 125 and "'tape' is no storage driver" in done.stderr


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
        why = done.stderr.strip().partition("\n")[0] or "they are off"
        pytest.skip(f"this kernel has no project quotas on {form}: {why}")
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


@pytest.mark.parametrize("driver", ["btrfs", "zfs"])
def test_snapshots_on_another_file_system_are_refused(host: Host, driver: str) -> None:
    host.env["PYCTR_STORAGE_DRIVER"] = driver
    done = host.run("create", "base", check=False)
    assert done.returncode == 125
    assert "is on another file system" in done.stderr or (driver == "zfs" and "is not installed" in done.stderr)
    assert host.files() == []


@pytest.fixture
def fused(host: Host) -> Host:
    if not fuseoverlay.works(host.base):
        pytest.skip("needs /dev/fuse, and fuse-overlayfs: apt install fuse-overlayfs")
    host.env["PYCTR_STORAGE_DRIVER"] = "fuse-overlayfs"
    return host


def servers(host: Host) -> list[int]:
    """Processes that serve a root file system of this pyctr."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words.startswith(b"fuse-overlayfs\0") and f"{host.base}/".encode() in words:
            found.append(int(entry.name))
    return found


def test_containers_on_fuse_overlayfs_are_like_others(fused: Host, tmp_path: Path) -> None:
    host = fused
    assert json.loads(host.run("info", "-f", "json").stdout)["Driver"] == "fuse-overlayfs"
    assert "fuse-overlayfs" in host.run("run", "--dry-run", "base", "true").stdout
    script = "echo x >/new; rm /etc/shells; rm -r /usr/share; mkdir /usr/share; echo y >/usr/share/y; exec sleep 60"
    host.run("run", "-d", "--name", "box", "--network", "none", "base", "sh", "-c", script)
    host.run("exec", "box", "sh", "-c", "until test -s /usr/share/y; do :; done")
    changes = host.run("diff", "box").stdout.splitlines()
    assert {"A /new", "D /etc/shells", "C /usr/share", "A /usr/share/y"} <= set(changes)
    assert not any(".wh." in line for line in changes), "what the program marks directories with is no change"
    (tmp_path / "f").write_text("came")
    host.run("cp", str(tmp_path / "f"), "box:/came")
    assert host.run("exec", "box", "cat", "/came").stdout == "came"
    assert len(servers(host)) == 1
    # on record as stopped means that nobody serves its files any more
    host.run("stop", "-t", "0", "box")
    assert servers(host) == []
    host.run("cp", "box:/came", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "came" and servers(host) == []
    host.run("commit", "box", "made")
    host.run("start", "box")
    assert host.run("exec", "box", "cat", "/came", "/usr/share/y").stdout == "camey\n"
    host.run("rm", "-f", "box")
    assert servers(host) == []
    # what was made with one driver is the same with another
    host.env["PYCTR_STORAGE_DRIVER"] = "overlay"
    listed = host.run("run", "--rm", "--network", "none", "made", "sh", "-c", "ls /usr/share; cat /new /came")
    assert listed.stdout == "y\nx\ncame"


def test_a_build_on_fuse_overlayfs_has_the_same_files(fused: Host, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM base\nCOPY Dockerfile /dir/here\nCOPY Dockerfile /kept/\n"
        "RUN --network=none --mount=type=cache,target=/cached rm -r /dir /etc/shells && mkdir /dir && echo x >/dir/n\n"
    )
    files = []
    for driver in ("fuse-overlayfs", "overlay"):
        fused.env["PYCTR_STORAGE_DRIVER"] = driver
        epoch = ("--build-arg", "SOURCE_DATE_EPOCH=1600000000")
        fused.run("build", "-q", "--no-cache", *epoch, "-t", driver, str(tmp_path))
        fused.run("create", "--name", f"of-{driver}", driver)
        fused.run("export", "-o", str(tmp_path / driver), f"of-{driver}")
        with tarfile.open(tmp_path / driver) as tar:
            files.append([(one.name, one.mode, one.uid, one.size, one.type, one.linkname, one.mtime) for one in tar])
    assert files[0] == files[1] and any(one[0] == "dir/n" for one in files[0])
    assert servers(fused) == []


def test_a_killed_server_takes_its_container_along_and_nothing_else(fused: Host) -> None:
    fused.run(
        "run", "-d", "--name", "box", "--network", "none", "base", "sh", "-c", "while cat /etc/passwd; do :; done"
    )
    [pid] = servers(fused)
    os.kill(pid, signal.SIGKILL)
    fused.run("wait", "box")  # its files are gone, so its loop ends
    fused.run("start", "box")
    assert len(servers(fused)) == 1
    fused.run("rm", "-f", "box")
