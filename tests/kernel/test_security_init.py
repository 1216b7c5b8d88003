"""What a container learns from `--init`, which is a process of ours."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyctr.core.linux import machine, process
from pyctr.core.runtime import ops_exec
from pyctr.core.runtime.context import Context
from pyctr.core.runtime.plan import Plan
from tests.support.host import REPOSITORY, Host


def test_the_init_process_tells_nothing_of_the_host(host: Host) -> None:
    script = "cat /proc/1/cmdline /proc/1/comm; cat /proc/1/environ; readlink /proc/1/exe; true"
    said = host.run("run", "--rm", "--init", "--network", "none", "localhost/base", "sh", "-c", script).stdout
    assert said == "pyctr-init\0002\0pyctr-init\n/memfd:pyctr-init (deleted)\n"
    for secret in (host.base, str(REPOSITORY), "python", "import"):
        assert secret not in said


class Forked:
    """A process that has become PID 1 and its child, with what the child says when it is let go."""

    def __init__(self, execveat: Callable[..., None]) -> None:
        heard, self.says = os.pipe()
        self.heard = heard
        self.pid = os.fork()
        if self.pid == 0:
            try:
                process.execveat = execveat
                first = os.getpid()
                context = Context(Plan({"wishes": {}}))
                context.init = machine.program("init")
                ops_exec._stay(context)
                os.write(self.says, Path(f"/proc/{first}/comm").read_bytes())
                os.write(self.says, os.readlink(f"/proc/{first}/exe").encode())
                os._exit(3)
            finally:
                os._exit(1)
        os.close(self.says)

    def said(self) -> str:
        text = b""
        while piece := os.read(self.heard, 1000):
            text += piece
        os.close(self.heard)
        return text.decode()

    def code(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_nothing_of_the_container_runs_before_its_init_is_a_program_of_its_own() -> None:
    """Until then PID 1 is a copy of the shim: its memory and words would be open to who has CAP_SYS_PTRACE inside."""
    real, (gate, opened) = process.execveat, os.pipe()

    def late(*words: Any) -> None:
        os.read(gate, 1)
        real(*words)

    forked = Forked(late)
    too_early = select.select([forked.heard], [], [], 0.5)[0]
    os.write(opened, b"x")
    assert not too_early, "the container's process runs beside the interpreter"
    assert forked.said() == "pyctr-init\n/memfd:pyctr-init (deleted)"
    assert forked.code() == 3, "the child's"
    os.close(gate)
    os.close(opened)


def test_an_init_that_dies_on_the_way_lets_nobody_loose() -> None:
    def dies(*words: Any) -> None:
        os._exit(9)

    forked = Forked(dies)
    assert (forked.code(), forked.said()) == (9, "")
