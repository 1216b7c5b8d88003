"""What operations hand to each other while a plan is carried out: descriptors, never paths that could change."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from pyctr.core.cgroups.group import Manager
    from pyctr.core.fuseoverlay import Served
    from pyctr.core.netdevices import Address
    from pyctr.core.runtime.operation import Operation
    from pyctr.core.runtime.plan import Plan
    from pyctr.core.runtime.sync import Packets


def now() -> int:
    """CLOCK_MONOTONIC in microseconds, the same clock in every process of a start."""
    return time.monotonic_ns() // 1000


class Context:
    """One attempt to start. The shim's copy and init's copy differ after the clone."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.manager: Manager | None = None
        self.group_fd: int | None = None
        self.packets: Packets | None = None
        """Our end of the pair: the shim's, and after the clone init's own."""
        self.gate: tuple[int, int] | None = None
        """Descriptors that an init waits on and speaks to after its creator has gone, see `gate`."""
        self.kept = 0
        """How many descriptors from 3 on the command inherits."""
        self.keeps_init = False
        """PID 1 becomes a program of ours, the command is its child."""
        self.sibling = False
        """We are a `worker`: what we clone is our parent's child, who waits for it."""
        self.pid = 0
        self.pidfd = -1
        self.joined: list[tuple[int, int]] = []
        """(descriptor, CLONE_NEW*) of namespaces that are joined, in the order of joining."""
        self.trees: dict[int, int] = {}
        """Place in "mounts" -> detached mount that the host's side has opened, see `ops_sources`."""
        self.served: Served | None = None
        """The process behind the root file system, see `ops_fuse`."""
        self.devices: dict[str, tuple[int, list[Address]]] = {}
        """Interfaces that move in: name on the host -> index and addresses there."""
        self.names: list[_socket.socket] = []
        """Sockets of the container's name server, see `netns.name_sockets`."""
        self.netns = -1
        """The container's network namespace, held during a start into which interfaces have moved."""
        self.users = False
        """In a user namespace that is not the runtime's."""
        self.keeps_groups = False
        """Nobody may change them in that user namespace: an ordinary user has made it."""
        self.stdio: list[int] = [-1, -1, -1]
        """What becomes 0, 1 and 2 inside, or -1 with a terminal."""
        self.streams: list[int] = [-1, -1, -1]
        """The shim's ends; with a terminal the master is at 0."""
        self.winsize: tuple[int, int] | None = None
        self.pinned: dict[str, int] = {}
        """Place ("/proc") -> O_PATH of what is mounted there: what is below is looked up from here, not by its name."""
        self.root = -1
        """O_PATH of the container's root directory."""
        self.proc = -1
        """O_PATH of a verified procfs of the host, for writes about ourselves."""
        self.init = -1
        """The program that PID 1 becomes with `--init`."""
        self.command = ""
        """The file to execute, found by `Find`."""
        self.home = ""
        self.waiting: list[bytes] = []
        """Words of the shim that came before init needed them."""
        self.doing: Operation | None = None
        self.settled = False
        """Nothing is left to do but the filter and execve."""
        self.quiet = bool(plan.wishes.get("untimed"))
        """Nothing is said that need not be: nobody asks for the times of the steps, or a filter is in force."""
        self.warnings: list[str] = []
        """What did not stop the start, for who asked for it."""
        self.uid = 0
        self.gid = 0
        self.groups: list[int] = []

    def warn(self, text: str) -> None:
        """In init: tell who asked for the container."""
        from pyctr.core.runtime import sync

        if self.packets is not None:
            self.packets.send(sync.WARNING, text.encode())

    def ask(self, kind: bytes, payload: bytes) -> None:
        """In init, under a filter: until the other side has done what it is asked for."""
        assert self.packets is not None
        if not self.packets.ask(kind, payload):
            os._exit(1)  # it is dead, or has said why not to whoever asked
