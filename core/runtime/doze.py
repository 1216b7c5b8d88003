"""Waiting without an interpreter: a process of ours becomes a program of some 400 bytes, and itself again when needed.

A Python that is alone on a host has 4 to 10 MB. One that has nothing to do but to wait for its descriptors can leave
that to `machine`'s "doze": same pid, same children, same descriptors, 12 kB. What it knows goes through a file in
memory; its modules come from a snapshot of their bytecode, so that neither an upgrade meanwhile nor a directory that
is gone keeps it from going on.
"""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import sys

from pyctr.core import bytecode, snapshot
from pyctr.core.linux import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

_WATCH, _STATE = 3, 4
FREE = 5
"""From here on descriptors keep their numbers."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CODE = """
try:
    import marshal, posix
    know = marshal.loads(posix.pread(4, 1 << 26, 0))
    exec(know[0])
except BaseException:
    import sys, time
    time.sleep(1)
    posix.execve("/proc/self/exe", sys.orig_argv, posix.environ)
doze.wake(go, know[5])
"""
"""An attempt that fails for want of memory or descriptors has changed nothing and is made again, as doze does it."""
_BOOT = """
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import SourceFileLoader
for name, file, package, code in know[1]:
    module = sys.modules[name] = type(sys)(name)
    module.__file__ = file
    module.__spec__ = ModuleSpec(name, SourceFileLoader(name, file), origin=file, is_package=package)
    module.__package__ = module.__spec__.parent
    if package:
        module.__path__ = [file.rpartition("/")[0]]
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    exec(code, module.__dict__)
sys.path.insert(0, know[2])
sys.modules["pyctr.core.bytecode"].resume(posix.pread(know[3], 1 << 26, 0), know[4])
from pyctr.core import snapshot
from pyctr.core.runtime import doze
snapshot.carried[:] = know[1]
go = doze.ready(know[4])
posix.close(know[3])
"""


def until(watch: int, name: str, awake: str, state: Any, kept: Iterable[int] = ()) -> None:
    """Become "doze", called `name`, until the epoll(7) `watch` tells of something; then what `ready` has for `awake` is
    called with `state` (marshal) in a new interpreter. It has the descriptors `kept` under the numbers that `state`
    says, which are above 4, and `watch` no more.

    Returns when that is not possible here.
    """
    opened: list[int] = []
    try:
        needed = os.fsencode(sys.modules["encodings"].__file__ or "")
        opened.append(machine.program("doze", b"%b\0%b\0" % (name.encode(), needed)))
        opened.append(snapshot.take(awake))
        pinned = _moved(opened[-1])
        opened.append(pinned)
        know = (
            compile(_BOOT, "<doze>", "exec"),
            snapshot.first(),
            os.path.dirname(bytecode.ROOT),
            pinned,
            awake,
            state,
        )
        opened.append(machine.sealed("state", marshal.dumps(know)))
        opened += [_moved(fd) for fd in (opened[0], opened[-1], watch)]
        program, memory, watched = opened[-3:]
        _execute(program, {_WATCH: watched, _STATE: memory}, (pinned, *kept))
    except Exception:
        pass  # no descriptors or memory, nothing in memory may be executed, our files are others: whatever, we stay
    for fd in opened:
        os.close(fd)


def _moved(fd: int) -> int:
    """A copy that is in nobody's way."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FREE)


def _execute(program: int, placed: dict[int, int], kept: Iterable[int]) -> None:
    """Raises OSError, with all descriptors as they were."""
    # that of a later version may be behind the name by then, and could not read what we leave
    executable = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    words = [executable, "-I", "-S", "-B", "-X", "utf8", "-c", _CODE, *sys.argv[1:]]
    before: dict[int, int] = {}
    moved: list[int] = []
    try:
        for number, fd in placed.items():
            try:
                before[number] = _moved(number)
            except OSError as error:
                if error.errno != errno.EBADF:  # nobody has it
                    raise
            os.dup2(fd, number)
            moved.append(number)
        for fd in kept:
            os.set_inheritable(fd, True)
        os.execve(f"/proc/self/fd/{program}", words, {"PATH": _PATH})
    finally:
        for fd in kept:
            os.set_inheritable(fd, False)
        for number in moved:
            if number in before:
                os.dup2(before[number], number, inheritable=False)
            else:
                os.close(number)
        for fd in before.values():
            os.close(fd)


def ready(awake: str) -> Callable[[Any], int]:
    """What goes on, loaded."""
    if awake == "steward":
        from pyctr.core.runtime import steward

        return steward.inherit
    from pyctr.core.runtime import spawned

    return spawned.resume


def wake(go: Callable[[Any], int], state: Any) -> NoReturn:
    """The other side of `until`."""
    code = 1
    try:
        os.close(_WATCH)
        os.close(_STATE)
        code = go(state)
    finally:
        os._exit(code)
