"""The kernel floor: the only place that calls C.

Functions carry the kernel's names and raise `OSError(errno, "syscall: reason", path)`. The start path and the
shim import these modules, so they need nothing beyond os, errno, _ctypes, struct, fcntl, termios and array
(`seccomp.compile` alone asks for more, when it is called).
"""
