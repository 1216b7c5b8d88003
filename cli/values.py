"""The strings of flags, read: times, devices, limits; what other faces read as well comes from `core.parse`.

Every function raises `BadValue` with the offending value in quotes and a hint that shows a right one.
"""

from __future__ import annotations

import os

from pyctr.core.moments import duration, moment
from pyctr.core.parse import (
    PROPAGATION,
    BadValue,
    cpus,
    environment,
    host_name,
    human_size,
    integer,
    is_address,
    mount_target,
    name,
    ports,
    restart,
    secret,
    size,
    size_or_unlimited,
    traffic_class,
    unique_environment,
    volume,
    volume_name,
)
from pyctr.core.spec import Mount

__all__ = [
    "BadValue",
    "cpus",
    "duration",
    "environment",
    "host_name",
    "human_size",
    "integer",
    "moment",
    "name",
    "ports",
    "restart",
    "secret",
    "size",
    "size_or_unlimited",
    "traffic_class",
    "unique_environment",
    "volume",
]

_TMPFS = """
ro rw suid nosuid dev nodev exec noexec sync async dirsync remount mand nomand atime noatime diratime nodiratime
relatime norelatime strictatime nostrictatime mode uid gid nr_inodes nr_blocks size mpol huge
"""
_RECURSIVE: dict[str, list[str]] = {"enabled": [], "disabled": ["bind"], "writable": ["ro"], "readonly": ["rro"]}
"""Docker's words for what becomes of mounts below the source -> mount options."""
_ULIMITS = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack as"


def patience(text: str) -> float:
    """Like `duration`; -1 is for ever."""
    return -1.0 if text.strip() == "-1" else duration(text)


def cpus_of_host(text: str) -> str:
    """A list of CPUs such as 0-3,6, checked against those online and kept; "" for all."""
    return _set_of("/sys/devices/system/cpu/online", text)


def nodes_of_host(text: str) -> str:
    """A list of memory nodes, like `cpus_of_host`."""
    return _set_of("/sys/devices/system/node/online", text)


def _set_of(online: str, text: str) -> str:
    from pyctr.core.linux import cpulist

    try:
        wanted = cpulist.parse(text)
    except ValueError:
        raise BadValue(f"'{text}' is not a list of cpus or nodes", "give something like 0-3,6") from None
    try:
        with open(online) as file:
            here = file.read().strip()
    except OSError:
        return text  # a kernel without NUMA: its cpuset answers
    if not set(cpulist.parse(here)).issuperset(wanted):
        raise BadValue(f"'{text}' is more than this host has", f"some of {here}")
    return text


