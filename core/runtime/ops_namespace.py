"""Namespaces, host name, kernel parameters, network."""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.runtime import operation, sync
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
        from pyctr.core.linux import namespaces

        flags = 0
        for kind in self.new:
            # a cgroup namespace's root is the group of the moment it is made: init makes it after having moved
            if kind != "cgroup":
                flags |= namespaces.FLAGS[kind]
        back = -1
        for kind in sorted(self.join, key=_JOIN_ORDER.index):
            path = self.join[kind]
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise errors.RuntimeFailure(
                    f"cannot join the {kind} namespace '{path}': {(error.strerror or '').lower()}",
                    hint="is the container it belongs to still running?",
                ) from error
            context.joined.append((fd, namespaces.FLAGS[kind]))
            if kind == "pid":
                # takes effect for children only
                back = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
                namespaces.setns(fd, namespaces.FLAGS["pid"])
        for item in context.plan.host:
            if isinstance(item, LinkHost):
                item.before_clone()
        ours, theirs = sync.packets()
        try:
            pid, pidfd = namespaces.clone3(flags, context.group_fd)
            if pid == 0:
                context.packets = theirs
                from pyctr.core.runtime import init

                init.run(context)
        finally:
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
        try:
            os.waitpid(context.pid, 0)
        except ChildProcessError:
            pass  # reaped already
        os.close(context.pidfd)
        context.pidfd = -1
        if context.packets is not None:
            context.packets.close()


class JoinNamespaces(Operation):
    """Enter the shared namespaces; then be root of the user namespace, if there is one."""

    step = operation.NAMESPACES

    user: bool = False

    def describe(self) -> str:
        return "become root of the new user namespace" if self.user else "enter the joined namespaces"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, namespaces

        for fd, flag in context.joined:
            if flag != const.CLONE_NEWPID:
                namespaces.setns(fd, flag)
            os.close(fd)
        context.joined = []
        if self.user:
            wait_for(context, sync.MAPPED)
            os.setresgid(0, 0, 0)
            os.setgroups([])
            os.setresuid(0, 0, 0)


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
    """The host's end of the veth pair, a port of the bridge; the other end in the container."""

    step = operation.NETWORK
    inside = False

    attachment: dict[str, Any]

    def describe(self) -> str:
        a = self.attachment
        return f"{a.get('host_if')} <-> {a.get('container_if')}, port of {a.get('bridge')}"

    def brief(self) -> str:
        return f"{self.attachment.get('host_if')} ↔ {self.attachment.get('bridge')}"

    def before_clone(self) -> None:
        """What is cheaper now, see `netns.prepare`."""
        from pyctr.core import netns

        netns.prepare(self.attachment)

    def execute(self, context: Context) -> None:
        from pyctr.core import netns

        netns.host_side(self.attachment, context.pid)
        if context.packets is not None:
            context.packets.send(sync.LINKED)


class LinkInside(Operation):
    """Loopback; the container's end: address, up, default route."""

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
        from pyctr.core import netns

        if self.attachment.get("mode") == "bridge":
            wait_for(context, sync.LINKED)
        netns.inside(self.attachment)


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
                    f"sysctl '{name}' cannot be set to '{value}': {(error.strerror or '').lower()}",
                    hint="'sysctl -a' lists what this kernel has",
                ) from error


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
