"""Interpreters that nobody can write to through /proc/PID/exe (CVE-2019-5736): see `core/linux/machine`.

Whatever enters a container on its way to execve is a copy of one of our processes, and so has its executable.
"""

from __future__ import annotations

import os
import sys

from pyctr.core.linux import machine

_AGAIN = "pyctr_again"
_MAIN = "import sys;sys.path.insert(0,{root!r});from {module} import main;main()"


def protect(module: str, words: list[str]) -> None:
    """Start this program anew in an interpreter that nobody can write to through /proc/PID/exe (CVE-2019-5736).

    For commands whose own process becomes a container's: `module` has a `main` that takes sys.argv. Returns when it is
    such a process already, or cannot become one, as `stub` says.
    """
    if _AGAIN in sys._xoptions or os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        return
    program = _copy() if os.geteuid() else stub()
    if program < 0:
        return
    executable = getattr(sys, "_base_executable", "") or sys.executable
    code = _MAIN.format(root=root(), module=module)
    argv = [executable, "-I", "-S", "-X", "utf8", "-X", _AGAIN, "-c", code, *words]
    try:
        os.execv(f"/proc/self/fd/{program}", argv)
    except OSError:
        os.close(program)


def stub() -> int:
    """What makes the interpreter read-only for all that comes of this shim; -1 where that cannot be executed."""
    try:
        return machine.program("spawn")
    except OSError:
        return -1


def _copy() -> int:
    """The interpreter in sealed memory, for an ordinary user who mounts nothing; -1 where the user, who is the root of
    the container, could not write to it anyway."""
    if os.stat("/proc/self/exe").st_uid != os.geteuid() and not os.access("/proc/self/exe", os.W_OK):
        return -1
    try:
        with open("/proc/self/exe", "rb", buffering=0) as file:
            return machine.sealed("python", file.readall())
    except OSError:
        return -1


def root() -> str:
    """The directory (or archive) that `pyctr` is imported from."""
    import pyctr

    return os.path.dirname(os.path.dirname(os.path.abspath(pyctr.__file__)))
