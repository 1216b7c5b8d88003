"""A further process in a container without a shim: a child of the caller's own process, see `direct`."""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.runtime import ocistate
from pyctr.core.runtime.ocistate import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.runtime.context import Context


class Order:
    """What the command line says about an exec besides the process itself."""

    pid_file = ""
    console_socket = ""
    began: Callable[[int], None] | None = None
    """Told the pid of the process as soon as there is one."""
    detached = False
    winsize: tuple[int, int] | None = None
    """Rows and columns of the caller's own terminal."""
    kept = 0
    paused = False
    """Also into a frozen container, where it will wait for the thaw."""
    groups: list[str] = []
    """"path" or "controller:path" below the container's own group."""


def execute(container: Container, change: Callable[[dict[str, Any]], dict[str, Any]], order: Order) -> Context:
    """Run a process in a running container: our child, through execve. `change` makes its document of the first one's.

    The terminal's master, if nobody else got it, is `streams[0]`. Raises IllegalTransition, CommandNotFound,
    CannotInvoke and others; nothing is left then.
    """
    from pyctr.core.runtime import direct, init, plan_process
    from pyctr.core.runtime import execute as joining
    from pyctr.core.runtime.context import Context
    from pyctr.core.runtime.plan import Plan

    record = container.record()
    pidfd = container.open(record)
    try:
        status = container.status(record)
        if status not in (ocistate.RUNNING, ocistate.CREATED, ocistate.PAUSED):
            raise ocistate.not_running(container.id)
        if status == ocistate.PAUSED and not order.paused:
            raise errors.IllegalTransition(
                f"cannot exec in a paused container: '{container.id}'", hint="--ignore-paused, or resume it first"
            )
        base = container.process()
        process = change(base["process"])
        terminal = bool(process.get("terminal"))
        direct.check_terminal(terminal, order.detached, order.console_socket)
        config = {"process": process, "linux": base["linux"], "ociVersion": record["version"]}
        config["annotations"] = record.get("annotations")
        wishes = {"id": container.id, "bundle": record["bundle"], "seccomp": base["seccomp"]}
        listed = plan_process.execs(config, wishes, record["group"])
        context = Context(Plan({"operations": [], "execs": [], "wishes": {}}))
        context.manager = container.manager(record)
        if order.groups:
            from pyctr.core.cgroups.below import Below

            context.manager = Below(context.manager, order.groups)
        context.kept = order.kept
        if terminal and order.winsize is not None:
            context.winsize = order.winsize
        elif (size := process.get("consoleSize")) and terminal:
            context.winsize = (size["height"], size["width"])
        _set_terminal(listed, terminal)
        init.load(terminal=terminal, seccomp=base["seccomp"] is not None)
        if not terminal:
            context.stdio = [os.dup(fd) for fd in direct.stdio()]
        _run(joining, context, pidfd, record["own"], order, listed)
    finally:
        os.close(pidfd)
    try:
        if order.console_socket:
            direct.hand_over(order.console_socket, context)
        if order.pid_file:
            direct.write_pid(order.pid_file, context.pid)
    except BaseException:
        _kill(context)
        raise
    return context


def _set_terminal(listed: list[Any], terminal: bool) -> None:
    from pyctr.core.runtime.ops_exec import Appear, Console

    for item in listed:
        if isinstance(item, (Appear, Console)):
            item.terminal = terminal


def _run(joining: Any, context: Context, pidfd: int, own: list[str], order: Order, listed: list[Any]) -> None:
    from pyctr.core.runtime import start

    try:
        joining.begin(context, pidfd, own, {"paused": order.paused}, listed)
        if order.began is not None:
            order.began(context.pid)
        try:
            start.listen(context, [])
        except BaseException:
            start.close(context)
            _kill(context)
            raise
    except start.Failed as failed:
        start.raise_failure(failed.report)


def _kill(context: Context) -> None:
    import _signal  # type: ignore[import-not-found]

    try:
        _signal.pidfd_send_signal(context.pidfd, 9)
    except ProcessLookupError:
        pass  # it ended by itself
    os.waitpid(context.pid, 0)
    os.close(context.pidfd)
