"""C functions without the `ctypes` package: the same answers, and none of its import."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from pyctr.core.linux import const, foreign, libc


def test_a_system_call_answers_and_keeps_its_error() -> None:
    assert libc.syscall(const.SYSCALLS["pidfd_open"], os.getpid(), 0) > 2
    with pytest.raises(OSError) as raised:
        libc.check(libc.libc.setns(foreign.c_int(-1), foreign.c_int(0)), "setns")
    assert raised.value.errno == errno.EBADF


def test_buffers_are_zeros_copies_or_copies_of_a_size() -> None:
    assert bytes(foreign.buffer(3)) == b"\0\0\0"
    assert bytes(foreign.buffer(b"ab")) == b"ab\0"
    assert bytes(foreign.buffer(b"a\0b", 3)) == b"a\0b"
    assert bytes(foreign.buffer(b"a", 4)) == b"a\0\0\0"


def test_the_kernel_floor_loads_without_ctypes() -> None:
    names = "bpf, caps, devices, inroot, inotify, keyring, libc, mount, namespaces, process, procfs, seccomp"
    code = f"import sys; from pyctr.core.linux import {names}; print('ctypes' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_interpreter_without_it_uses_ctypes() -> None:
    code = """
import ctypes
import _ctypes
del _ctypes.FUNCFLAG_PYTHONAPI  # as if this version had none
from pyctr.core.linux import foreign, libc, const
assert foreign.c_int is ctypes.c_int
print(libc.syscall(const.SYSCALLS["pidfd_open"], __import__("os").getpid(), 0) > 2)
"""
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
