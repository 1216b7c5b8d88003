"""The firewall is watched, and what others take out of it is repaired.

The host's `steward` listens to what nf_tables tells of its changes. A deletion of something that bears our bridges'
names, or a FORWARD chain that is made, is a reason to look, a moment later and in a forked child, so that what looks is
not loaded here; the beginning is one, too.

Changes by iptables-legacy are told to nobody: the guard compares the shape of its tables every five seconds, where this
kernel has that interface at all.
"""

from __future__ import annotations

import _socket
import os
import struct
import time

from pyctr.core import fsutil
from pyctr.core.linux import legacytables, procfs
from pyctr.core.paths import Paths
from pyctr.core.runtime.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.runtime.children import Children
    from pyctr.core.runtime.loop import Loop

_NETLINK_NETFILTER = 12
_NFNLGRP_NFTABLES = 7
_NF_TABLES = 10
"""The subsystem, in the upper half of a message's type."""
_DELTABLE, _NEWCHAIN, _DELCHAIN, _DELRULE, _DELSET = 2, 3, 5, 8, 11
_PAUSE = 0.2
"""Seconds: a reload comes in many messages, and what flushes usually makes things anew next."""
_LEAST, _LONGEST = 0.5, 30.0
"""Seconds between two looks: who takes our rules out again and again is not fought every moment."""
_LEGACY = 5.0
"""Seconds between two looks at the tables that tell nothing."""
_ASKED = 64
"""Containers on a network: their shims are in the same namespace, as a rule in the machine's."""
_REPAIRED = 3
"""Exit code of a look that found something missing."""


class RuleGuard:
    """At its post. Raises OSError where this kernel tells nothing."""

    def __init__(self, loop: Loop, children: Children, paths: Paths) -> None:
        self._loop = loop
        self._children = children
        self._paths = paths
        # what all our bridges' names begin with
        self._mark = paths.bridge[:9].encode()
        self._apart = _LEAST
        self._last = 0.0
        self._fought = 0.0
        self._due = False
        self._child = 0
        self._again = False
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        self._socket = _socket.socket(_socket.AF_NETLINK, kind, _NETLINK_NETFILTER)
        try:
            self._socket.bind((0, 1 << (_NFNLGRP_NFTABLES - 1)))
        except OSError:
            self._socket.close()
            raise
        self._loop.add(self._socket.fileno(), READ, self._told)
        self._shape = b""
        if os.path.exists(f"{self._paths.proc}/net/ip_tables_names"):
            self._shape = legacytables.shape(self._paths.proc)
            self._loop.at(time.monotonic() + _LEGACY, self._compare)
        self._soon()

    def _told(self, _: int) -> None:
        wanted = False
        for _ in range(64):  # then others have their turn
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                wanted = True  # ENOBUFS: there was more than fits, so something was changed
                continue
            wanted = wanted or self._concerns(data)
        if wanted:
            self._soon()

    def _compare(self) -> None:
        self._loop.at(time.monotonic() + _LEGACY, self._compare)
        shape = legacytables.shape(self._paths.proc)
        if shape != self._shape:
            self._shape = shape
            self._soon()

    def _concerns(self, data: bytes) -> bool:
        """Messages of one batch: struct nlmsghdr, struct nfgenmsg, attributes with names and comments in them."""
        at = 0
        while at + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, at)
            if length < 16:
                return False
            body = data[at + 16 : at + length]
            if kind >> 8 == _NF_TABLES:
                if kind & 255 in (_DELTABLE, _DELCHAIN, _DELRULE, _DELSET) and self._mark in body:
                    return True
                if kind & 255 == _NEWCHAIN and b"FORWARD\0" in body:
                    return True  # somebody's policy may be to drop
            at += (length + 3) & ~3
        return False

    def _soon(self) -> None:
        """Look in a moment, once for all that is told until then."""
        if self._child:
            self._again = True
        elif not self._due:
            self._due = True
            self._loop.at(max(time.monotonic() + _PAUSE, self._last + self._apart), self._look)

    def _look(self) -> None:
        self._last, self._due, self._again = time.monotonic(), False, False
        try:
            pid = os.fork()
        except OSError:
            return  # no memory for a process: what comes next is the next reason to look
        if pid == 0:
            code = 0
            try:
                code = _REPAIRED if repair(self._paths) else 0
            finally:
                os._exit(code)
        self._child = pid
        self._children[pid] = self._looked

    def _looked(self, code: int) -> None:
        self._child = 0
        self._shape = legacytables.shape(self._paths.proc) if self._shape else b""
        if code == _REPAIRED:
            again = self._last - self._fought < 2 * self._apart
            self._apart = min(2 * self._apart, _LONGEST) if again else _LEAST
            self._fought = self._last
        if self._again:
            self._soon()

    def close(self) -> None:
        """There are no networks any more."""
        self._children.pop(self._child, None)  # whatever it finds
        self._loop.at(None, self._look)
        self._loop.at(None, self._compare)
        self._loop.remove(self._socket.fileno())
        self._socket.close()


def come_home(paths: Paths) -> bool:
    """Go where our bridges are: into the network namespace of a shim whose container is on one; whether it was another.

    Of several it is the machine's. Raises OSError.
    """
    machine, here = _network(paths, 1), _network(paths, os.getpid())
    found: dict[int, int] = {}
    for id in os.listdir(f"{paths.run}/networks/ids")[:_ASKED]:
        if shim := _shim(paths, id):
            found.setdefault(_network(paths, shim), shim)
        if machine in found:
            break
    home = next((one for one in (machine, here, *found) if one and one in found), here)
    if home == here:
        return False
    from pyctr.core.linux import const, namespaces

    fd = os.open(f"{paths.proc}/{found[home]}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.setns(fd, const.CLONE_NEWNET)
    finally:
        os.close(fd)
    return True


def _network(paths: Paths, pid: int) -> int:
    try:
        return os.stat(f"{paths.proc}/{pid}/ns/net").st_ino
    except OSError:
        return 0  # it has ended, or is not for us to see


def _shim(paths: Paths, id: str) -> int:
    """The pid of that container's, 0 without one."""
    try:
        process = fsutil.read_json(paths.container(id, "state.json")).get("process") or {}
        alive = process and procfs.alive(process["shim_pid"], process["shim_start_time"], paths.proc)
        return int(process["shim_pid"]) if alive else 0
    except (OSError, ValueError):
        return 0  # it is just being made or removed


def repair(paths: Paths) -> bool:
    """In a child: look, repair, say so in the journal. Whether anything was missing."""
    from pyctr.core.linux import process

    # first of all: among what it inherited is the steward's lock
    process.close_range(3)
    from pyctr.core import errors
    from pyctr.core.events import Events
    from pyctr.core.networks import Networks

    try:
        repaired = Networks(paths).repair()
        for name in repaired:
            Events(paths).record("repair", name, name, type="network")
        return bool(repaired)
    except (OSError, errors.PyctrError):
        return True  # 'pyctr doctor' tells what is missing and why
