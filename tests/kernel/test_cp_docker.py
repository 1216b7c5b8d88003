"""`cp` beside docker's own: the same commands leave the same files with the same modes, and succeed or fail alike.

Owners are those of docker's documentation (`test_cp`), which docker 28 does not keep itself: what it copies in has the
owners of outside without -a, too, and what it copies out with -a those of whoever asked.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import test_cp
from tests.kernel.test_interop_runtime_docker import Docker
from tests.support import manager as managers

pytestmark = managers.needs(
    "dockerd", "docker", "containerd", "runc", "iptables", "unshare", "nsenter", "ip", "busybox"
)

CASES = (
    *(
        ("file", "exists"),
        ("file", "exists/"),
        ("file", "new"),
        ("file", "plain"),
        ("file", "tofile"),
        ("file", "tolink"),
    ),
    *(("file", "new/"), ("file", "no/where"), ("dir", "exists"), ("dir/", "exists"), ("dir", "new"), ("dir", "new/")),
    *(("dir/.", "exists"), ("dir/.", "new"), ("dir", "plain"), ("dir/.", "plain"), ("none", "exists")),
    *(("lfile", "exists"), ("ldir", "exists")),
)


@pytest.fixture
def docker() -> Iterator[Docker]:
    manager = Docker()
    try:
        manager.prepare()
        yield manager
        manager("rm", "-f", "box")
    finally:
        manager.close()


@pytest.mark.timeout(300)
def test_docker_puts_the_same_files_in_the_same_places(docker: Docker) -> None:
    """In and out, with and without -a and -L, and as archives on stdin and stdout."""
    top = Path(docker.base)
    inside, outside = top / "inside", top / "outside"
    for place in (inside, outside):
        place.mkdir()
    docker("create", "--runtime", "peer", "--name", "box", "--network", "none", "-v", f"{inside}:/v", "box", "true")
    docker.host.run("import", docker.rootfs, "box")
    docker.host.run("create", "--name", "box", "--network", "none", "-v", f"{inside}:/v", "box", "true")
    ours = [*docker.host.command(), "cp"]
    tools = ((docker.command("cp"), docker.env), (ours, docker.host.env))
    differing = []
    for inwards in (True, False):
        result = inside if inwards else outside
        for flags in ((), ("-a",), ("-L",)):
            for source, target in CASES if not flags else CASES[:1] + CASES[8:9] + CASES[-2:]:
                seen = []
                for words, env in tools:
                    _fresh(inside, outside)
                    ends = (
                        (f"{outside}/{source}", f"box:/v/{target}")
                        if inwards
                        else (f"box:/v/{source}", f"{outside}/{target}")
                    )
                    done = subprocess.run([*words, *flags, *ends], env=env, capture_output=True, timeout=60)
                    seen.append((done.returncode == 0, tree(result)))
                if seen[0] != seen[1]:
                    differing.append((inwards, flags, source, target, _difference(*seen)))
    assert not differing, "\n".join(map(str, differing))
    archives = []
    for words, env in tools:
        _fresh(inside, outside)
        out = subprocess.run([*words, "box:/v/dir", "-"], env=env, capture_output=True, timeout=60, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(out)) as tar:
            members = {one.name.rstrip("/"): (one.type, one.mode & 0o7777, one.uid, one.gid, one.size) for one in tar}
        _fresh(inside, outside)
        subprocess.run([*words, "-", "box:/v/exists"], env=env, input=out, timeout=60, check=True)
        bad = subprocess.run([*words, "-", "box:/v/none"], env=env, input=out, capture_output=True, timeout=60)
        archives.append((members, tree(inside), bad.returncode == 0))
    assert archives[0] == archives[1]
    assert archives[1][0]["dir/a"][2:4] == (77, 78)


def tree(top: Path) -> dict[str, str]:
    """Without owners."""
    found = {name: what.split(" ", 2) for name, what in test_cp.tree(top).items()}
    return {name: f"{mode} {what}" for name, (mode, _, what) in found.items()}


def _difference(theirs: tuple[bool, dict[str, str]], ours: tuple[bool, dict[str, str]]) -> str:
    names = {name for name in {*theirs[1], *ours[1]} if theirs[1].get(name) != ours[1].get(name)}
    return f"{theirs[0]} {ours[0]} {[(name, theirs[1].get(name), ours[1].get(name)) for name in sorted(names)]}"


def _fresh(*places: Path) -> None:
    for top in places:
        for entry in top.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        (top / "dir/sub").mkdir(parents=True)
        for name in ("file", "dir/a", "dir/sub/b", "plain"):
            (top / name).write_text(name)
        (top / "dir").chmod(0o711)
        (top / "file").chmod(0o640)
        os.chown(top / "file", 1234, 1235)
        os.chown(top / "dir/a", 77, 78)
        (top / "exists/dir").mkdir(parents=True)
        for name, target in (("lfile", "file"), ("ldir", "dir"), ("tolink", "exists"), ("tofile", "plain")):
            (top / name).symlink_to(target)