def mount(text: str) -> Mount:
    """One `--mount`: type=bind|volume|tmpfs,source=…,target=…[,readonly][,tmpfs-size=…] and so on."""
    hint = "give type=bind,source=/host/path,target=/container/path[,readonly]"
    kind, source, target, readonly, nocopy, subpath = "volume", "", "", False, False, ""
    options: list[str] = []
    labels: dict[str, str] = {}
    driver_opts: dict[str, str] = {}
    words: list[str] = []
    for field in _fields(text):
        key, equals, value = field.strip().partition("=")
        key = key.lower()
        words.append(key)
        if key == "type":
            if value not in ("bind", "volume", "tmpfs"):
                raise BadValue(f"'{text}': the type '{value}' is not bind, volume or tmpfs", hint)
            kind = value
        elif key in ("source", "src"):
            source = value
        elif key in ("target", "dst", "destination"):
            target = value
        elif key in ("readonly", "ro"):
            readonly = not equals or value.lower() in ("1", "true", "t")
        elif key == "volume-nocopy":
            nocopy = not equals or value.lower() in ("1", "true", "t")
        elif key == "volume-subpath":
            subpath = value
            if not value or value.startswith("/") or ".." in value.split("/"):
                raise BadValue(f"'{text}': '{value}' is not a path inside a volume", "such as volume-subpath=conf")
        elif key in ("volume-label", "volume-opt"):
            name, _, content = value.partition("=")
            (labels if key == "volume-label" else driver_opts)[name] = content
        elif key == "volume-driver":
            if value not in ("", "local"):
                raise BadValue(f"'{text}': there is no volume driver '{value}'", "local is the only one")
        elif key == "bind-propagation":
            if value not in PROPAGATION:
                raise BadValue(f"'{text}': '{value}' is not a propagation", f"one of {', '.join(PROPAGATION)}")
            options.append(value)
        elif key == "tmpfs-size":
            options.append(f"size={size(value)}")
        elif key == "tmpfs-mode":
            if not value or set(value) - set("01234567") or int(value, 8) > 0o7777:
                raise BadValue(f"'{text}': '{value}' is not a mode", "octal, such as tmpfs-mode=1770")
            options.append(f"mode={value}")
        elif key == "bind-nonrecursive":
            if not equals or value.lower() in ("1", "true", "t"):
                options.append("bind")
        elif key == "bind-recursive":
            if value not in _RECURSIVE:
                raise BadValue(f"'{text}': '{value}' is no way to bind", f"one of {', '.join(_RECURSIVE)}")
            options += _RECURSIVE[value]
        elif key != "consistency":
            raise BadValue(f"'{text}': '{key}' is not a field of a mount", hint)
    target = mount_target(target, text)
    for word in words:
        owner = word.partition("-")[0]
        if owner in ("bind", "volume", "tmpfs") and owner != kind:
            raise BadValue(f"'{text}': '{word}' is not for a mount of type {kind}", f"type={owner} has it")
    if kind == "bind":
        if not source:
            raise BadValue(f"'{text}': a bind mount needs a source", hint)
        source = os.path.abspath(os.path.expanduser(source))
    elif kind == "tmpfs" and source:
        raise BadValue(f"'{text}': a tmpfs has no source", "leave source= out")
    elif source:
        volume_name(source, text)
    return Mount(
        kind=kind, source=source, target=target, readonly=readonly, nocopy=nocopy, options=options,
        subpath=subpath, labels=labels, driver_opts=driver_opts,
    )  # fmt: skip


def _fields(text: str) -> list[str]:
    """Parts between commas; one in double quotes may contain commas (RFC 4180), as in Docker."""
    if '"' not in text:
        return text.split(",")
    import csv

    return next(csv.reader([text]))


def tmpfs(text: str) -> Mount:
    """One `--tmpfs`: TARGET[:OPTIONS]."""
    target, _, words = text.partition(":")
    made = Mount(kind="tmpfs", target=mount_target(target, text))
    for option in filter(None, words.split(",")):
        key, _, value = option.partition("=")
        if key not in _TMPFS.split():
            raise BadValue(f"'{text}': '{key}' is not an option of a tmpfs", "such as /run:size=64m,mode=1777")
        if option == "ro":
            made.readonly = True
        elif option != "rw":
            made.options.append(f"size={value if value.endswith('%') else size(value)}" if key == "size" else option)
    return made


def storage_option(text: str) -> int:
    """One `--storage-opt`: size=SIZE, in bytes."""
    key, _, value = text.partition("=")
    if key != "size":
        raise BadValue(f"'{text}' is not a storage option", "size=10g is the only one")
    return human_size(value)


def device(text: str) -> str:
    """One `--device`: HOST[:CONTAINER[:rwm]], completed."""
    host, _, rest = text.partition(":")
    container, _, access = rest.partition(":")
    if container and not access and not container.startswith("/"):
        container, access = "", container
    if not host.startswith("/") or (container and not container.startswith("/")) or set(access) - set("rwm"):
        raise BadValue(f"'{text}' is not a device", "give /dev/host[:/dev/container[:rwm]]")
    return f"{host}:{container or host}:{access or 'rwm'}"


def device_rule(text: str) -> str:
    """One `--device-cgroup-rule`: "c 1:3 rwm"."""
    words = text.split()
    numbers = words[1].split(":") if len(words) == 3 else []
    right = len(words) == 3 and words[0] in "abc" and len(numbers) == 2 and not set(words[2]) - set("rwm")
    if not right or not all(number == "*" or number.isdecimal() for number in numbers):
        raise BadValue(f"'{text}' is not a device rule", "give something like 'c 42:* rmw'")
    return text


