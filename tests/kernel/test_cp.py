"""`pyctr cp`: where things go, what they are there, and that no link leads out while somebody exchanges it."""

from __future__ import annotations

import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host

podman = pytest.mark.skipif(shutil.which("podman") is None, reason="needs podman: apt install podman")


class Box:
    """A created container `box`; the volume at /v is a directory the test can look into without cp's help."""

    def __init__(self, host: Host, top: Path) -> None:
        self.host, self.inside, self.outside = host, top / "v", top / "h"
        self.inside.mkdir()
        host.run("create", "--name", "box", "-v", f"{self.inside}:/v", "--network", "none", "base", "sleep", "1000")

    def fresh(self) -> None:
        """A source tree and a destination tree on both sides."""
        for top in (self.inside, self.outside):
            if top.is_dir():
                # the mount point itself stays: a running container has it
                for entry in top.iterdir():
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            (top / "dir/sub").mkdir(parents=True)
            for name in ("file", "dir/a", "dir/sub/b", "plain"):
                (top / name).write_text(name)
            (top / "dir").chmod(0o711)
            (top / "exists/dir").mkdir(parents=True)
            for name, target in (("lfile", "file"), ("ldir", "dir"), ("gone", "nothing"), ("tolink", "exists")):
                (top / name).symlink_to(target)
            (top / "tofile").symlink_to("plain")


@pytest.fixture
def box(host: Host, tmp_path: Path) -> Box:
    (tmp_path / "h").mkdir()
    return Box(host, tmp_path)


def tree(top: Path) -> dict[str, str]:
    found = {}
    for path in top.rglob("*"):
        status = path.lstat()
        what = f"-> {os.readlink(path)}" if path.is_symlink() else "/" if path.is_dir() else path.read_text()
        found[str(path.relative_to(top))] = f"{stat.S_IMODE(status.st_mode):o} {status.st_uid} {what}"
    return found


RULES = [
    ("file", "exists", {"exists/file": "file"}),
    ("file", "exists/", {"exists/file": "file"}),
    ("file", "new", {"new": "file"}),
    ("file", "plain", {"plain": "file"}),
    ("file", "tofile", {"plain": "file"}),
    ("file", "tolink", {"exists/file": "file"}),
    ("file", "gone", {"nothing": "file"}),
    ("file", "new/", None),
    ("file", "no/where", None),
    ("dir", "exists", {"exists/dir/a": "dir/a", "exists/dir/sub/b": "dir/sub/b"}),
    ("dir/", "exists", {"exists/dir/a": "dir/a"}),
    ("dir", "new", {"new/a": "dir/a", "new/sub/b": "dir/sub/b"}),
    ("dir", "new/", {"new/a": "dir/a"}),
    ("dir/.", "exists", {"exists/a": "dir/a", "exists/sub/b": "dir/sub/b"}),
    ("dir/.", "new", {"new/a": "dir/a"}),
    ("dir/sub/..", "new", {"new/a": "dir/a"}),
    ("dir", "plain", None),
    ("dir/.", "plain", None),
    ("file/", "exists", None),
    ("none", "exists", None),
    ("lfile", "exists", {"exists/lfile": "-> file"}),
    ("ldir", "exists", {"exists/ldir": "-> dir"}),
    ("-L lfile", "exists", {"exists/lfile": "file"}),
    ("-L ldir", "exists", {"exists/ldir/a": "dir/a"}),
    ("ldir/.", "new", {"new/a": "dir/a"}),
]


@pytest.mark.parametrize("running", [False, True])
def test_the_destination_rules_are_dockers(box: Box, running: bool) -> None:
    """Those of its documentation, both ways."""
    from pyctr.core import containers
    from pyctr.core.copies import End, copy
    from pyctr.core.engine import Engine
    from pyctr.core.errors import PyctrError

    if running:
        box.host.run("start", "box")
    container = containers.find(Engine(box.host.paths), "box")
    for inwards in (True, False):
        for source, target, expected in RULES:
            box.fresh()
            follow, word = source.startswith("-L "), source.removeprefix("-L ")
            host, inside = End(f"{box.outside}/{word if inwards else target}"), End(
                f"/v/{target if inwards else word}", container
            )  # fmt: skip
            result = box.inside if inwards else box.outside
            before = tree(result)
            try:
                copy(*((host, inside) if inwards else (inside, host)), follow=follow)
            except PyctrError:
                assert expected is None, (source, target)
                assert tree(result) == before
                continue
            assert expected is not None, (source, target)
            now = tree(result)
            assert {name: now[name].split(" ", 2)[2] for name in expected} == expected, (source, target)
            assert set(before) <= set(now)


