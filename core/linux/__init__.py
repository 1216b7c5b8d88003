"""The kernel floor: the only place that calls ctypes.

Functions carry the kernel's names and raise `OSError(errno, "syscall: reason", path)`. The start path and the
shim import these modules, so they need nothing beyond os, errno, ctypes, struct, fcntl, termios and array
(`seccomp.compile` alone asks for more, when it is called).
"""
