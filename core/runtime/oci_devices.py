"""Host devices in a container: nodes, the device cgroup's rules, throttles of disks (config-linux.md)."""

from __future__ import annotations

import os
import stat

from pyctr.core import errors
from pyctr.core.runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.spec import ContainerSpec


def devices(spec: ContainerSpec, host_dev: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """linux.devices (nodes to make besides the runtime's own) and the device cgroup's rules.

    `host_dev` is the host's /dev. Raises UsageError.
    """
    nodes: list[dict[str, Any]] = []
    rules: list[dict[str, Any]] = []
    if spec.privileged:
        nodes = [_node(path, path.replace(host_dev, "/dev", 1)) for path in _host_devices(host_dev)]
        rules = [{"allow": True, "access": "rwm"}]
    else:
        rules = [{"allow": False, "access": "rwm"}]
        rules += [_rule(kind, major, minor, access) for kind, major, minor, access in defaults.DEVICE_RULES]
    for text in spec.devices:
        source, inside, access = _device_words(text)
        paths = [source] if not os.path.isdir(source) else _host_devices(source)
        for path in paths:
            node = _node(path, inside + path[len(source) :])
            nodes.append(node)
            rules.append(_rule(node["type"], node["major"], node["minor"], access))
    for text in spec.device_cgroup_rules:
        rules.append(_cgroup_rule(text))
    return nodes, rules


def _device_words(text: str) -> tuple[str, str, str]:
    words = text.split(":")
    source = words[0]
    inside, access = source, "rwm"
    if len(words) == 2:
        if words[1].startswith("/"):
            inside = words[1]
        else:
            access = words[1]
    elif len(words) == 3:
        inside, access = words[1], words[2]
    if not source.startswith("/") or not inside.startswith("/") or not access or set(access) - set("rwm"):
        raise errors.UsageError(f"bad device '{text}'", hint="HOST[:CONTAINER[:rwm]], like /dev/fuse:/dev/fuse:rw")
    return source, inside, access


def _node(path: str, inside: str) -> dict[str, Any]:
    try:
        found = os.stat(path)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise errors.UsageError(f"device '{path}': {reason}", hint="name one that this host has") from error
    kind = "c" if stat.S_ISCHR(found.st_mode) else "b" if stat.S_ISBLK(found.st_mode) else ""
    if not kind:
        raise errors.UsageError(f"'{path}' is not a device", hint="such as /dev/fuse")
    return {
        "path": inside,
        "type": kind,
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


def _host_devices(directory: str) -> list[str]:
    """Every device below a directory, without what the container has of its own (pts, shm, mqueue, console)."""
    found = []
    try:
        entries = sorted(os.scandir(directory), key=lambda item: item.name)
    except OSError as error:
        raise errors.UsageError(
            f"devices below '{directory}': {(error.strerror or '').lower()}",
            hint="name a device, or a directory in /dev",
        ) from error
    for entry in entries:
        if entry.name in ("pts", "shm", "fd", "mqueue", "console", "ptmx") or entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            found += _host_devices(entry.path)
        else:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                found.append(entry.path)
    return found


def _rule(kind: str, major: int | None, minor: int | None, access: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule


def _cgroup_rule(text: str) -> dict[str, Any]:
    words = text.split()
    numbers = words[1].split(":") if len(words) == 3 else []
    if (
        len(words) != 3
        or words[0] not in ("a", "b", "c")
        or len(numbers) != 2
        or not all(number == "*" or (number.isascii() and number.isdigit()) for number in numbers)
        or set(words[2]) - set("rwm")
    ):
        raise errors.UsageError(f"bad device rule '{text}'", hint="like 'c 10:200 rwm' or 'b 8:* r'")
    major, minor = (None if number == "*" else int(number) for number in numbers)
    return _rule(words[0], major, minor, words[2])


def throttle(path: str, rate: int) -> dict[str, int]:
    """A blockIO throttle of the disk at `path`: `rate` bytes or operations per second. Raises UsageError."""
    try:
        found = os.stat(path)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise errors.UsageError(f"device '{path}': {reason}", hint="name one that this host has") from error
    if not stat.S_ISBLK(found.st_mode):
        raise errors.UsageError(f"'{path}' is not a block device", hint="throttles name the disk, like /dev/sda")
    return {"major": os.major(found.st_rdev), "minor": os.minor(found.st_rdev), "rate": rate}
