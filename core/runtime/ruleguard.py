"""One shim of all on this host's networks watches the firewall and has repaired what others take out of it.

There is no daemon that could: so the first shim of a container on a bridge takes `<run>/networks/guard` (flock(2)) and
listens to what nf_tables tells of its changes. A deletion of something that bears our bridges' names, or a FORWARD
chain that is made, is a reason to look, a moment later and in a forked child, so that what looks is not loaded here.
A guard that ends asks another shim to take its place; after one that was killed the next start on a network does.

Changes by iptables-legacy are told to nobody: the guard compares the shape of its tables every five seconds, where this
kernel has that interface at all.
"""

from __future__ import annotations

import _socket
import os
import struct
import time

from pyctr.core.linux import legacytables
from pyctr.core.runtime import offices, sync
from pyctr.core.runtime.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.shim import Shim

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
_REPAIRED = 3
"""Exit code of a look that found something missing."""


def take(wishes: dict[str, Any]) -> int:
    """The descriptor that makes a shim the guard, -1 when another one is or it is not on a network of ours."""
    attachment, paths = wishes.get("network") or {}, wishes.get("paths")
    if not paths or attachment.get("mode") != "bridge" or "driver" in attachment:
        return -1
    return offices.take(f"{paths['run']}/networks/guard")


class RuleGuard:
    """`lock` is what `take` gave. Raises OSError where this kernel tells nothing."""

    def __init__(self, shim: Shim, lock: int) -> None:
        self.shim = shim
        wishes = shim.plan().wishes
        self._lock = lock
        self._id: str = wishes["id"]
        self._paths: dict[str, str] = wishes["paths"]
        # what all our bridges' names begin with
        self._mark = self._paths["bridge"][:9].encode()
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
        shim.loop.add(self._socket.fileno(), READ, self._told)
        self._shape = b""
        if os.path.exists(f"{self._paths['proc']}/net/ip_tables_names"):
            self._shape = legacytables.shape(self._paths["proc"])
            shim.loop.at(time.monotonic() + _LEGACY, self._compare)

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
        self.shim.loop.at(time.monotonic() + _LEGACY, self._compare)
        shape = legacytables.shape(self._paths["proc"])
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
            self.shim.loop.at(max(time.monotonic() + _PAUSE, self._last + self._apart), self._look)

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
        self.shim.children[pid] = self._looked

    def _looked(self, code: int) -> None:
        self._child = 0
        self._shape = legacytables.shape(self._paths["proc"]) if self._shape else b""
        if code == _REPAIRED:
            again = self._last - self._fought < 2 * self._apart
            self._apart = min(2 * self._apart, _LONGEST) if again else _LEAST
            self._fought = self._last
        if self._again:
            self._soon()

    def close(self) -> None:
        """Give the place up; to another shim, if there is one."""
        self.shim.loop.at(None, self._look)
        self.shim.loop.at(None, self._compare)
        self.shim.loop.remove(self._socket.fileno())
        self._socket.close()
        os.close(self._lock)
        run = self._paths["run"]
        try:
            ids = os.listdir(f"{run}/networks/ids")
        except OSError:
            return
        offices.ask_another(run, ids, self._id, sync.GUARD)


def repair(paths: dict[str, str]) -> bool:
    """In a child: look, repair, say so in the journal. Whether anything was missing."""
    from pyctr.core.linux import process

    # first of all: among what it inherited are the locks of the shim's offices
    process.close_range(3)
    from pyctr.core import errors
    from pyctr.core.events import Events
    from pyctr.core.networks import Networks
    from pyctr.core.paths import Paths

    where = Paths(**paths)
    try:
        repaired = Networks(where).repair()
        for name in repaired:
            Events(where).record("repair", name, name, type="network")
        return bool(repaired)
    except (OSError, errors.PyctrError):
        return True  # 'pyctr doctor' tells what is missing and why
