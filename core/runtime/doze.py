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

from pyctr.core import bytecode
from pyctr.core.linux import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

_WATCH, _STATE = 3, 4
FREE = 5
"""From here on descriptors keep their numbers."""
_CODE = "import marshal,posix;know=marshal.loads(posix.pread(4,1<<26,0));exec(know[0])"
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
sys.modules["pyctr.core.bytecode"].resume(*know[3])
from pyctr.core.runtime import doze
doze.wake(*know[4])
"""
_FIRST = ("pyctr", "pyctr.core", "pyctr.core.bytecode")
"""What has to be there before anything can come from a snapshot."""
_SNAPSHOT = "shim"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def until(watch: int, name: str, awake: str, state: Any, kept: Iterable[int] = ()) -> None:
    """Become "doze", called `name`, until the epoll(7) `watch` tells of something; then `awake` (a name in `AWAKE`) is
    called with `state` (marshal) in a new interpreter. It has the descriptors `kept` under the numbers that `state`
    says, which are above 4, and `watch` no more.

    Returns when that is not possible here.
    """
    opened: list[int] = []
    try:
        opened.append(machine.program("doze", f"{name}\0{sys.modules['encodings'].__file__}\0".encode()))
        opened.append(bytecode.snapshot(_SNAPSHOT))
        opened.append(os.memfd_create("pyctr-state", os.MFD_CLOEXEC))
        opened += [_moved(fd) for fd in (*opened, watch)]
        program, pinned, memory, watched = opened[3:]
        os.write(
            memory,
            marshal.dumps((compile(_BOOT, "<doze>", "exec"), _first(), _root(), (pinned, _SNAPSHOT), (awake, state))),
        )
        _execute(program, {_WATCH: watched, _STATE: memory}, (pinned, *kept))
    except (OSError, SyntaxError):
        pass  # no descriptors, no memory, or nothing in memory may be executed
    for fd in opened:
        os.close(fd)


def _moved(fd: int) -> int:
    """A copy that is in nobody's way."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FREE)


def _execute(program: int, placed: dict[int, int], kept: Iterable[int]) -> None:
    """Raises OSError, with all descriptors as they were."""
    executable = getattr(sys, "_base_executable", "") or sys.executable
    words = [executable, "-I", "-S", "-B", "-X", "utf8", "-c", _CODE, *sys.argv[1:]]
    before = {}
    for number in placed:
        try:
            before[number] = _moved(number)
        except OSError as error:
            if error.errno != errno.EBADF:  # nobody has it
                raise
    try:
        for number, fd in placed.items():
            os.dup2(fd, number)
        for fd in kept:
            os.set_inheritable(fd, True)
        os.execve(f"/proc/self/fd/{program}", words, {"PATH": _PATH})
    finally:
        for fd in kept:
            os.set_inheritable(fd, False)
        for number in placed:
            if number in before:
                os.dup2(before[number], number, inheritable=False)
                os.close(before[number])
            else:
                os.close(number)


def wake(awake: str, state: Any) -> NoReturn:
    """The other side of `until`."""
    code = 1
    try:
        os.close(_WATCH)
        os.close(_STATE)
        code = AWAKE[awake](state)
    finally:
        os._exit(code)


def _shim(state: Any) -> int:
    from pyctr.core.runtime import spawned

    return spawned.resume(*state)


def _steward(state: Any) -> int:
    from pyctr.core.runtime import steward

    return steward.inherit(state)


AWAKE: dict[str, Callable[[Any], int]] = {"shim": _shim, "steward": _steward}


def _first() -> list[tuple[str, str, bool, Any]]:
    found = []
    for name in _FIRST:
        module = sys.modules[name]
        code = module.__spec__.loader.get_code(name)  # type: ignore[union-attr]
        if code is None or module.__file__ is None:
            raise OSError(f"no code of {name}")
        found.append((name, module.__file__, hasattr(module, "__path__"), code))
    return found


def _root() -> str:
    return os.path.dirname(os.path.dirname(sys.modules["pyctr"].__file__ or ""))
