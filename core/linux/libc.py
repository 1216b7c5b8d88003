"""The one CDLL, and how a syscall becomes a result or an OSError."""

from __future__ import annotations

import os

from pyctr.core.linux import foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

libc = foreign.library()

_syscall = libc.syscall
_syscall.restype = foreign.c_long
_prctl = libc.prctl
_prctl.restype = foreign.c_int
_long = foreign.c_long


def error(name: str, path: str | None = None, number: int | None = None) -> OSError:
    """The OSError (of the fitting subclass) for the errno that the last call left behind."""
    if number is None:
        number = foreign.get_errno()
    return OSError(number, f"{name}: {os.strerror(number)}", path)


def check(result: int, name: str, path: str | None = None) -> int:
    """`result`, or OSError when it is negative."""
    if result < 0:
        raise error(name, path)
    return result


def syscall(number: int, *arguments: Any, name: str = "", path: str | None = None) -> int:
    """syscall(2). Integers are passed as longs: a variadic callee reads 64 bits of each, a C int would fill 32."""
    # a negative int is a descriptor like AT_FDCWD or -1 and keeps its sign
    result: int = _syscall(_long(number), *[_long(value) if isinstance(value, int) else value for value in arguments])
    if result < 0:
        raise error(name or f"syscall {number}", path)
    return result


def prctl(option: int, *arguments: int) -> int:
    """prctl(2) with the unused arguments zero, as several options demand."""
    values = [_long(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    result: int = _prctl(foreign.c_int(option), *values)
    if result < 0:
        raise error(f"prctl {option}")
    return result


def path_bytes(path: str | bytes | None) -> bytes | None:
    """A path as the kernel takes it. Raises ValueError for an embedded NUL, which would cut the path short."""
    if path is None:
        return None
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise ValueError(f"embedded null byte in {path!r}")
    return raw
