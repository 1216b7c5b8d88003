"""What is said about a process through procfs goes to the kernel, whatever has been put in its place.

CVE-2019-16884, CVE-2019-19921, CVE-2025-52881: labels, scores and parameters that were written into a file which a
volume, an image or another container had laid over the one of procfs. `test_escape_paths` has the mounts of a
configuration and the races; here it is mounted already.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import errors
from pyctr.core.linux import const, mount, namespaces, procfs, usernamespace
from pyctr.core.runtime.context import Context
from pyctr.core.runtime.ops_identity import Scores
from pyctr.core.runtime.ops_namespace import Sysctls
from pyctr.core.runtime.plan import Plan
from tests.support.child import in_child, new_mounts
from tests.support.host import Host
from tests.support.oci import Oci


@pytest.fixture
def oci(bare_host: Host) -> Iterator[Oci]:
    yield Oci(bare_host)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


APPARMOR = f"thread-self/attr/{'apparmor/' if os.path.isdir('/proc/self/attr/apparmor') else ''}exec"
WRITES: dict[str, tuple[str, Callable[[Context], object]]] = {
    "score": ("self/oom_score_adj", Scores(oom_score_adj=7).execute),
    "AppArmor's label": (APPARMOR, Scores(apparmor="unconfined").execute),
    "SELinux's label": ("thread-self/attr/exec", Scores(selinux="a:b:c").execute),
    "kernel parameter": ("sys/net/ipv4/ip_forward", Sysctls(values={"net.ipv4.ip_forward": "1"}).execute),
    "mapping": ("{pid}/uid_map", lambda _: usernamespace.write_maps(os.getpid(), MAP, [])),
}
MAP = [{"containerID": 0, "hostID": 1000, "size": 1}]


@pytest.mark.parametrize("over", ["a file", "another file of procfs", "a directory"])
@pytest.mark.parametrize("what", WRITES)
def test_nothing_is_written_to_what_lies_over_a_file_of_procfs(tmp_path: Path, what: str, over: str) -> None:
    """Also not to another file of the very same procfs, which a check of the file system's type lets through."""
    place, write = WRITES[what]
    fake = tmp_path / "fake"
    fake.write_text("")

    def body() -> list[str]:
        new_mounts()
        mount.mount("proc", "/proc", "proc")
        target = f"/proc/{place.format(pid=os.getpid())}"
        if over == "a directory":
            target = os.path.dirname(target)
            mount.mount("tmpfs", target, "tmpfs")
            written = Path(target, place.rpartition("/")[2])
            written.write_text("")
        else:
            written = fake if over == "a file" else Path("/proc/self/coredump_filter")
            mount.mount(str(written), target, None, const.MS_BIND)
        before = written.read_text()
        context = Context(Plan({"wishes": {}}))
        context.proc = procfs.open_root()
        said = ""
        try:
            write(context)
        except (OSError, errors.PyctrError) as error:
            said = str(error).lower()
        return [said, "the same" if written.read_text() == before else written.read_text()]

    said, after = in_child(body, const.CLONE_NEWNS | const.CLONE_NEWPID | const.CLONE_NEWNET)
    assert after == "the same"
    assert "cross-device" in said, "refused for what it is"


def test_a_proc_that_is_none_is_not_written_to(tmp_path: Path) -> None:
    def body() -> list[Any]:
        new_mounts()
        mount.mount("tmpfs", "/proc", "tmpfs")
        os.mkdir("/proc/self")
        Path("/proc/self/oom_score_adj").write_text("")
        try:
            procfs.open_root()
        except OSError as error:
            return [error.errno]
        return []

    from errno import ENODEV

    assert in_child(body, const.CLONE_NEWNS) == [ENODEV]


