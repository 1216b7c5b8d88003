"""`pyctr info`."""

from __future__ import annotations

import os

from pyctr import __version__
from pyctr.cli import output
from pyctr.cli.diagnostics import safe
from pyctr.core import containers
from pyctr.core import state as states
from pyctr.core.linux import quota

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("-f", "--format", metavar="FORMAT", help="json or a template such as '{{.CgroupVersion}}'")


def run(call: Call, args: Arguments) -> int:
    found = collect(call)
    if args.format:
        output.document(found, args.format)
        return 0
    for key, heading in _LINES:
        output.write(f"{heading + ':':<18} {safe(output.text(found[key]))}")
    return 0


_LINES = (
    ("Containers", "Containers"),
    ("ContainersRunning", " Running"),
    ("ContainersPaused", " Paused"),
    ("ContainersStopped", " Stopped"),
    ("Images", "Images"),
    ("ServerVersion", "Version"),
    ("Driver", "Storage Driver"),
    ("SizeLimits", "Size Limits"),
    ("CgroupVersion", "Cgroup Version"),
    ("CgroupMode", "Cgroup Mode"),
    ("CgroupParent", "Cgroup Parent"),
    ("DefaultRuntime", "Default Runtime"),
    ("KernelVersion", "Kernel Version"),
    ("OperatingSystem", "Operating System"),
    ("Architecture", "Architecture"),
    ("NCPU", "CPUs"),
    ("MemTotalText", "Total Memory"),
    ("Name", "Name"),
    ("RootDir", "Root Dir"),
    ("RunDir", "Run Dir"),
    ("Bridge", "Bridge"),
)


def _driver(call: Call) -> str:
    try:
        return call.engine.storage.driver()
    except OSError:
        return "unknown"  # nobody but root may try


def collect(call: Call) -> dict[str, Any]:
    """Docker's names where the meaning is the same."""
    everyone = containers.all(call.engine)
    statuses = [container.status for container in everyone]
    layout = call.engine.layout
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    host = os.uname()
    return {
        "Containers": len(everyone),
        "ContainersRunning": sum(status in (states.RUNNING, states.RESTARTING) for status in statuses),
        "ContainersPaused": statuses.count(states.PAUSED),
        "ContainersStopped": sum(status in (states.CREATED, states.STOPPED, states.DEAD) for status in statuses),
        "Images": len(call.engine.images.list()),
        "ServerVersion": __version__,
        "Driver": _driver(call),
        "SizeLimits": quota.counted(call.paths.root),
        "CgroupVersion": "2" if layout.mode == "v2" else "1",
        "CgroupMode": layout.mode,
        "CgroupControllers": sorted(layout.controllers),
        "CgroupParent": call.paths.cgroup_parent,
        "DefaultRuntime": "pyctr",
        "KernelVersion": host.release,
        "OperatingSystem": _distribution(),
        "OSType": "linux",
        "Architecture": host.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": memory,
        "MemTotalText": output.binary_size(memory),
        "Name": host.nodename,
        "RootDir": call.paths.root,
        "RunDir": call.paths.run,
        "Bridge": call.paths.bridge,
        "Rootless": os.geteuid() != 0,
    }


def _distribution() -> str:
    import platform

    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"
