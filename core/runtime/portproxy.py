"""The process that carries bytes between callers of a host's IPv6 address and a container, see `doors`.

It begins with the first caller and ends `LINGER` seconds after the last one. It was forked from a shim, of which it
keeps the sockets of its ports; it becomes nobody and gives every capability up before it hears anyone.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import errno
import os
import time

from pyctr.core.fsutil import read_json
from pyctr.core.linux import caps, process, seccomp
from pyctr.core.linux.const import MACHINE
from pyctr.core.runtime.doors import KINDS, wanted
from pyctr.core.runtime.loop import Loop
from pyctr.core.runtime.portdatagrams import Box
from pyctr.core.runtime.portstreams import AT_ONCE, Door

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Target = tuple[int, str, int]
    """Address family, address and port in the container."""

LINGER = 10.0
"""Seconds without a caller after which it goes."""
MOST = 1000
"""Connections at a time, and as many UDP callers. Further connections wait; for one more UDP caller the quietest at the
port that has most of them goes: senders may be forged, in any number, and nobody else is to suffer for it."""
_EACH = 2 + 1
"""Descriptors of a connection and of a UDP caller."""
_MEMORY = 64 << 20
"""Bytes for heap (RLIMIT_DATA), several times what all callers need. Beyond it the process ends, and with it whoever it
served: the next one who knocks has another."""
_NOBODY = 65534
_CALLS = (
    "accept4 close connect epoll_create1 epoll_ctl epoll_pwait epoll_wait getsockname getsockopt recvfrom recvmsg "
    "sendmsg sendto setsockopt shutdown "
    "brk clock_gettime exit_group futex getrandom madvise mmap mremap munmap restart_syscall rt_sigreturn sched_yield"
)
"""System calls of sockets that there are, and of an interpreter that loads nothing any more."""
_FIONBIO = 0x5421


def serve(descriptors: list[int], lease: str, shim: int) -> None:
    """The process's life. `lease` is the record of the container's attachment, `shim` the pid whose end is ours."""
    attachment = read_json(lease)
    inside = wanted(attachment)
    places = []
    for key, family in (("address6", _socket.AF_INET6), ("address", _socket.AF_INET)):
        if address := str(attachment.get(key) or "").partition("/")[0]:
            places.append((family, address))
    names = {kind: name for name, kind in KINDS.items()}
    proxy = Proxy(Loop())
    doors = []
    for fd in descriptors:
        socket = _socket.socket(fileno=fd)
        address, number = socket.getsockname()[:2]
        port = inside[address, number, names[socket.type]]
        doors.append((socket, [(family, place, port) for family, place in places]))
    proxy.room = _confine({0, 1, 2, *descriptors}, shim)
    for socket, targets in doors:
        proxy.open(socket, targets)
    while not proxy.over:
        proxy.turn()


def _filter() -> bytes:
    """The program that lets it do this and nothing else."""
    few = [("socket", 0, _socket.AF_INET), ("socket", 0, _socket.AF_INET6), ("ioctl", 1, _FIONBIO)]
    rules: list[dict[str, Any]] = [{"names": _CALLS.split(), "action": "SCMP_ACT_ALLOW"}]
    for name, index, value in few:
        argument = {"index": index, "value": value, "op": "SCMP_CMP_EQ"}
        rules.append({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]})
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}
    return seccomp.compile(profile, arch=MACHINE, caps=(), kernel=seccomp.kernel_version())


def _confine(kept: set[int], shim: int) -> int:
    """Nothing of the shim's but these descriptors, no rights, no files, no processes; for how many callers there are
    descriptors. Raises OSError."""
    program = _filter()  # as root: not everybody can read what it has to load
    _signal.set_wakeup_fd(-1)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    process.set_name("pyctr-proxy")
    first = 0
    for fd in sorted(kept):
        if fd > first:
            process.close_range(first, fd - 1)
        first = fd + 1
    process.close_range(first)
    # what left in this turn is closed at its end, and as many may have come in its place
    own = len(kept) * (1 + 2 * AT_ONCE) + 16
    all = _EACH * MOST + own
    _, most = process.getrlimit("RLIMIT_NOFILE")
    most = all if most < 0 else min(most, all)
    process.setrlimit("RLIMIT_NOFILE", most, most)
    process.setrlimit("RLIMIT_DATA", _MEMORY, _MEMORY)
    try:
        caps.drop_bounding(0)
    except PermissionError:
        pass  # root without CAP_SETPCAP: no_new_privs keeps it from ever having any of it
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        pass  # a user namespace that has nobody but us: without capabilities then, which is next
    caps.set(0, 0, 0)
    process.no_new_privs()
    for name in ("RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_CORE"):
        process.setrlimit(name, 0, 0)
    # other credentials have taken it back
    process.parent_death_signal(_signal.SIGKILL)
    if os.getppid() != shim:
        os._exit(0)
    try:
        seccomp.load(program)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        # a kernel without filters: all of the above holds it
    return max(AT_ONCE, (most - own) // _EACH)


class Proxy:
    """Who is served at the doors of one container; `over` when nobody has come for a while."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.over = False
        self.room = MOST
        self._links = 0
        self._doors: list[Door] = []
        self._boxes: list[Box] = []
        self._left: list[_socket.socket] = []
        self.recount()

    def open(self, socket: _socket.socket, targets: list[Target]) -> None:
        """Serve who calls here."""
        if socket.type == _socket.SOCK_STREAM:
            self._doors.append(Door(self, socket, targets))
        else:
            self._boxes.append(Box(self, socket, targets))

    def full(self) -> bool:
        """Whether one more connection would be too many."""
        return self._links >= self.room

    def linked(self) -> None:
        """One more connection."""
        self._links += 1
        self.recount()

    def unlinked(self) -> None:
        """One less."""
        self._links -= 1
        for door in self._doors:
            door.hear()
        self.recount()

    def make_room(self) -> None:
        """For one more UDP caller."""
        if sum(map(len, self._boxes)) >= self.room:
            max(self._boxes, key=len).drop_quietest()

    def recount(self) -> None:
        """Once somebody has come or gone: our time is counted from the last one's leaving."""
        nobody = not self._links and not any(self._boxes)
        self.loop.at(time.monotonic() + LINGER if nobody else None, self._end)

    def turn(self, deadline: float | None = None) -> bool:
        """Wait, and do what there is to do; False if the time (time.monotonic) was up."""
        busy = self.loop.turn(deadline)
        for socket in self._left:
            socket.close()
        self._left.clear()
        return busy

    def leave(self, socket: _socket.socket) -> None:
        """Close a socket when this turn is over: its number may still be among what is ready."""
        self.loop.remove(socket.fileno())
        self._left.append(socket)

    def _end(self) -> None:
        self.over = True
