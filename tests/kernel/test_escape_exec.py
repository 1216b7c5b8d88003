"""Further processes of a container: what they bring along, and what those inside can take of them on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pyctr.core import errors
from pyctr.core.linux import procfs, seccomp
from pyctr.core.linux.caps import mask
from pyctr.core.runtime import defaults
from pyctr.core.runtime.launch import Launched
from tests.support.bundle import Bundle
from tests.support.host import REPOSITORY, Host
from tests.support.insider import DEFAULT, insider, strangers


@pytest.fixture
def bundle(bare_host: Host) -> Iterator[Bundle]:
    yield Bundle(bare_host)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def start(bundle: Bundle, **changes: Any) -> Launched:
    program = seccomp.compiled(seccomp.DEFAULT, frozenset(defaults.CAPABILITIES), bundle.host.paths.cache)
    return bundle.start(bundle.config("sleep", "100", **changes), attach=True, seccomp=program)


def test_an_exec_shows_nothing_of_the_host_to_who_may_look_into_every_process(bundle: Bundle) -> None:
    """CVE-2016-9962 with CAP_SYS_PTRACE: memory, root and descriptors of a process on its way to the command."""
    kept = [*defaults.CAPABILITIES, "CAP_SYS_PTRACE"]
    launched = start(bundle, capabilities={"bounding": kept, "effective": kept, "permitted": kept})
    outside = os.getpid()
    try:
        with insider(launched.pid, lambda proc: strangers(proc, bundle.host.base, outside), "CAP_SYS_PTRACE") as spy:
            for _ in range(25):
                assert bundle.execute("true")[0] == 0
        assert spy.found == []
    finally:
        bundle.kill(launched)


def test_a_working_directory_or_command_behind_a_descriptor_leads_nowhere(bundle: Bundle) -> None:
    """CVE-2024-21626: /proc/self/fd/N while descriptors of the host are open."""
    launched = start(bundle)
    (bundle.rootfs / "bin/out").mkdir()
    try:
        for fd in range(3, 20):
            with pytest.raises(errors.PyctrError):
                bundle.execute("true", cwd=f"/proc/self/fd/{fd}")
            for number, way in enumerate(
                (
                    f"/proc/self/fd/{fd}",
                    f"/proc/self/fd/{fd}/self/root",
                    f"/proc/self/fd/{fd}/{os.getpid()}/root",
                )
            ):
                with pytest.raises(errors.PyctrError):
                    bundle.execute(f"{way}/bin/sh", "-c", "echo out")
                link = bundle.rootfs / f"bin/out/{fd}-{number}"
                link.symlink_to(f"{way}/bin/sh")
                with pytest.raises(errors.PyctrError):
                    bundle.execute(f"/bin/out/{link.name}", "-c", "echo out")
    finally:
        bundle.kill(launched)


def rights(status: dict[str, str]) -> dict[str, int]:
    return {key: int(status[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}


@pytest.mark.parametrize("user", ["", "1000"])
@pytest.mark.parametrize("caps", [None, ["CAP_CHOWN"], []])
def test_a_further_process_has_the_rights_of_the_first_or_fewer(
    bundle: Bundle, user: str, caps: list[str] | None
) -> None:
    """Nothing inheritable (CVE-2022-29162), nothing in the bounding set that was not asked for, the same filter."""
    launched = start(bundle)
    connection = bundle.connect()
    try:
        pid = connection.execute(["sleep", "100"], user=user, caps=caps)["pid"]
        status = procfs.status(pid)
        bound = DEFAULT if caps is None else mask(caps)
        own = 0 if user else bound
        assert rights(status) == {"CapInh": 0, "CapPrm": own, "CapEff": own, "CapBnd": bound, "CapAmb": 0}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert status["Groups"] == ("50" if user else "")
        for kind in ("pid", "net", "mnt", "uts", "ipc", "cgroup"):
            assert os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/{launched.pid}/ns/{kind}")
    finally:
        connection.close()
        bundle.kill(launched)


def test_a_privileged_exec_makes_nobody_else_privileged(bundle: Bundle) -> None:
    launched = start(bundle)
    try:
        code, out, _ = bundle.execute("grep", "CapEff", "/proc/self/status", "/proc/1/status", privileged=True)
        own, first = [line.split()[-1] for line in out.splitlines()]
        assert (code, int(first, 16)) == (0, DEFAULT)
        assert int(own, 16) > DEFAULT
    finally:
        bundle.kill(launched)


def test_a_module_that_is_not_loaded_is_never_looked_for_inside() -> None:
    """After the change of the root its file would be the image's, executed with the runtime's rights."""
    code = "from pyctr.core.runtime import init; init.close_imports(); import pyctr.core.demo"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert "ModuleNotFoundError" in done.stderr
