"""`pyctr-runtime spec`: a config.json to begin with."""

from __future__ import annotations

import os

from pyctr.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def configure(parser: Declares) -> None:
    parser.add_argument("-b", "--bundle", default=".", metavar="DIR", help="where to write it")
    parser.add_argument("--rootless", action="store_true", help="for a container of an ordinary user")


def run(call: Call, args: Arguments) -> int:
    import json

    path = os.path.join(args.bundle, "config.json")
    text = json.dumps(document(rootless=args.rootless), indent="\t") + "\n"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise errors.Conflict(f"'{path}' exists", hint="remove it first") from None
    with open(fd, "w") as file:
        file.write(text)
    return 0


def document(*, rootless: bool) -> dict[str, Any]:
    """A shell with a terminal, three capabilities, everything of its own; by itself in a user namespace if rootless."""
    from pyctr.core.runtime import defaults, ocistate

    namespaces = [{"type": kind} for kind in defaults.NAMESPACES if not (rootless and kind == "network")]
    linux: dict[str, Any] = {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": namespaces,
        "maskedPaths": list(defaults.MASKED_PATHS),
        "readonlyPaths": list(defaults.READONLY_PATHS),
    }
    if rootless:
        del linux["resources"]
        namespaces.append({"type": "user"})
        linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    return {
        "ociVersion": ocistate.VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: list(_CAPABILITIES) for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyctr",
        "mounts": [_mount(*mount, rootless=rootless) for mount in defaults.MOUNTS],
        "linux": linux,
    }


def _mount(destination: str, kind: str, source: str, options: tuple[str, ...], *, rootless: bool) -> dict[str, Any]:
    listed = list(options)
    if destination == "/dev/shm":
        listed.append("size=65536k")
    if rootless:
        # gid 5 is not mapped, and sysfs belongs to the network namespace, which is the host's
        listed = [option for option in listed if option != "gid=5"]
        if kind == "sysfs":
            return {
                "destination": destination,
                "type": "none",
                "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
            }
    return {"destination": destination, "type": kind, "source": source, "options": listed}
