"""The shim's side of a start: the plan's host operations in order, what init reports, and the way back."""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.runtime import init, operation, sync
from pyctr.core.runtime.context import Context, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.runtime.plan import Plan

    Trace = list[tuple[str, str, int, int]]


class Failed(Exception):
    """A start that was undone: (class of errors.py, message, hint)."""

    def __init__(self, kind: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.report = (kind, message, hint)


def failed(payload: bytes) -> Failed:
    """What init said before its end."""
    kind, message, hint = sync.parse_words(payload, 3)
    return Failed(kind, message, hint)


def make_streams(context: Context, *, terminal: bool, open_stdin: bool) -> None:
    """0, 1 and 2 of a process inside, unless a terminal takes their place.

    The writing ends are opened read-write: a container whose shim died is then blocked by a full pipe, which can be
    read again through /proc/PID/fd/1, instead of killed by SIGPIPE.
    """
    if terminal:
        return
    if open_stdin:
        context.stdio[0], context.streams[0] = os.pipe2(os.O_CLOEXEC)
    else:
        context.stdio[0] = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for number in (1, 2):
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        context.streams[number] = ours
        context.stdio[number] = os.open(f"/proc/self/fd/{theirs}", os.O_RDWR | os.O_CLOEXEC)
        os.close(theirs)
        os.set_blocking(ours, False)
    if context.streams[0] >= 0:
        os.set_blocking(context.streams[0], False)


def start(
    plan: Plan,
    *,
    stdio: list[int] | None = None,
    meanwhile: Callable[[Context], None] | None = None,
    sibling: bool = False,
) -> tuple[Context, Trace]:
    """Carry a plan out until its command runs, or with the wish `gate` until init waits there (OCI "created").

    `meanwhile` is called while init works: on a second processor it costs nothing. `stdio` are given descriptors
    instead of pipes of ours. With `sibling` init becomes our parent's child. Raises Failed after everything was undone
    in reverse.
    """
    context = Context(plan)
    context.sibling = sibling
    context.keeps_init = bool(plan.wishes.get("init"))
    context.kept = plan.wishes.get("keep_fds") or 0
    if size := plan.wishes.get("winsize"):
        context.winsize = (size[0], size[1])
    if stdio:
        context.stdio = [os.dup(fd) for fd in stdio]
    else:
        make_streams(context, terminal=plan.terminal, open_stdin=bool(plan.wishes.get("open_stdin")))
    trace: Trace = []
    done: list[operation.Operation] = []
    doing = ""
    try:
        for item in plan.host:
            doing = item.step
            begin = now()
            # even a half-finished one is undone: each checks what there is
            done.append(item)
            item.execute(context)
            trace.append((item.step, item.brief(), begin, now() - begin))
        if context.manager is not None:
            context.manager.occupied()
        if meanwhile is not None:
            meanwhile(context)
        listen(context, trace)
        if context.netns >= 0:
            os.close(context.netns)
            context.netns = -1
    except BaseException as error:
        failed = error if isinstance(error, Failed) else _last_words(context) or Failed(*init.describe(error, doing))
        undo(context, done)
        raise failed from None
    return context, merge(trace)


def _last_words(context: Context) -> Failed | None:
    """What init said before it died, when that is why something of ours failed (no such process, broken pipe).

    Its namespaces go before its pidfd tells of the end, so what it has said is asked, not whether it lives.
    """
    if context.packets is None:
        return None
    try:
        while True:
            kind, payload, descriptors = context.packets.receive(wait=False)
            for fd in descriptors:
                os.close(fd)
            if kind == sync.FAILED:
                return failed(payload)
            if not kind:
                break
    except OSError:
        pass  # it has not said a word
    return None


def undo(context: Context, operations: list[operation.Operation]) -> None:
    """Take a start back: its process, its cgroup, what the host's side has made."""
    for item in reversed(operations):
        if not item.inside:
            item.undo(context)
    close(context)


def listen(context: Context, trace: Trace) -> None:
    """Until init has become the command (or waits before that). Raises Failed with what it said."""
    assert context.packets is not None
    for number, fd in enumerate(context.stdio):
        if fd >= 0:
            os.close(fd)
            context.stdio[number] = -1
    _close_gate(context)
    last: tuple[str, str, int, int] | None = None
    while True:
        kind, payload, descriptors = context.packets.receive()
        if kind == sync.TRACE:
            name, words, at, long = sync.parse_words(payload, 4)
            last = name, words, int(at), int(long)
            trace.append(last)
        elif kind == sync.MASTER:
            context.streams[0] = descriptors[0]
            os.set_blocking(descriptors[0], False)
        elif kind == sync.FAILED:
            raise failed(payload)
        elif kind == sync.LISTENER:
            _listener(context, payload)
        elif kind == sync.WARNING:
            context.warnings.append(payload.decode(errors="replace"))
        elif kind == sync.REFUSED:
            raise Failed(*init.describe(_refused(context, payload)))
        elif kind == sync.HOOKS:
            _hooks(context)
        elif kind == sync.READY:
            return
        elif not kind:
            break
    # the socket closed: by execve, or by death
    context.packets.close()
    context.packets = None
    if not context.keeps_init and not executed(context.pid):
        raise Failed("RuntimeFailure", f"init died before exec{_death(context.pid)}", "is memory limited too tightly?")
    if last is not None:
        step, text, begin, took = trace.pop()
        trace.append((step, text, begin, max(took, now() - begin)))
        trace += [(item.step, item.brief(), begin, 0) for item in _unheard(context.plan.inside)]


def _unheard(inside: list[operation.Operation]) -> list[operation.Operation]:
    """From its system call filter on init says nothing: it might not be allowed to."""
    from pyctr.core.runtime.ops_seccomp import Seccomp

    for number, item in enumerate(inside):
        if isinstance(item, Seccomp):
            return inside[number:]
    return []


def _refused(context: Context, payload: bytes) -> errors.PyctrError:
    from pyctr.core.runtime import ops_depart

    command = next(item.args[0] for item in context.plan.operations if isinstance(item, ops_depart.Depart))
    return ops_depart.refused(payload, command)


def _hooks(context: Context) -> None:
    from pyctr.core.runtime.ops_hooks import RuntimeHooks

    try:
        for item in context.plan.operations:
            if isinstance(item, RuntimeHooks):
                item.serve(context)
    except errors.PyctrError as error:
        raise Failed(*init.describe(error)) from None


def _listener(context: Context, payload: bytes) -> None:
    from pyctr.core.runtime import ops_seccomp

    try:
        ops_seccomp.hand_over(context.pidfd, context.pid, payload)
    except errors.PyctrError as error:
        raise Failed(*init.describe(error)) from None
    assert context.packets is not None
    context.packets.send(sync.LISTENER)


def close(context: Context) -> None:
    """Every descriptor of an attempt."""
    if context.packets is not None:
        context.packets.close()
        context.packets = None
    for fd in (*context.stdio, *context.streams, context.group_fd if context.group_fd is not None else -1):
        if fd >= 0:
            os.close(fd)
    for socket in context.names:
        socket.close()
    context.names = []
    context.stdio, context.streams, context.group_fd = [-1, -1, -1], [-1, -1, -1], None
    _close_gate(context)


def _close_gate(context: Context) -> None:
    for fd in context.gate or ():
        os.close(fd)
    context.gate = None


def merge(trace: Trace) -> Trace:
    """One line per step: pieces of shim and init that belong together, their words in order, the time in which any of
    them was at work: one may wait for the other."""
    words: dict[str, list[str]] = {}
    times: dict[str, list[tuple[int, int]]] = {}
    for step, text, begin, took in trace:
        said = words.setdefault(step, [])
        if text:
            said.append(text)
        times.setdefault(step, []).append((begin, begin + took))
    order = {step: number for number, step in enumerate(operation.STEPS)}
    return [
        (step, ", ".join(words[step]), min(times[step])[0], _covered(times[step]))
        for step in sorted(words, key=order.__getitem__)
    ]


def _covered(times: list[tuple[int, int]]) -> int:
    """How long some of these (begin, end) last together."""
    total = last = 0
    for begin, end in sorted(times):
        total += max(0, end - max(begin, last))
        last = max(last, end)
    return total


def executed(pid: int) -> bool:
    """Whether a process, alive or a zombie, has gone through execve: PF_FORKNOEXEC of its flags."""
    return not int(_stat(pid)[6]) & 0x40


def _stat(pid: int) -> list[bytes]:
    """From its state on: proc_pid_stat(5), field 3."""
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        return file.read().rpartition(b")")[2].split()


def _death(pid: int) -> str:
    """How a child of ours or of our parent ended, who has not been reaped; as waitpid(2) would say it."""
    fields = _stat(pid)
    if fields[0] != b"Z":
        return ""
    code = os.waitstatus_to_exitcode(int(fields[49]))
    return f" (code {code})" if code >= 0 else f" (signal {-code})"


def raise_failure(report: tuple[str, str, str]) -> None:
    """The report of a Failed as the error it was, in the client."""
    kind, message, hint = report
    found = getattr(errors, kind, errors.RuntimeFailure)
    raise found(message, hint=hint)
