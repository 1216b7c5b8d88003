"""One more process in a running container: cloned by the shim, moved in by itself, executed like the first one."""

from __future__ import annotations

import errno
import os
import select
import time

from pyctr.core import errors
from pyctr.core.runtime import init, ops_exec, ops_identity, ops_seccomp, start, sync
from pyctr.core.runtime.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.cgroups.group import Manager
    from pyctr.core.runtime.operation import Operation
    from pyctr.core.runtime.plan import Plan


_PATIENCE = 10.0
"""Seconds for what comes before the pid namespace: some milliseconds of processor time, if the container has any."""


def operations(plan: Plan, request: dict[str, Any]) -> list[Operation]:
    """The plan's own, with what the request says instead.

    {args, env: ["K=V"] on top of the container's, cwd, user, groups, tty, privileged, caps, no_new_privs, probe: it
    does not outlive the shim, and orphans of what it starts become its own children}
    """
    args = list(request.get("args") or [])
    if not args or not args[0]:
        raise errors.UsageError("no command to execute")
    privileged = bool(request.get("privileged"))
    caps = ["ALL"] if privileged else request.get("caps")
    found: list[Operation] = []
    environment: list[str] = []
    for item in plan.execs:
        if isinstance(item, ops_exec.Execute):
            environment = _environment([*item.env, *item.revealed(), *(request.get("env") or [])])
            item = item.replace(args=args, env=environment, secrets={}, mortal=bool(request.get("probe")))
        elif isinstance(item, ops_exec.Settle):
            item = item.replace(mortal=bool(request.get("probe")))
        elif isinstance(item, ops_exec.Find):
            path = [word[5:] for word in request.get("env") or [] if word.startswith("PATH=")]
            item = item.replace(command=args[0], path=path[-1] if path else item.path)
        elif isinstance(item, ops_exec.Console):
            item = item.replace(terminal=bool(request.get("tty")))
        elif isinstance(item, ops_exec.Appear):
            item = item.replace(terminal=bool(request.get("tty")), probe=bool(request.get("probe")))
        elif isinstance(item, ops_identity.Identify):
            if request.get("user"):
                item = item.replace(name=request["user"], groups=[], home=True)
            if request.get("groups"):
                item = item.replace(groups=list(request["groups"]))
        elif isinstance(item, ops_identity.Directory) and request.get("cwd"):
            item = item.replace(path=request["cwd"])
        elif isinstance(item, ops_identity.Bounding) and caps is not None:
            item = item.replace(names=caps)
        elif isinstance(item, ops_identity.Capabilities) and caps is not None:
            item = item.replace(effective=caps, permitted=caps)
        elif privileged and isinstance(item, (ops_seccomp.Seccomp, ops_identity.NoNewPrivileges)):
            continue
        found.append(item)
    if request.get("user"):
        # another user, another home, unless somebody named one
        asked = any(word.startswith("HOME=") for word in request.get("env") or [])
        for item in found:
            if isinstance(item, ops_exec.Execute) and not asked:
                item.env = [word for word in item.env if not word.startswith("HOME=")]
    return found


def _environment(items: list[str]) -> list[str]:
    values: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if equals:
            values[name] = value
        else:
            values.pop(name, None)
    return [f"{name}={value}" for name, value in values.items()]


def execute(plan: Plan, manager: Manager, pidfd: int, own: list[str], request: dict[str, Any]) -> Context:
    """Run a request in the container whose first process `pidfd` is, as our parent's child. Raises start.Failed.

    `own` are the namespace types that differ from the host's.
    """
    context = Context(plan)
    context.sibling = True
    context.manager = manager
    if size := request.get("winsize"):
        context.winsize = (size[0], size[1])
    start.make_streams(context, terminal=bool(request.get("tty")), open_stdin=bool(request.get("stdin")))
    begin(context, pidfd, own, request)
    try:
        start.listen(context, [])
    except start.Failed:
        start.close(context)
        os.close(context.pidfd)
        raise
    return context


