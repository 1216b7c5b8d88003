"""`pyctr-runtime features`: what it knows of the specification (features.md, features-linux.md)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call


def configure(parser: Declares) -> None:
    """It takes no flags."""


def run(call: Call, args: Arguments) -> int:
    import json

    print(json.dumps(document(call.criu), indent=2))
    return 0


def _architectures() -> list[str]:
    """Those that a filter on this machine tells apart."""
    from pyctr.core.linux import seccomp_profile
    from pyctr.core.linux.const import MACHINE

    return sorted(name for _, tables in seccomp_profile.AUDIT[MACHINE] for _, name in tables)


def document(criu: str) -> dict[str, Any]:
    """Each list is taken from the table that the work itself is done by."""
    import shutil

    from pyctr import __version__
    from pyctr.core.linux import mount, seccomp
    from pyctr.core.linux.capnames import NAMES
    from pyctr.core.runtime import check, hooks, ocistate

    flags = sorted(seccomp.FLAGS)
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": ocistate.VERSION,
        "hooks": list(hooks.NAMES),
        "mountOptions": sorted(mount.WORDS),
        "linux": {
            "namespaces": sorted(check.NAMESPACES),
            "capabilities": list(NAMES),
            "cgroup": {
                "v1": True,
                "v2": True,
                "systemd": False,
                "systemdUser": False,
                "rdma": True,
            },
            "seccomp": {
                "enabled": True,
                "actions": sorted(seccomp.ACTIONS),
                "operators": sorted(check.SECCOMP_OPERATORS),
                "archs": _architectures(),
                "knownFlags": flags,
                "supportedFlags": flags,
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True},
            "memoryPolicy": {"modes": list(check.MEMORY_MODES), "flags": list(check.MEMORY_FLAGS)},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {
            "org.opencontainers.runc.checkpoint.enabled": "true" if shutil.which(criu) else "false",
            "io.pyctr.runtime.version": __version__,
        },
        "potentiallyUnsafeConfigAnnotations": [],
    }
