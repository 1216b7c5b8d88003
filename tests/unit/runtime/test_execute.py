"""What the two processes of an exec say, in the orders in which it may arrive."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import cast

import pytest

from pyctr.core.cgroups.group import Manager
from pyctr.core.runtime import execute, start, sync
from pyctr.core.runtime.context import Context
from pyctr.core.runtime.plan import Plan


class Thawed:
    """All that is asked of a cgroup here."""

    def frozen(self) -> bool:
        return False


@pytest.fixture
def told() -> tuple[Context, sync.Packets]:
    """A context, and the end of its packets that the processes have."""
    context = Context(Plan({"operations": [], "execs": [], "wishes": {}}))
    context.manager = cast(Manager, Thawed())
    context.packets, theirs = sync.packets()
    return context, theirs


def test_a_second_that_fails_before_it_is_known_is_known_all_the_same(told: tuple[Context, sync.Packets]) -> None:
    """Else nobody would reap it, and a zombie keeps the container's pid namespace."""
    context, theirs = told
    assert context.packets is not None
    pidfd = os.pidfd_open(os.getpid())
    theirs.send(sync.FAILED, sync.words("CommandNotFound", "'nope': not found", ""))
    theirs.send(sync.CHILD, b"4711", (pidfd,))
    os.close(pidfd)
    theirs.close()
    execute._await_second(context, [])
    assert context.pid == 4711
    with pytest.raises(start.Failed, match="'nope': not found"):
        start.listen(context, [])
    os.close(context.pidfd)
    context.packets.close()


def test_what_the_first_said_at_its_end_is_why_there_is_no_second(told: tuple[Context, sync.Packets]) -> None:
    context, theirs = told
    assert context.packets is not None
    theirs.send(sync.FAILED, sync.words("RuntimeFailure", "namespaces: no such process", ""))
    theirs.close()
    with pytest.raises(start.Failed, match="no such process"):
        execute._await_second(context, [])
    context.packets.close()


def test_a_first_that_dies_without_a_word_is_no_success(told: tuple[Context, sync.Packets]) -> None:
    context, theirs = told
    assert context.packets is not None
    theirs.close()
    with pytest.raises(start.Failed, match="died before it was in the container"):
        execute._await_second(context, [])
    context.packets.close()


def _tell(theirs: sync.Packets, pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    theirs.send(sync.CHILD, str(pid).encode(), (pidfd,))
    os.close(pidfd)


def test_a_signal_while_the_command_runs_already_is_for_the_command(told: tuple[Context, sync.Packets]) -> None:
    """It may write its first line, and be asked to end for that, before we have read that there is one."""
    context, theirs = told
    assert context.packets is not None
    with subprocess.Popen(["sleep", "100"]) as command:
        _tell(theirs, command.pid)
        assert execute._runs(context, [])
        assert (context.pid, command.poll()) == (command.pid, None)
        os.close(context.pidfd)
        command.kill()
    context.packets.close()


def test_a_signal_before_that_ends_whatever_there_is(told: tuple[Context, sync.Packets]) -> None:
    context, theirs = told
    assert context.packets is not None
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    _tell(theirs, pid)
    assert not execute._runs(context, [])
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    theirs.close()
    assert not execute._runs(context, []), "and there may be nothing"
    context.packets.close()
