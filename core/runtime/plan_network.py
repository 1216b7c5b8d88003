"""The part of a plan about kernel parameters and network devices."""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IPC_SYSCTLS = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")


def devices(wanted: dict[str, Any]) -> list[Operation]:
    """Interfaces of the host that move into the container: {name: {name: inside}}."""
    from pyctr.core.runtime import ops_netdevices

    names = {name: (device or {}).get("name") or name for name, device in wanted.items()}
    return [ops_netdevices.MoveDevices(names=names), ops_netdevices.TakeDevices(names=names)]


def sysctls(values: dict[str, str], new: list[str]) -> dict[str, str]:
    for name in values:
        dotted = name.replace("/", ".")
        if dotted.startswith("net."):
            needed = "network"
        elif dotted.startswith(_IPC_SYSCTLS):
            needed = "ipc"
        elif dotted in ("kernel.domainname", "kernel.hostname"):
            needed = "uts"
        else:
            raise errors.UsageError(f"sysctl '{name}' belongs to no namespace", hint="it would change the whole host")
        if needed not in new:
            raise errors.UsageError(f"sysctl '{name}' would change the host: there is no {needed} namespace")
        if ".." in name.split("/"):
            raise errors.UsageError(f"bad sysctl '{name}'")
    return {name: str(value) for name, value in values.items()}
