"""Namespaces, host name, kernel parameters, network."""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.runtime import operation, sync
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from pyctr.core.runtime.context import Context

_SHORT = {"network": "net", "mount": "mnt"}
_JOIN_ORDER = ("user", "ipc", "uts", "network", "pid", "cgroup", "time", "mount")
"""user first: it grants the rights over those it owns; mount last: after it host paths are gone."""


class Clone(Operation):
    """init, in the new namespaces. The child never comes back from here.

    `new` are OCI namespace types; `join` maps a type to a path of an existing namespace.
    """

    step = operation.NAMESPACES
    inside = False

    new: list[str]
    join: dict[str, str] = {}
    places: dict[str, int] = {}
    """Type -> place in linux.namespaces, for messages."""
    uid_mappings: list[dict[str, int]] = []
    gid_mappings: list[dict[str, int]] = []

    def describe(self) -> str:
        lines = [f"clone3: new {' '.join(_SHORT.get(kind, kind) for kind in self.new) or 'nothing'}"]
        lines += [f"join {_SHORT.get(kind, kind)} {path}" for kind, path in self.join.items()]
        for name, maps in (("uid", self.uid_mappings), ("gid", self.gid_mappings)):
            lines += [f"{name} {m['containerID']} -> {m['hostID']}, {m['size']} of them" for m in maps]
        return "\n".join(lines)

    def brief(self) -> str:
        words = [_SHORT.get(kind, kind) for kind in self.new]
        words += [f"{_SHORT.get(kind, kind)} joined" for kind in self.join]
        return " ".join(words)

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, namespaces

        flags = const.CLONE_PARENT if context.sibling else 0
        for kind in self.new:
            # a cgroup namespace's root is the group of the moment it is made: init makes it after having moved;
            # a time namespace's clocks are set before anybody is in it
            if kind not in ("cgroup", "time"):
                flags |= namespaces.FLAGS[kind]
        back = -1
        for kind in sorted(self.join, key=_JOIN_ORDER.index):
            fd = self._open(kind)
            context.joined.append((fd, namespaces.FLAGS[kind]))
            if kind == "pid":
                # takes effect for children only
                back = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
                namespaces.setns(fd, namespaces.FLAGS["pid"])
        for item in context.plan.host:
            item.before_clone(context)
        ours, theirs = sync.packets()
        try:
            if "user" in self.join:
                pid, pidfd = self._clone_within(context, flags, theirs)
            else:
                self._show(context, True)
                pid, pidfd = namespaces.clone3(flags, context.group_fd)
                if pid == 0:
                    self._init(context, theirs)
        finally:
            self._show(context, False)
            if back >= 0:
                namespaces.setns(back, namespaces.FLAGS["pid"])
                os.close(back)
            theirs.close()
            for fd in (*(fd for fd, _ in context.joined), *context.trees.values()):
                os.close(fd)
            context.joined, context.trees = [], {}
        context.packets, context.pid, context.pidfd = ours, pid, pidfd
        if "user" in self.new:
            self._map(pid)
            ours.send(sync.MAPPED)

    def _show(self, context: Context, on: bool) -> None:
        """An ordinary user can map the ids of a process that shows itself to its user alone."""
        if context.plan.wishes.get("weak") and "user" in self.new:
            from pyctr.core.linux import process

            process.set_dumpable(on)

    def _init(self, context: Context, packets: sync.Packets) -> NoReturn:
        from pyctr.core.runtime import init

        context.packets = packets
        init.run(context)

    def _clone_within(self, context: Context, flags: int, packets: sync.Packets) -> tuple[int, int]:
        """(pid, pidfd) of an init whose new namespaces belong to a user namespace that exists.

        Nobody comes back from another user namespace: a process in between enters it and makes our child there.
        """
        from pyctr.core.linux import const, namespaces

        ours, theirs = sync.packets()
        # with CLONE_PARENT in `flags` it is our sibling as well, and its own siblings are our parent's children
        between, watch = namespaces.clone3(flags & const.CLONE_PARENT)
        if between == 0:
            try:
                namespaces.setns(context.joined.pop(0)[0], const.CLONE_NEWUSER)
                context.users = True
                pid, pidfd = namespaces.clone3(flags | const.CLONE_PARENT, context.group_fd)
                if pid == 0:
                    self._init(context, packets)
                theirs.send(sync.MASTER, b"", (pidfd,))
            except OSError as error:
                theirs.send(sync.FAILED, (error.strerror or str(error)).encode())
            finally:
                os._exit(0)
        theirs.close()
        kind, payload, descriptors = ours.receive()
        ours.close()
        ended(between, watch)
        os.close(watch)
        if kind != sync.MASTER:
            raise errors.RuntimeFailure(
                f"linux.namespaces[{self.places.get('user', 0)}].path: cannot join the user namespace "
                f"'{self.join['user']}': {payload.decode(errors='replace').lower() or 'its process was killed'}"
            )
        with open(f"/proc/self/fdinfo/{descriptors[0]}", "rb", buffering=0) as file:
            pid = int(file.read().partition(b"Pid:")[2].split()[0])
        return pid, descriptors[0]

    def _open(self, kind: str) -> int:
        from pyctr.core.linux import namespaces

        path = self.join[kind]
        field = f"linux.namespaces[{self.places[kind]}].path" if kind in self.places else "namespaces"
        try:
            # whatever it is, nobody waits for the other end of a FIFO
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise errors.RuntimeFailure(
                f"{field}: cannot join the {kind} namespace '{path}': {(error.strerror or '').lower()}",
                hint="is the container it belongs to still running?",
            ) from error
        if namespaces.kind_of(fd) != namespaces.FLAGS[kind]:
            os.close(fd)
            raise errors.UsageError(f"{field}: '{path}' is no {kind} namespace", hint="like /proc/PID/ns/net")
        if kind == "mount" and os.path.samestat(os.fstat(fd), os.stat("/proc/self/ns/mnt")):
            os.close(fd)
            raise errors.UsageError(
                f"{field}: '{path}' is the host's own mount namespace, in which the container's mounts would stay",
                hint="leave the path out for a new one",
            )
        return fd

    def _map(self, pid: int) -> None:
        from pyctr.core.linux import usernamespace

        try:
            usernamespace.write_maps(pid, self.uid_mappings, self.gid_mappings)
        except OSError as error:
            raise errors.UsageError(
                f"linux.uidMappings: the kernel refuses the mappings: {(error.strerror or '').lower()}",
                hint="ids that the runtime's own user namespace does not have cannot be given away",
            ) from error

    def undo(self, context: Context) -> None:
        if context.pidfd < 0:
            return
        from pyctr.core.linux import namespaces

        try:
            namespaces.pidfd_send_signal(context.pidfd, 9)
        except OSError:
            pass  # it died by itself
        ended(context.pid, context.pidfd)
        os.close(context.pidfd)
        context.pidfd = -1
        if context.packets is not None:
            context.packets.close()


