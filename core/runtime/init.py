"""The container's side of a start: a forked child of the shim, in new namespaces, up to execve.

It runs the plan's inside operations in order, tells the shim how long each step took, and what failed. It dies with
the shim: whatever it had made lives in its namespaces and goes with them. (Where "shim" stands, pyctr-runtime has the
command itself: see `direct`.)
"""

from __future__ import annotations

import os
import sys

from pyctr.core import errors
from pyctr.core.runtime import sync
from pyctr.core.runtime.context import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyctr.core.runtime.context import Context
    from pyctr.core.runtime.operation import Operation

_LONGEST = 4096
"""Characters of a text for the shim: a packet has its limits, the arguments of a command have others."""


def run(context: Context) -> NoReturn:
    """Become the container's process. The caller has just been cloned."""
    try:
        from pyctr.core.linux import process, procfs

        # the lock, the client's socket, the shim's epoll: nothing of it may live on in here
        kept = {*needed(context), *context.trees.values(), *(fd for fd, _ in context.joined)}
        close_all_but(kept)
        process.parent_death_signal(9)
        os.umask(0o022)  # mount points that are made in the root filesystem are for all users of the container
        context.proc = procfs.open_root()
        perform(context, context.plan.inside)
    except BaseException as error:
        report(context, error, context.doing.step if context.doing else "")
    finally:
        os._exit(1)


def perform(context: Context, operations: list[Operation]) -> None:
    """Run them; a step's time is sent when the next step begins. The last one does not return."""
    assert context.packets is not None
    for item in operations:
        item.prepare(context)
    step, started = operations[0].step, now()
    words: list[str] = []
    for item in operations:
        if item.step != step:
            _trace(context, step, words, started)
            step, started, words = item.step, now(), []
        if word := item.brief():
            words.append(word)
        if item is operations[-1]:
            _trace(context, step, words, started)
        context.doing = item
        item.execute(context)


def _trace(context: Context, step: str, words: list[str], started: int) -> None:
    if context.quiet:
        return
    assert context.packets is not None
    context.packets.send(sync.TRACE, sync.words(step, ", ".join(words)[:_LONGEST], started, now() - started))


def load(*, terminal: bool, seccomp: bool) -> None:
    """What the operations import when the host's files are out of sight; the shim has loaded more than that."""
    from pyctr.core.linux import caps, devices, inroot, keyring, loopback, mount, namespaces, process, procfs
    from pyctr.core.runtime import passwd

    del caps, devices, inroot, keyring, loopback, mount, namespaces, passwd, process, procfs
    if terminal:
        from pyctr.core.linux import pty

        del pty
    if seccomp:
        from pyctr.core.linux import seccomp as filters

        del filters


def needed(context: Context) -> set[int]:
    """Descriptors that any process inside needs until execve."""
    assert context.packets is not None
    return {context.packets.socket.fileno(), *context.stdio, *(context.gate or ()), *range(3, 3 + context.kept)}


def report(context: Context, error: BaseException, doing: str = "") -> None:
    """The error as a message; a system call filter or a dead shim may forbid even that."""
    assert context.packets is not None
    try:
        kind, message, hint = describe(error, doing)
        context.packets.send(sync.FAILED, sync.words(kind, message[:_LONGEST], hint[:_LONGEST]))
    except OSError:
        pass


def describe(error: BaseException, doing: str = "") -> tuple[str, str, str]:
    """(class of errors.py, message, hint)."""
    if isinstance(error, errors.PyctrError):
        return type(error).__name__, error.message, error.hint
    if isinstance(error, OSError):
        text = (error.strerror or str(error)).lower()
        if error.filename:
            text += f" '{error.filename}'"
        return "RuntimeFailure", f"{doing}: {text}" if doing else text, errors.hint_of(error)
    if isinstance(error, ValueError):
        return "UsageError", str(error), ""  # a word of the configuration that the kernel floor does not know
    return "RuntimeFailure", f"{doing or 'unexpected'}: {type(error).__name__}: {error}", "this is a bug in pyctr"


def close_imports() -> None:
    """From here on a module that is not loaded yet would be the container's file, executed with our rights."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "__name__", "") != "PathFinder"]


def close_all_but(kept: set[int]) -> None:
    """Close every descriptor from 3 on that is not among `kept`."""
    from pyctr.core.linux import process

    first = 3
    for fd in sorted(fd for fd in kept if fd >= 3):
        if fd > first:
            process.close_range(first, fd - 1)
        first = fd + 1
    process.close_range(first)