def begin(
    context: Context, pidfd: int, own: list[str], request: dict[str, Any], listed: list[Operation] | None = None
) -> None:
    """The clone; what becomes of it is told on `context.packets`. Raises start.Failed with everything closed.
    `listed` are the operations, if not those of the plan as the request changes them.

    Two of them: the first, still in our pid namespace, joins the others and lays down all rights; the second is born
    into the pid namespace as its sibling (see `ops_exec.Appear`): our child, or our parent's (see `worker`).
    """
    from pyctr.core.linux import const, namespaces

    assert context.manager is not None
    place = const.CLONE_PARENT if context.sibling else 0
    flags = 0
    for kind in own:
        flags |= namespaces.FLAGS[kind]
    ours, theirs = sync.packets()
    try:
        if listed is None:
            listed = operations(context.plan, request)
        context.group_fd = context.manager.open_for_clone()
        try:
            pid, first = namespaces.clone3(place, context.group_fd)
        except OSError as error:
            if context.group_fd is None or error.errno not in (errno.EBUSY, errno.EOPNOTSUPP):
                raise
            # the container made groups below its own and handed controllers down, or threaded ones: no process may be
            # in the upper one then, and the first process has gone down, too
            os.close(context.group_fd)
            context.group_fd = context.manager.open_group_of(_pid(pidfd))
            pid, first = namespaces.clone3(place, context.group_fd)
        if pid == 0:
            context.packets = theirs
            _enter(context, pidfd, flags, listed)
    except BaseException as error:
        ours.close()
        start.close(context)
        raise start.Failed(*init.describe(error, "exec")) from None
    finally:
        theirs.close()
    context.packets = ours
    early: list[tuple[bytes, bytes, list[int]]] = []
    try:
        try:
            _await_second(context, early, patient=bool(request.get("paused")))
        except KeyboardInterrupt:
            if not _runs(context, early):
                raise
    except BaseException:
        namespaces.pidfd_send_signal(first, 9)
        start.close(context)
        raise
    finally:
        os.close(first)
        if not context.sibling:
            # when it has not quite ended, or is frozen, it is reaped with the others
            os.waitpid(pid, os.WNOHANG)


def _pid(pidfd: int) -> int:
    with open(f"/proc/self/fdinfo/{pidfd}", "rb", buffering=0) as file:
        return next(int(line[4:]) for line in file.read().splitlines() if line.startswith(b"Pid:"))


def _runs(context: Context, early: list[tuple[bytes, bytes, list[int]]]) -> bool:
    """Whether the command had begun when a signal interrupted us, which is for it then (`cli.runtime.foreground`). What
    has not come that far is ended: nobody else knows of it."""
    try:
        _await_second(context, early, patience=1.0)
    except start.Failed:
        return False
    if start.executed(context.pid):
        return True
    from pyctr.core.linux import namespaces

    namespaces.pidfd_send_signal(context.pidfd, 9)
    if not context.sibling:
        os.waitpid(context.pid, 0)
    os.close(context.pidfd)
    context.pidfd = -1
    return False


def _await_second(
    context: Context,
    early: list[tuple[bytes, bytes, list[int]]],
    *,
    patient: bool = False,
    patience: float = _PATIENCE,
) -> None:
    """`patient`: as long as the container is frozen.

    The second may speak, and fail, before the first has told of it; what it says is kept in `early` for `start.listen`.
    Who is not known is not waited for, and as a zombie it would keep the container's pid namespace.
    """
    assert context.packets is not None and context.manager is not None
    deadline = time.monotonic() + patience
    watch = select.poll()
    watch.register(context.packets.socket.fileno(), select.POLLIN)
    while True:
        while not watch.poll(100):
            if patient:
                continue
            if context.manager.frozen():
                raise start.Failed("IllegalTransition", "the container is paused", "unpause it first")
            if time.monotonic() > deadline:
                raise start.Failed("RuntimeFailure", "exec: no process came into being in the container", "")
        kind, payload, descriptors = context.packets.receive()
        if kind == sync.CHILD:
            context.pid, context.pidfd = int(payload), descriptors[0]
            context.packets.early = early
            return
        if kind == sync.MASTER:
            context.streams[0] = descriptors[0]
            os.set_blocking(descriptors[0], False)
        elif not kind:
            for kind, payload, _ in early:
                if kind == sync.FAILED:
                    raise start.failed(payload)
            raise start.Failed("RuntimeFailure", "exec: the process died before it was in the container", "")
        else:
            early.append((kind, payload, descriptors))


def _enter(context: Context, pidfd: int, flags: int, listed: list[Operation]) -> None:
    """In the child. Never returns."""
    assert context.packets is not None
    try:
        from pyctr.core.linux import namespaces, process, procfs, usernamespace

        init.close_all_but({*init.needed(context), pidfd})
        process.parent_death_signal(9)
        context.proc = procfs.open_root()
        # the cgroup while the host's hierarchies can be seen
        enter, *rest = listed
        enter.execute(context)
        init.close_imports()
        namespaces.setns(pidfd, flags)
        os.close(pidfd)
        if flags & namespaces.FLAGS["user"]:
            context.keeps_groups = usernamespace.keeps_groups(context.proc)
        context.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        init.perform(context, rest)
    except BaseException as error:
        init.report(context, error, "exec")
    finally:
        os._exit(1)