@podman
def test_podman_puts_the_same_files_in_the_same_places(box: Box, tmp_path: Path) -> None:
    """For what both mean alike: podman always follows a link that is the source, and makes no directory for `new/`."""
    base = box.host.base
    own = (
        "podman",
        "--root",
        f"{base}/p",
        "--runroot",
        f"{base}/q",
        "--tmpdir",
        f"{base}/t",
        "--storage-driver",
        "vfs",
    )
    (tmp_path / "empty").mkdir()
    with tarfile.open(tmp_path / "empty.tar", "w") as tar:
        tar.add(tmp_path / "empty", ".")
    try:
        for words in (
            ("import", "-q", str(tmp_path / "empty.tar"), "box"),
            ("create", "--network=none", "--name", "box", "-v", f"{box.inside}:/v", "box", "/bin/x"),
        ):
            done = subprocess.run([*own, *words], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        for source, target in (
            ("file", "exists"),
            ("dir", "exists"),
            ("dir/.", "exists"),
            ("dir", "new"),
            ("dir", "plain"),
        ):
            seen = []
            for tool in (own, tuple(box.host.command())):
                box.fresh()
                words = ("cp", f"{box.outside}/{source}", f"box:/v/{target}")
                done = subprocess.run([*tool, *words], env=box.host.env, capture_output=True, text=True)
                seen.append((done.returncode == 0, tree(box.inside)))
            assert seen[0] == seen[1], (source, target)
    finally:
        subprocess.run([*own, "rm", "-f", "box"], capture_output=True)
        subprocess.run([*own, "rmi", "-af"], capture_output=True)


def test_owners_modes_and_times(box: Box) -> None:
    box.fresh()
    path = box.outside / "file"
    os.chown(path, 1234, 1235)
    path.chmod(0o640)
    os.utime(path, ns=(1, 1_500_000_000_123_456_789))
    box.host.run("cp", str(path), "box:/v/roots")
    box.host.run("cp", "-a", str(path), "box:/v/kept")
    box.host.run("cp", "box:/v/kept", str(box.outside / "mine"))
    box.host.run("cp", "-a", "box:/v/kept", str(box.outside / "theirs"))
    found = [
        (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime_ns)
        for name in (box.inside / "roots", box.inside / "kept", box.outside / "mine", box.outside / "theirs")
        if (status := name.stat())
    ]
    rest = (0o640, 1_500_000_000_123_456_789)
    assert found == [(0, 0, *rest), (1234, 1235, *rest), (0, 0, *rest), (1234, 1235, *rest)]


def test_archives_go_both_ways(box: Box) -> None:
    box.fresh()
    os.chown(box.inside / "dir/a", 77, 78)
    command = box.host.command("cp", "box:/v/dir", "-")
    out = subprocess.run(command, env=box.host.env, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert tar.getnames() == ["dir", "dir/a", "dir/sub", "dir/sub/b"]
        assert (tar.getmember("dir/a").uid, tar.getmember("dir").mode) == (77, 0o711)
    subprocess.run(box.host.command("cp", "-", "box:/v/exists"), env=box.host.env, input=out, check=True)
    assert (box.inside / "exists/dir/sub/b").read_text() == "dir/sub/b"
    assert (box.inside / "exists/dir/a").stat().st_uid == 77
    for bad, why in ((out[:700], "ends in the middle"), (b"no archive " * 100, "not a tar archive")):
        done = subprocess.run(box.host.command("cp", "-", "box:/v"), env=box.host.env, input=bad, capture_output=True)
        assert done.returncode and why in done.stderr.decode() and done.stderr.count(b"pyctr:") == 1
    done = subprocess.run(box.host.command("cp", "-", "box:/v/none"), env=box.host.env, input=out, capture_output=True)
    assert b"no '/v/none'" in done.stderr


def test_a_stopped_container_keeps_what_came_and_shows_what_it_has(host: Host, tmp_path: Path) -> None:
    """Its own layer, volumes, read-only places, our own files; nothing stays mounted, and it starts afterwards."""
    (tmp_path / "f").write_text("new")
    host.run("run", "--name", "box", "-v", "vol:/data", "-v", "ro:/ro:ro", "--network", "none", "base",
             "sh", "-c", "echo own > /own; echo vol > /data/vol")  # fmt: skip
    host.run("cp", "box:/own", str(tmp_path / "own"))
    host.run("cp", "box:/data/vol", str(tmp_path / "vol"))
    assert (tmp_path / "own").read_text() + (tmp_path / "vol").read_text() == "own\nvol\n"
    host.run("cp", str(tmp_path / "f"), "box:/came")
    host.run("cp", str(tmp_path / "f"), "box:/data/came")
    done = host.run("cp", str(tmp_path / "f"), "box:/ro/", check=False)
    assert "read-only" in done.stderr and done.returncode
    assert ("A", "/came") in [tuple(line.split()) for line in host.run("diff", "box").stdout.splitlines()]
    assert host.mounts() == []
    host.run("start", "-a", "box")
    host.run("cp", "box:/came", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "new"
    host.run("create", "--name", "sealed", "--read-only", "--network", "none", "base", "true")
    done = host.run("cp", str(tmp_path / "f"), "sealed:/", check=False)
    assert "read-only" in done.stderr


def test_a_running_container_is_seen_with_its_mounts(host: Host, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("127.0.0.1 mine\n")
    host.run("run", "-d", "--name", "box", "--tmpfs", "/t", "--network", "none", "base", "sleep", "1000")
    host.run("cp", str(tmp_path / "f"), "box:/t")
    host.run("cp", str(tmp_path / "f"), "box:/etc/hosts")  # a mount point: written in place
    assert host.run("exec", "box", "cat", "/t/f", "/etc/hosts").stdout == "127.0.0.1 mine\n" * 2
    host.run("cp", "box:/proc/1/cmdline", str(tmp_path / "cmdline"))
    assert (tmp_path / "cmdline").read_bytes() == b"sleep\0" + b"1000\0"
    done = host.run("cp", "box:/proc/self/root/etc/hosts", str(tmp_path / "magic"), check=False)
    assert done.returncode and not (tmp_path / "magic").exists()


def test_what_makes_no_sense_is_said(host: Host, tmp_path: Path) -> None:
    host.run("create", "--name", "box", "-v", f"{tmp_path}:/v", "--network", "none", "base", "true")
    (tmp_path / "dir").mkdir()
    for words, why in (
        (("/etc", "/tmp"), "neither is in a container"),
        (("box:/a", "box:/b"), "same container"),
        (("-", "/tmp"), "neither is in a container"),
        (("nobody:/x", "."), "no container 'nobody'"),
        (("box:/nothing", "."), "no '/nothing' in container 'box'"),
        ((f"{tmp_path}/dir", "box:/v/dir"), "into itself"),
    ):
        done = host.run("cp", *words, check=False)
        assert done.returncode and why in done.stderr, done.stderr


RACER = """
import os, sys, ctypes
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
print(flush=True)
while True:
    libc.renameat2(-100, b"swap", -100, b"evil", 2)  # RENAME_EXCHANGE
"""


@pytest.fixture
def race(box: Box) -> Iterator[Path]:
    """`swap` in the container's volume is by turns a directory and a link to a directory of the host's root."""
    box.fresh()
    victim = box.outside.with_name("victim")
    victim.mkdir()
    (victim / "secret").write_text("secret")
    (box.inside / "swap").mkdir()
    (box.inside / "swap/secret").write_text("harmless")
    (box.inside / "evil").symlink_to(victim)
    box.host.run("start", "box")
    racer = subprocess.Popen([sys.executable, "-c", RACER, str(box.inside)], stdout=subprocess.PIPE)
    assert racer.stdout is not None and racer.stdout.readline()
    yield victim
    racer.send_signal(signal.SIGKILL)
    racer.wait()
    racer.stdout.close()


def test_links_exchanged_in_a_loop_lead_nowhere(box: Box, race: Path) -> None:
    """CVE-2018-15664: neither does a file come to the host nor does one of the host's go in."""
    from pyctr.core import containers
    from pyctr.core.copies import End, copy
    from pyctr.core.engine import Engine
    from pyctr.core.errors import PyctrError

    container = containers.find(Engine(box.host.paths), "box")
    got, done = box.outside / "got", 0
    for turn in range(600):
        try:
            if turn % 2:
                copy(End(f"{box.outside}/file"), End(f"/v/swap/written{turn % 20}", container))
            else:
                copy(End("/v/swap/secret", container), End(str(got)))
                assert got.read_text() == "harmless"
            done += 1
        except PyctrError:
            continue  # the link leads to a place that the container does not have
    assert os.listdir(race) == ["secret"] and (race / "secret").read_text() == "secret"
    assert done > 0, "the race was never won by anybody, so nothing was tested"
