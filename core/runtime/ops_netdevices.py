"""Interfaces of the host that become the container's: moved by the host's side, raised by init."""

from __future__ import annotations

import errno
import os

from pyctr.core import errors
from pyctr.core.runtime import operation, ops_namespace, sync
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.runtime.context import Context


class MoveDevices(Operation):
    """After the clone. A start that fails gives them back: with the namespace a virtual one would be gone."""

    step = operation.NETWORK
    inside = False

    names: dict[str, str]
    """On the host -> inside."""

    def describe(self) -> str:
        return "\n".join(f"move {name} in, as {inside}" for name, inside in self.names.items())

    def brief(self) -> str:
        return " ".join(self.names.values())

    def before_clone(self, context: Context) -> None:
        """What init will need to know is known before it is a copy of us."""
        from pyctr.core import netdevices
        from pyctr.core.linux import netlink

        for name in self.names:
            index = netlink.index(name)
            if not index:
                raise errors.NotFound(f"linux.netDevices.{name}: there is no such interface", hint="'ip link' has all")
            context.devices[name] = (index, netdevices.addresses(index))

    def execute(self, context: Context) -> None:
        from pyctr.core import netdevices
        from pyctr.core.linux import namespaces

        context.netns = namespaces.open_namespace(context.pid, "network")
        for name, inside in self.names.items():
            try:
                netdevices.move(context.devices[name][0], inside, context.netns)
            except OSError as error:
                what = "the name is taken there" if error.errno == errno.EEXIST else (error.strerror or "").lower()
                raise errors.RuntimeFailure(
                    f"linux.netDevices.{name}: cannot be moved into the container as '{inside}': {what}"
                ) from error
        assert context.packets is not None
        context.packets.send(sync.MOVED)

    def undo(self, context: Context) -> None:
        from pyctr.core import netdevices

        if context.netns < 0:
            return
        here = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for name, inside in self.names.items():
                # the kernel moves first and renames then: it may be there under its old name
                index = netdevices.index_in(name, context.netns) or netdevices.index_in(inside, context.netns)
                if index:
                    netdevices.move(index, name, here, source=context.netns)
                    netdevices.settle(name, context.devices[name][1])
        except OSError:
            pass  # gone with its own driver, or a name that somebody took meanwhile
        finally:
            os.close(here)
            os.close(context.netns)
            context.netns = -1


class TakeDevices(Operation):
    """Their addresses and up, inside."""

    step = operation.NETWORK

    names: dict[str, str]

    def describe(self) -> str:
        return f"{' '.join(self.names.values())} up, with the addresses of before"

    def prepare(self, context: Context) -> None:
        from pyctr.core import netdevices

        del netdevices

    def execute(self, context: Context) -> None:
        from pyctr.core import netdevices

        ops_namespace.wait_for(context, sync.MOVED)
        for name, inside in self.names.items():
            try:
                netdevices.settle(inside, context.devices[name][1])
            except OSError as error:
                raise errors.RuntimeFailure(
                    f"linux.netDevices.{name}: cannot be set up inside: {(error.strerror or '').lower()}"
                ) from error
