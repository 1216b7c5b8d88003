"""Bundles that once hung, told nothing useful, or reached for what is not theirs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.caller import subreaper
from tests.support.host import Host
from tests.support.oci import Oci


@pytest.fixture
def oci(bare_host: Host) -> Iterator[Oci]:
    oci = Oci(bare_host)
    yield oci
    oci.cli("delete", "--force", "one")
    left = bare_host.census()
    assert not left, f"left behind: {left}"


@pytest.mark.parametrize("file", ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze"])
def test_a_limit_brings_no_process_of_the_host_into_the_group(oci: Oci, file: str) -> None:
    """It would end with the container."""
    stranger = subprocess.Popen(["sleep", "100"])
    try:
        before = Path(f"/proc/{stranger.pid}/cgroup").read_text()

        def change(config: dict[str, Any]) -> None:
            config["linux"]["resources"] = {"unified": {file: str(stranger.pid)}}

        assert f"linux.resources.unified.{file}: is no limit" in oci.refused(change)
        oci.write(oci.config("sleep", "100"))
        with subreaper():
            assert oci.cli("run", "-d", "--bundle", str(oci.path), "one").returncode == 0
            (oci.path / "limits.json").write_text(json.dumps({"unified": {file: str(stranger.pid)}}))
            done = oci.cli("update", "-r", str(oci.path / "limits.json"), "one")
            assert done.returncode == 1 and "is no limit" in done.stderr
            oci.cli("delete", "--force", "one")
            os.waitpid(-1, os.WNOHANG)
        assert stranger.poll() is None
        assert Path(f"/proc/{stranger.pid}/cgroup").read_text() == before
    finally:
        stranger.kill()
        stranger.wait()


def test_each_of_these_is_refused_by_its_path(oci: Oci) -> None:
    os.mkfifo(oci.path / "fifo")
    many = [
        {"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": n, "op": "SCMP_CMP_EQ"}]}
        for n in range(5000)
    ]
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "linux.namespaces[6].path: ": (
            "linux",
            {"namespaces": [*oci.config("x")["linux"]["namespaces"], {"type": "time", "path": f"{oci.path}/fifo"}]},
        ),
        "linux.seccomp: the filter needs ": (
            "linux",
            {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": many}},
        ),
        "linux.maskedPaths[1]: '/proc/self/exe' cannot be covered": (
            "linux",
            {"maskedPaths": ["/proc/keys", "/proc/self/exe"]},
        ),
        "linux.readonlyPaths[0]: '/proc/self/fd/3' cannot be covered": (
            "linux",
            {"readonlyPaths": ["/proc/self/fd/3"]},
        ),
        "root.path: '/etc/passwd' cannot be used: not a directory": ("root", {"path": "/etc/passwd"}),
        "linux.namespaces[0].path: '/proc/self/ns/mnt' is the host's own mount namespace": (
            "linux",
            {"namespaces": [{"type": "mount", "path": "/proc/self/ns/mnt"}, {"type": "pid"}, {"type": "uts"}]},
        ),
        "linux.cgroupsPath: '/' is not the path of a group": ("linux", {"cgroupsPath": "/"}),
        "linux.cgroupsPath: '/xx": ("linux", {"cgroupsPath": "/" + "x" * 5000}),
        "linux.uidMappings[0].size: goes beyond the last id": (
            "linux",
            {
                "namespaces": [*oci.config("x")["linux"]["namespaces"], {"type": "user"}],
                "uidMappings": [{"containerID": 0, "hostID": (1 << 32) - 1, "size": 1}],
                "gidMappings": [{"containerID": 0, "hostID": 0, "size": 1}],
            },
        ),
        "process.cwd: working directory '/yy": ("process", {"cwd": "/" + "y" * 70_000}),
        "process.user.additionalGids: has more than 65536": ("process", {"user": {"additionalGids": [*range(70_000)]}}),
    }
    for words, (part, values) in cases.items():

        def change(config: dict[str, Any], part: str = part, values: dict[str, Any] = values) -> None:
            config[part].update(values)
            if "user" in values:
                config[part]["user"].update(uid=0, gid=0)

        said = oci.refused(change)
        assert words in said and len(said) < 1100, said
        assert not oci.host.census(), words


def test_what_cannot_be_mounted_is_named_by_its_path(oci: Oci) -> None:
    """A link in a circle, a file in the way, a place that cannot be a directory, and a file for one that is."""
    (oci.rootfs / "loop").symlink_to("loop")
    (oci.rootfs / "file").touch()
    os.mkfifo(oci.path / "fifo")
    tmpfs = {"type": "tmpfs", "source": "tmpfs"}
    for words, entry in (
        ("destination: mount target '/loop/x' cannot be used", {"destination": "/loop/x", **tmpfs}),
        ("destination: mount target '/file/x' cannot be used", {"destination": "/file/x", **tmpfs}),
        ("destination: mount target '/zz", {"destination": "/" + "z" * 9000, **tmpfs}),
        ("source: ", {"destination": "/tmp", "source": f"{oci.path}/fifo", "options": ["bind"]}),
    ):
        said = oci.refused(lambda config, entry=entry: config["mounts"].append(entry))  # type: ignore[misc]
        assert f"mounts[7].{words}" in said and len(said) < 1100, said
        assert not oci.host.census(), words


def test_a_document_that_is_no_file_is_not_waited_for(oci: Oci) -> None:
    """A FIFO that nobody writes to, a device without an end, a file without a size that fits."""
    oci.write(oci.config("sleep", "100"))
    with subreaper():
        assert oci.cli("run", "-d", "--bundle", str(oci.path), "one").returncode == 0
        file = oci.path / "config.json"
        for words in (("is not valid JSON", "fifo"), ("is not a file", "/dev/zero"), ("more than 64 MiB", "")):
            file.unlink()
            if words[1] == "fifo":
                os.mkfifo(file)
            elif words[1]:
                file.symlink_to(words[1])
            else:
                with file.open("w") as sparse:
                    sparse.truncate(1 << 40)
            verbs = (("run", "--bundle", str(oci.path), "two"), ("exec", "--process", str(file), "one"))
            for verb in (*verbs, ("update", "--resources", str(file), "one")):
                done = oci.cli(*verb)
                assert done.returncode in (1, 255) and words[0] in done.stderr, (verb, done.stderr)
        for flags, said in (
            (("--user", "99999999999"), "--user: 99999999999 is not between"),
            (("--additional-gids", "-5"), "--additional-gids: -5 is not between"),
            (("--cwd", "../.."), "--cwd: '../..' is not an absolute path"),
            (("--cap", "CAP_EVERYTHING"), "--cap: 'CAP_EVERYTHING' is unknown"),
        ):
            done = oci.cli("exec", *flags, "one", "true")
            assert done.returncode == 255 and said in done.stderr, done.stderr
        oci.cli("delete", "--force", "one")
        os.waitpid(-1, 0)


def test_arguments_may_be_as_long_as_the_kernel_takes(oci: Oci) -> None:
    """Longer than what a message between our processes can be."""
    words = ["x" * 1000] * 600
    done = oci.run_config(oci.config("sh", "-c", "echo $#", "sh", *words))
    assert done.stdout == "600\n", done.stderr
    done = oci.run_config(oci.config("/" + "y" * 600_000))
    assert done.returncode == 1 and "Traceback" not in done.stderr and "/yyyy" in done.stderr


def test_of_a_creator_that_is_killed_early_delete_removes_the_group_too(oci: Oci) -> None:
    """When there is a group but no process yet."""
    config = oci.config("true")
    config["linux"]["cgroupsPath"] = oci.group
    oci.write(config)
    # stops itself at the clone, after the group was made
    code = (
        "import os, sys; sys.argv = ['pyctr-runtime', 'create', '--bundle', sys.argv[1], 'one']\n"
        "from pyctr.core.runtime import ops_namespace\n"
        "ops_namespace.Clone.execute = lambda *_: os.kill(os.getpid(), 9)\n"
        "import pyctr.core.runtime.readonly as readonly\n"
        "readonly.protect = lambda *_: None\n"
        "from pyctr.cli.runtime import main; main()\n"
    )
    command = [sys.executable, "-c", code, str(oci.path)]
    done = subprocess.run(command, env=oci.host.env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert oci.host.groups(), "there is something to be removed"
    assert json.loads(oci.cli("state", "one").stdout)["status"] == "stopped"
    assert oci.cli("delete", "one").returncode == 0
    assert not oci.host.groups()