def device_bytes(text: str) -> tuple[str, int]:
    """PATH:BYTES-PER-SECOND."""
    path, rate = _device_rate(text, "1mb")
    return path, size(rate)


def device_operations(text: str) -> tuple[str, int]:
    """PATH:OPERATIONS-PER-SECOND."""
    path, rate = _device_rate(text, "1000")
    if not rate.isdecimal():
        raise BadValue(f"'{text}': '{rate}' is not a number of operations", f"give {path}:1000")
    return path, int(rate)


def ulimit(text: str) -> tuple[str, list[int]]:
    """NAME=SOFT[:HARD]; -1 or unlimited for none."""
    limit, equals, numbers = text.partition("=")
    soft, colon, hard = numbers.partition(":")
    if not equals or limit not in _ULIMITS.split():
        raise BadValue(f"'{text}' is not a ulimit", "give something like nofile=1024:4096")
    values = []
    for number in (soft, hard if colon else soft):
        if number in ("-1", "unlimited"):
            values.append(-1)
        elif number.isdecimal():
            values.append(int(number))
        else:
            raise BadValue(f"'{text}': '{number}' is not a number", "give something like nofile=1024:4096")
    if values[1] != -1 and not 0 <= values[0] <= values[1]:
        raise BadValue(f"'{text}': the soft limit is above the hard one", "give soft:hard")
    return limit, values


def add_host(text: str) -> str:
    """NAME:IP (or NAME=IP), kept as NAME:IP."""
    at = text.find("=") if "=" in text else text.find(":")
    host, address = text[:at].strip(), text[at + 1 :].strip("[] ")
    if at < 1 or not (address == "host-gateway" or is_address(address)):
        raise BadValue(f"'{text}' is not name:address", "give something like db:10.0.0.7")
    return f"{host}:{address}"


def address(text: str) -> str:
    if not is_address(text):
        raise BadValue(f"'{text}' is not an IP address")
    return text


def mac(text: str) -> str:
    parts = text.split(":")
    if len(parts) != 6 or not all(len(part) == 2 and not part.strip("0123456789abcdefABCDEF") for part in parts):
        raise BadValue(f"'{text}' is not a MAC address", "give something like 92:d0:c6:0a:29:33")
    if int(parts[0], 16) & 1:
        raise BadValue(f"'{text}' is a multicast address", "the first byte must be even, such as 92:d0:c6:0a:29:33")
    return text.lower()


def pair(text: str) -> tuple[str, str]:
    """KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise BadValue(f"'{text}' is not key=value")
    return key, value


def label(text: str) -> tuple[str, str]:
    """KEY[=VALUE]."""
    key, _, value = text.partition("=")
    if not key:
        raise BadValue(f"'{text}' is not a label", "give key=value")
    return key, value


def lines(path: str) -> list[str]:
    """The lines of an env or label file without comments and blank ones."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            content = file.read()
    except OSError as error:
        raise BadValue(f"cannot read '{path}': {(error.strerror or str(error)).lower()}", "give a file") from None
    if "\0" in content:
        raise BadValue(f"'{path}' is not a text file", "one NAME=value per line")
    return [line.lstrip() for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def env_file(path: str) -> list[str]:
    """The variables of an env file."""
    found = []
    for number, line in enumerate(lines(path), 1):
        key = line.partition("=")[0]
        if not key or key != key.strip() or any(c.isspace() for c in key):
            raise BadValue(f"'{path}' line {number}: '{key}' is not a variable name", "one NAME=value per line")
        found.append(environment(line))
    return [variable for variable in found if variable]


def label_file(path: str) -> list[tuple[str, str]]:
    """The labels of a label file."""
    return [label(line) for line in lines(path)]


def _device_rate(text: str, example: str) -> tuple[str, str]:
    path, colon, rate = text.rpartition(":")
    if not colon or not path.startswith("/dev/"):
        raise BadValue(f"'{text}' is not device:rate", f"give something like /dev/sda:{example}")
    return path, rate
