"""Containers that are snapshots: of btrfs, and of zfs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.cli.main import main
from pyctr.core import containers, doctor, lifecycle, storageprobe
from pyctr.core.engine import Engine
from pyctr.core.linux import zfs
from pyctr.core.runtime import launcher
from tests.support.host import Host
from tests.support.snapshots import FORMATS, Disk

RUN = ("--network", "none", "localhost/base")


@pytest.fixture(params=FORMATS)
def disk(request: pytest.FixtureRequest, bare_host: Host) -> Iterator[Disk]:
    """All of a pyctr on a file system with snapshots."""
    made = Disk(bare_host, str(request.param))
    yield made
    launcher.dismiss(bare_host.paths.run)
    engine = Engine(bare_host.paths)
    for container in containers.all(engine):
        lifecycle.remove(engine, container.id, force=True)
    left = made.containers()
    made.close()
    assert left == [], "snapshots outlive their containers"


def test_containers_are_snapshots(disk: Disk, tmp_path: Path) -> None:
    """They share the image's blocks and nothing else, and nothing of them outlives them."""
    host = disk.host
    assert json.loads(host.run("info", "-f", "json").stdout)["Driver"] == disk.form
    assert f"{disk.form} snapshots" in host.run("doctor", check=False).stdout
    assert disk.form in host.run("run", "--dry-run", *RUN, "true").stdout
    before = host.mounts()
    host.run("run", "--name", "one", *RUN, "sh", "-c", "echo x >/new; rm /etc/shells")
    host.run("run", "--name", "two", *RUN, "sh", "-c", "test ! -e /new && test -e /etc/shells && echo y >/new")
    assert host.mounts() == before, "mounted where the host sees it"
    assert host.run("diff", "one").stdout == "C /etc\nD /etc/shells\nA /new\n"
    host.run("cp", "one:/new", f"{tmp_path}/back")
    assert (tmp_path / "back").read_text() == "x\n"
    host.run("cp", f"{tmp_path}/back", "one:/came")
    host.run("start", "-a", "two", check=False)
    disk.settle()
    sizes = json.loads(host.run("inspect", "-s", "one", "two").stdout)
    assert all(0 < one["SizeRw"] < 100_000 for one in sizes), "the image's blocks are the image's"
    assert len(disk.containers()) == 2
    host.run("commit", "one", "made")
    host.run("export", "-o", f"{tmp_path}/tar", "one")
    names = subprocess.run(["tar", "-tf", f"{tmp_path}/tar"], capture_output=True, text=True, check=True).stdout
    assert {"new", "came", "etc/passwd"} <= set(names.split()) and "etc/shells" not in names.split()
    (tmp_path / "Dockerfile").write_text(
        "FROM made\nCOPY Dockerfile /here\n"
        "RUN --network=none --mount=type=cache,target=/cached cat /new /here >/both && rm /came\n"
    )
    host.run("build", "-q", "-t", "built", str(tmp_path))
    listed = host.run("run", "--rm", "--network", "none", "built", "sh", "-c", "cat /both; ls /").stdout
    assert listed.startswith("x\nFROM made\n")
    assert not {"came", "cached"} & set(listed.split()), "what RUN removed, and what was made for it alone"
    assert len(disk.containers()) == 2
    host.run("rm", "one", "two")
    assert disk.containers() == [] and disk.held()
    host.run("system", "prune", "-af")
    assert disk.held() == [] and host.mounts() == before


def test_images_share_what_their_layers_are_made_of(disk: Disk, tmp_path: Path) -> None:
    host = disk.host
    (tmp_path / "Dockerfile").write_text("FROM localhost/base\nCOPY Dockerfile /here\n")
    host.run("build", "-q", "-t", "built", str(tmp_path))
    host.run("create", "--name", "one", *RUN)
    host.run("create", "--name", "two", "built")
    disk.settle()
    if disk.form == "btrfs":
        one, two = (Path(host.paths.container(_id(host, name), "rootfs/etc/passwd")) for name in ("one", "two"))
        first = next(Path(host.paths.root, "snapshots").glob("*/files/etc/passwd"))
        assert _blocks(first) == _blocks(one) == _blocks(two)
        return
    rows = zfs.listed(f"{disk.pool}/root/{disk.held()[0]}", "name", "used", "referenced", "origin", "pyctr:layer")
    below = [row for row in rows if "/l-" in row[0]]
    assert sum(int(row[1]) > 100_000 for row in below) == 1, "the base image, once; the others are clones"
    names = [row[4] for row in below]
    assert names.count("mountpoints") == 2, "one below each image that has containers"
    assert len(set(names)) == len(names) - 1, "each layer is there once"
    assert all(int(row[1]) < 100_000 < int(row[2]) for row in rows if "/c-" in row[0])


