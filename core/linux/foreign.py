"""Calling C by the interpreter's own `_ctypes`, without the `ctypes` package around it.

That package takes as long to import as half an interpreter takes to start: it makes some forty types and a callback,
of which system calls need eight types. Where an interpreter has no `_ctypes` of this shape, `ctypes` does the work.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from ctypes import addressof as addressof
    from ctypes import c_char as c_char
    from ctypes import c_char_p as c_char_p
    from ctypes import c_int as c_int
    from ctypes import c_long as c_long
    from ctypes import c_size_t as c_size_t
    from ctypes import c_uint32 as c_uint32
    from ctypes import c_ulong as c_ulong
    from ctypes import get_errno as get_errno
    from typing import Any

    def library(*, holding: bool = False) -> ctypes.CDLL:
        """All that is loaded in this process; with `holding` calls keep the interpreter's lock (Python's own API)."""

else:
    try:
        from _ctypes import (
            FUNCFLAG_CDECL,
            FUNCFLAG_PYTHONAPI,
            FUNCFLAG_USE_ERRNO,
            CFuncPtr,
            _SimpleCData,
            addressof,
            dlopen,
            get_errno,
        )

        class c_char(_SimpleCData):
            _type_ = "c"

        class c_char_p(_SimpleCData):
            _type_ = "z"

        class c_int(_SimpleCData):
            _type_ = "i"

        class c_uint32(_SimpleCData):
            _type_ = "I"

        class c_long(_SimpleCData):
            _type_ = "l"

        class c_ulong(_SimpleCData):
            _type_ = "L"

        c_size_t = c_ulong

        class _Function(CFuncPtr):
            """errno is kept for `get_errno`."""

            _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
            _restype_ = c_int

        class _Holding(CFuncPtr):
            """The interpreter's lock is not let go meanwhile."""

            _flags_ = FUNCFLAG_CDECL | FUNCFLAG_PYTHONAPI | FUNCFLAG_USE_ERRNO
            _restype_ = c_int

        class Library:
            """Functions of this process by name, an int as result unless `restype` says otherwise."""

            def __init__(self, function):
                self._handle = dlopen(None, 0)
                self._function = function

            def __getattr__(self, name):
                if name.startswith("__"):
                    raise AttributeError(name)
                found = self.__dict__[name] = self._function((name, self))
                return found

        def library(*, holding=False):
            return Library(_Holding if holding else _Function)

    except ImportError:
        import ctypes
        from ctypes import addressof, c_char, c_char_p, c_int, c_long, c_size_t, c_uint32, c_ulong, get_errno  # noqa: F401

        def library(*, holding=False):
            return (ctypes.PyDLL if holding else ctypes.CDLL)(None, use_errno=True)


def buffer(content: bytes | int, size: int | None = None) -> Any:
    """Bytes that C may write to: as many zeros as a number says, or a copy of some with a NUL (or up to `size`)."""
    if isinstance(content, int):
        return (c_char * content)()
    made: Any = (c_char * (len(content) + 1 if size is None else size))()
    made[: len(content)] = content
    return made