class JoinNamespaces(Operation):
    """Enter the shared namespaces; set the clocks of a new one; then be root of the user namespace, if there is one."""

    step = operation.NAMESPACES

    user: bool = False
    offsets: dict[str, dict[str, int]] | None = None
    """Of a new time namespace: clock -> {secs, nanosecs}."""

    def describe(self) -> str:
        lines = ["enter the joined namespaces"]
        if self.offsets is not None:
            lines.append("new time namespace" + "".join(f", {clock} {_offset(o)}" for clock, o in self.offsets.items()))
        if self.user:
            lines.append("become root of the new user namespace")
        return "\n".join(lines)

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, namespaces

        for fd, flag in context.joined:
            if flag != const.CLONE_NEWPID:
                namespaces.setns(fd, flag)
            os.close(fd)
        context.joined = []
        if self.offsets is not None:
            self._set_clocks(context, self.offsets)
        if self.user:
            context.users = True
            wait_for(context, sync.MAPPED)
            if context.plan.wishes.get("weak"):
                from pyctr.core.linux import process

                process.set_dumpable(False)
        if context.users:
            from pyctr.core.linux import usernamespace

            context.keeps_groups = usernamespace.keeps_groups(context.proc)
            try:
                os.setresgid(0, 0, 0)
                if not context.keeps_groups:
                    os.setgroups([])
                os.setresuid(0, 0, 0)
            except OSError as error:
                raise errors.UsageError(
                    f"linux.uidMappings: there is no root in the user namespace: {(error.strerror or '').lower()}",
                    hint="containerID 0 has to be mapped, users and groups",
                ) from error

    def _set_clocks(self, context: Context, offsets: dict[str, dict[str, int]]) -> None:
        from pyctr.core.linux import const, namespaces, procfs

        namespaces.unshare(const.CLONE_NEWTIME)
        text = "".join(f"{clock} {_offset(offset)}\n" for clock, offset in offsets.items())
        try:
            if text:
                fd = procfs.open_verified("self/timens_offsets", os.O_WRONLY, context.proc)
                try:
                    os.write(fd, text.encode())
                finally:
                    os.close(fd)
        except OSError as error:
            raise errors.UsageError(
                f"linux.timeOffsets: the kernel refuses them: {(error.strerror or '').lower()}",
                hint="no clock may go below zero, none beyond some 146 years",
            ) from error
        # unshared for children only; by descriptor also for us, on kernels whose execve does not do it yet
        fd = os.open("self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=context.proc)
        try:
            namespaces.setns(fd, const.CLONE_NEWTIME)
        finally:
            os.close(fd)


def _offset(offset: dict[str, int] | None) -> str:
    return f"{(offset or {}).get('secs') or 0} {(offset or {}).get('nanosecs') or 0}"


class Names(Operation):
    step = operation.NAMESPACES

    hostname: str = ""
    domainname: str = ""

    def describe(self) -> str:
        return f"hostname {self.hostname}" + (f", domain {self.domainname}" if self.domainname else "")

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import namespaces

        if self.hostname:
            namespaces.sethostname(self.hostname)
        if self.domainname:
            namespaces.setdomainname(self.domainname)


class LinkHost(Operation):
    """The veth pair, its host's end a port of the bridge, and all that is made at its other end: all by the shim's
    side, while init mounts."""

    step = operation.NETWORK
    inside = False

    attachment: dict[str, Any]
    names: dict[str, Any] | None = None
    """As `core.namerules` makes it, for a container with a name server."""

    def describe(self) -> str:
        a = self.attachment
        said = f"{a.get('host_if')} <-> {a.get('container_if')}, port of {a.get('bridge')}"
        return f"{said}\nname server at 127.0.0.11" if self.names else said

    def brief(self) -> str:
        said = f"{self.attachment.get('host_if')} ↔ {self.attachment.get('bridge')}"
        return f"{said}, dns 127.0.0.11" if self.names else said

    def before_clone(self, context: Context) -> None:
        """What is cheaper now, see `netns.prepare`."""
        from pyctr.core import netns

        netns.prepare(self.attachment)

    def execute(self, context: Context) -> None:
        from pyctr.core import netns

        netns.host_side(self.attachment, context.pid)
        context.names = netns.within(context.pidfd, self.attachment, self.names)
        if context.packets is not None:
            context.packets.send(sync.LINKED)


class LinkInside(Operation):
    """Loopback, by init itself where there is nothing else; what `LinkHost` has made is waited for."""

    step = operation.NETWORK

    attachment: dict[str, Any]

    def describe(self) -> str:
        a = self.attachment
        if a.get("mode") != "bridge":
            return "lo up"
        return f"lo up, {a.get('container_if')} {a.get('address')}, default via {a.get('gateway')}"

    def brief(self) -> str:
        if self.attachment.get("mode") != "bridge":
            return "lo"
        return f"{self.attachment.get('address')}, default via {self.attachment.get('gateway')}"

    def execute(self, context: Context) -> None:
        mode = self.attachment.get("mode")
        if mode == "bridge":
            wait_for(context, sync.LINKED)
        elif mode == "none":
            from pyctr.core.linux import loopback

            loopback.up()


class Sysctls(Operation):
    """Kernel parameters of the container's own namespaces.

    Through the host's procfs: /proc/sys shows the namespaces of whoever opens it, and nothing of the container's
    is on the path (CVE-2025-52881). After the network: net.ipv4.conf.eth0 exists only with eth0.
    """

    step = operation.NAMESPACES

    values: dict[str, str]

    def describe(self) -> str:
        return "\n".join(f"sysctl {name} = {value}" for name, value in self.values.items())

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import procfs

        for name, value in self.values.items():
            path = "sys/" + (name if "/" in name else name.replace(".", "/"))
            try:
                fd = procfs.open_verified(path, os.O_WRONLY, context.proc)
                try:
                    os.write(fd, value.encode())
                finally:
                    os.close(fd)
            except OSError as error:
                raise errors.RuntimeFailure(
                    f"linux.sysctl.{name}: cannot be set to '{value}': {(error.strerror or '').lower()}",
                    hint="'sysctl -a' lists what this kernel has",
                ) from error


def ended(pid: int, pidfd: int) -> None:
    """Wait until it has, and reap it if it is our child."""
    import select

    watch = select.poll()
    watch.register(pidfd, select.POLLIN)
    watch.poll()
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # our parent's, see `worker`, or reaped already


def wait_for(context: Context, kind: bytes) -> None:
    """Until the shim said so, in init. The shim may be quicker with one thing than init needs another."""
    if kind in context.waiting:
        context.waiting.remove(kind)
        return
    assert context.packets is not None
    while True:
        got, _, _ = context.packets.receive()
        if got == kind:
            return
        if not got:
            os._exit(1)  # the shim is dead, and with it whoever wanted this container
        context.waiting.append(got)