HOSTILE = """
mount -t tmpfs tmpfs /proc
mkdir -p /proc/self/fd /proc/self/ns /proc/self/attr /proc/thread-self/attr /proc/sys/net/ipv4
for f in self/oom_score_adj self/attr/exec thread-self/attr/exec sys/net/ipv4/ip_forward stolen; do : > /proc/$f; done
i=0; while [ $i -lt 64 ]; do ln -s /proc/stolen /proc/self/fd/$i; i=$((i + 1)); done
"""
FAKES = "cat /proc/stolen /proc/self/oom_score_adj /proc/thread-self/attr/exec /proc/sys/net/ipv4/ip_forward"


def test_a_further_process_believes_no_proc_of_the_container(oci: Oci) -> None:
    """A container that may mount has laid a tmpfs over its /proc."""
    (oci.rootfs / "bin/ln").symlink_to("busybox")
    config = oci.config("sh", "-ec", f"{HOSTILE} : > /ready; sleep 1000")
    for names in config["process"]["capabilities"].values():
        names.append("CAP_SYS_ADMIN")
    config["linux"].update(maskedPaths=[], readonlyPaths=[])
    oci.write(config)
    os.mkfifo(oci.path / "said")
    process = {"args": ["sh", "-c", FAKES], "cwd": "/", "env": ["PATH=/bin"], "oomScoreAdj": 321}
    (oci.path / "process.json").write_text(json.dumps({**process, "args": ["sleep", "1000"]}))
    (oci.path / "look.json").write_text(json.dumps(process))
    assert oci.cli("run", "-d", "--bundle", str(oci.path), "one").returncode == 0
    try:
        wait_for(oci.rootfs / "ready")
        pid_file = str(oci.path / "pid")
        done = oci.cli("exec", "-d", "--pid-file", pid_file, "--process", str(oci.path / "process.json"), "one")
        assert done.returncode == 0, done.stderr
        pid = int(Path(pid_file).read_text())
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "321\n"
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        done = oci.cli("exec", "--process", str(oci.path / "look.json"), "one")
        assert (done.stdout, done.returncode) == ("", 0), f"what was stolen: {done.stdout} {done.stderr}"
    finally:
        oci.cli("delete", "--force", "one")


def wait_for(path: Path) -> None:
    import time

    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.01)


def test_a_container_in_a_mount_namespace_of_others_believes_no_proc_of_theirs(oci: Oci) -> None:
    """Their /proc has links for our descriptors, and files in which they wait for labels and parameters."""
    read, write = os.pipe()
    pid, pidfd = namespaces.clone3(const.CLONE_NEWNS)
    if pid == 0:
        try:
            os.close(write)
            os.read(read, 1)
        finally:
            os._exit(0)
    path = f"/proc/{pid}/ns/mnt"
    try:
        made = subprocess.run(
            ["nsenter", f"--mount={path}", "sh", "-ec", f"mount --make-rprivate /; {HOSTILE}"], capture_output=True
        )
        assert made.returncode == 0, made.stderr

        def change(config: dict[str, Any]) -> None:
            kept = [entry for entry in config["linux"]["namespaces"] if entry["type"] != "mount"]
            config["linux"]["namespaces"] = [*kept, {"type": "mount", "path": path}, {"type": "time"}]
            config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
            config["process"]["oomScoreAdj"] = 321
            layers = [f"{oci.path}/{'x' * 200}-{number}" for number in (1, 2)]
            for directory in layers:
                Path(directory).mkdir()
            config["mounts"].append(oci.mount("/tmp/o", "overlay", "overlay", f"lowerdir={':'.join(layers)}"))

        script = "readlink /proc/self/fd/0; cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward"
        said = oci.inside(f"{script}; grep -c ' /tmp/o overlay' /proc/self/mounts", change)
        assert said.split() == ["/dev/null", "321", "1", "1"]
        stolen = subprocess.run(["nsenter", f"--mount={path}", "sh", "-ec", FAKES], capture_output=True, text=True)
        assert (stolen.stdout, stolen.returncode) == ("", 0), stolen.stderr
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(pid, 0)
        os.close(pidfd)