def test_zfs_is_chosen_where_overlayfs_does_not_do_and_the_program_is_there(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenZFS before 2.2 lets overlayfs mount, which then cannot remove a layer's directory."""
    if disk.form != "zfs":
        pytest.skip("overlayfs does on btrfs")
    engine = Engine(disk.host.paths)
    if storageprobe.found(engine.paths, engine.layers) == "overlay":
        pytest.skip("overlayfs does on this zfs")
    assert storageprobe.found(engine.paths, engine.layers) == "zfs"
    assert disk.held() == [], "trying leaves nothing"
    monkeypatch.setattr(zfs, "_PLACES", ())
    assert engine.storage.driver() in ("fuse-overlayfs", "vfs")
    [said] = [found for found in doctor.examine(engine) if "zfs" in found.text]
    assert said.level == doctor.WARNING and "zfs without the program for it" in said.text
    assert "zfsutils-linux" in said.hint


def test_a_clone_on_zfs_writes_no_more_than_its_size(disk: Disk) -> None:
    if disk.form != "zfs":
        pytest.skip("btrfs has no such limit here")
    done = disk.host.run(
        "run",
        "--storage-opt",
        "size=8m",
        *RUN,
        "sh",
        "-c",
        "dd if=/dev/urandom of=/big bs=65536 count=400; wc -c </big",
    )
    assert "quota exceeded" in done.stderr and int(done.stdout) < 10 << 20


def test_a_container_goes_on_after_what_held_its_mounts_is_gone(disk: Disk) -> None:
    """Nothing but the snapshot is kept between two starts, and a running one is looked into as it writes."""
    host = disk.host
    script = "cat /kept; echo $RANDOM >>/kept; echo there >/now; exec sleep 600"
    host.run("run", "-d", "--name", "box", *RUN, "sh", "-c", script)
    host.run("exec", "box", "sh", "-c", "until test -s /now; do :; done")
    assert "A /now\n" in host.run("diff", "box").stdout
    host.run("commit", "box", "while-it-runs")
    assert host.run("run", "--rm", "--network", "none", "while-it-runs", "cat", "/now").stdout == "there\n"
    host.run("kill", "box")
    host.run("wait", "box")
    launcher.dismiss(host.paths.run)
    host.run("start", "box")
    host.run("exec", "box", "sh", "-c", "until test $(wc -l </kept) = 2; do :; done")
    host.run("rm", "-f", "box")
    assert disk.containers() == []


STEPS = {"subprocess.Popen", "fcntl.ioctl", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
"""Audit events (sys.addaudithook) before which a command is killed."""


def do(host: Host, *words: str, kill_at: int = 0) -> int:
    """A command in a fork of this process, killed before its step of that number (0: never); how many there were."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            null = os.open("/dev/null", os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            os.environ.update(host.env)
            count = 0

            def hook(event: str, _: object) -> None:
                nonlocal count
                if event in STEPS:
                    count += 1
                    if count == kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            if main(list(words)) == 0:
                os.write(writer, str(count).encode())
        finally:
            os._exit(0)
    os.close(writer)
    said = b""
    while part := os.read(reader, 100):
        said += part
    os.close(reader)
    status = os.waitpid(child, 0)[1]
    if kill_at and os.WIFSIGNALED(status):
        return kill_at
    assert said, f"{words} failed"
    return int(said)


@pytest.mark.parametrize("verb", ["create", "rm", "build"])
def test_a_command_killed_at_any_step_leaves_nothing_that_the_next_one_does_not_remove(
    disk: Disk, verb: str, tmp_path: Path
) -> None:
    host = disk.host
    engine = Engine(host.paths)
    (tmp_path / "Dockerfile").write_text("FROM localhost/base\nCOPY Dockerfile /here\n")
    words = {"create": ("create", *RUN), "rm": ("rm", "box"), "build": ("build", "-q", "--no-cache", str(tmp_path))}
    do(host, "create", "--name", "box", *RUN)  # the image and what every container shares are there
    steps = do(host, *words[verb])
    for at in sorted({max(1, steps * turn // 5) for turn in range(1, 6)}):
        if verb == "rm" and not containers.all(engine):
            do(host, "create", "--name", "box", *RUN)
        do(host, *words[verb], kill_at=at)
        # a verb of the same kind finishes or undoes it
        do(host, *(words["build"] if verb == "build" else ("create", *RUN)))
        do(host, "container", "prune", "-f")
        assert disk.containers() == [], f"killed at step {at} of {steps}"
    do(host, "system", "prune", "-af")
    assert disk.held() == []


def test_half_an_image_is_no_image(disk: Disk) -> None:
    """Killed while the first container of an image fills what all will share: the next one fills it again."""
    host = disk.host
    engine = Engine(host.paths)
    steps = do(host, "create", *RUN)
    for at in sorted({max(1, steps * turn // 6) for turn in range(1, 7)}):
        do(host, "container", "prune", "-f")
        do(host, "system", "prune", "-af")
        assert disk.held() == [], "nobody needs it any more"
        do(host, "create", *RUN, kill_at=at)
        do(host, "create", "--name", "whole", *RUN)
        with engine.storage.whole(containers.find(engine, "whole").id) as tree:
            assert Path(tree, "etc/passwd").read_text().startswith("root:"), f"killed at step {at} of {steps}"
            assert len(os.listdir(f"{tree}/bin")) > 50, f"killed at step {at} of {steps}"
        assert engine.storage.changes(containers.find(engine, "whole").id) == []
    assert not os.listdir(host.paths.pending)


def _blocks(path: Path) -> list[list[str]]:
    listed = subprocess.run(["filefrag", "-v", str(path)], capture_output=True, text=True, check=True).stdout
    return [line.split()[3:5] for line in listed.splitlines() if ":" in line and line.split()[0] == "0:"]


def _id(host: Host, name: str) -> str:
    return host.run("inspect", "-f", "{{.Id}}", name).stdout.strip()
