"""What a process inside could do, without being one: a child of the test in a container's pid namespace.

It has its own procfs of that namespace and the capabilities it is given, and nothing else of a container, so that an
attack can be written in Python.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyctr.core.linux import caps, const, namespaces, procfs
from pyctr.core.runtime import defaults

DEFAULT = caps.mask(list(defaults.CAPABILITIES))


class Insider:
    """`found` are the lines of the attack, whole when the block is left."""

    def __init__(self) -> None:
        self.found: list[str] = []


@contextmanager
def insider(pid: int, attack: Callable[[int], Iterator[str]], *extra: str) -> Iterator[Insider]:
    """Repeat `attack(descriptor of the procfs)` beside the block, as root with Docker's capabilities and `extra`.

    `pid` is any process of the namespace; nothing of the test may be open that the attack could take for a success.
    """
    result = Insider()
    stop_read, stop_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    read, write = os.pipe2(os.O_CLOEXEC)
    before = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    target = namespaces.pidfd_open(pid)
    namespaces.setns(target, const.CLONE_NEWPID)
    try:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                proc = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=procfs.private_root())
                mask = DEFAULT | caps.mask(list(extra))
                caps.drop_bounding(mask)
                caps.set(mask, mask, 0)
                os.write(write, b"\n")
                seen: dict[str, None] = {}
                while True:
                    seen.update(dict.fromkeys(attack(proc)))
                    try:
                        os.read(stop_read, 1)
                        break
                    except BlockingIOError:
                        continue
                os.write(write, json.dumps(list(seen)).encode())
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
    finally:
        namespaces.setns(before, const.CLONE_NEWPID)
        os.close(before)
        os.close(target)
    os.close(write)
    try:
        assert os.read(read, 1) == b"\n", "the insider did not start"
        yield result
    finally:
        os.write(stop_write, b"x")
        text = b""
        while piece := os.read(read, 65536):
            text += piece
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for fd in (read, stop_read, stop_write):
            os.close(fd)
    assert status == 0, "the insider failed"
    result.found = json.loads(text)


def others(proc: int) -> list[str]:
    """Processes of the namespace, but its first and the insider."""
    me = os.readlink("self", dir_fd=proc)
    return [name for name in os.listdir(proc) if name.isdigit() and name not in ("1", me)]


def strangers(proc: int, marker: str, outside: int) -> Iterator[str]:
    """Ways out through processes that come into the namespace: their root, their descriptors, their capabilities.

    `marker` is a path of the host alone, `outside` a process of the host alone.
    """
    allowed = DEFAULT | caps.mask(["CAP_SYS_PTRACE"])
    for pid in others(proc):
        try:
            with open(os.open(f"{pid}/status", os.O_RDONLY, dir_fd=proc)) as file:
                rights = next(line for line in file if line.startswith("CapPrm")).split()[1]
            if int(rights, 16) & ~allowed:
                yield f"capabilities {rights}"
            for way in ("root", "cwd"):
                if _exists(proc, f"{pid}/{way}{marker}"):
                    yield f"the host by {way}"
            directory = os.open(f"{pid}/fd", os.O_RDONLY, dir_fd=proc)
            descriptors = os.listdir(directory)
            os.close(directory)
            for fd in descriptors:
                if _exists(proc, f"{pid}/fd/{fd}{marker}"):
                    yield "the host by a descriptor"
                if _exists(proc, f"{pid}/fd/{fd}/{outside}/status"):
                    yield "the host's /proc by a descriptor"
        except (OSError, StopIteration):
            continue  # it has ended


def _exists(proc: int, path: str) -> bool:
    try:
        os.stat(path, dir_fd=proc)
    except OSError:
        return False
    return True
