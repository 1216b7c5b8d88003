"""What users type for a container's parts, read: sizes, cpus, names, ports, mounts, variables, restart policies.

Both faces read with these. Every function raises `BadValue` with the offending value in quotes and a hint that shows
a right one.
"""

from __future__ import annotations

import os

from pyctr.core.spec import Mount, Port, Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PROPAGATION = ("shared", "rshared", "slave", "rslave", "private", "rprivate")

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_UNCOUNTED = 1 << 63
"""Bytes beyond every counter of the kernel (a signed 64-bit number)."""
_NAME_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME_REST = _NAME_FIRST | frozenset("_.-")


class BadValue(ValueError):
    """Why a string cannot be read, and what would be right."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def size(text: str) -> int:
    """Bytes of "512m", "1.5g", "64KiB", "1024"; units are powers of 1024, as in Docker."""
    word = text.strip().lower()
    number = word.rstrip("abcdefghijklmnopqrstuvwxyz").strip()
    unit = word[len(number) :].strip()
    if unit.endswith("ib"):
        unit = unit[:-2]
    elif len(unit) == 2 and unit.endswith("b"):
        unit = unit[:-1]
    if unit not in _UNITS or not number or not number.replace(".", "", 1).isdecimal() or not number.isascii():
        raise BadValue(f"'{text}' is not a size", "give a number and a unit, such as 512m or 1.5g")
    # no float overflows, no int refuses that many digits
    value = _UNCOUNTED if len(number) > 64 else float(number) if "." in number else int(number)
    if value * _UNITS[unit] >= _UNCOUNTED:
        raise BadValue(f"'{text}' is more than a kernel counts", "less than 8192p; leave the flag out for no limit")
    return int(value * _UNITS[unit])


def size_or_unlimited(text: str) -> int:
    """Like `size`; -1 is unlimited."""
    return -1 if text.strip() == "-1" else size(text)


def human_size(text: str) -> int:
    """Like `size` for amounts that must not be zero."""
    value = size(text)
    if value == 0:
        raise BadValue("'0' is no limit at all", "leave the flag out for no limit")
    return value


def cpus(text: str) -> float:
    """A number of CPUs, at most as many as this host has; 0 is no limit, as in Docker."""
    if not is_number(text):
        raise BadValue(f"'{text}' is not a number of cpus", "give something like 0.5 or 2")
    if float(text) == 0:
        return 0.0
    count = os.cpu_count() or 1
    if float(text) > count:
        raise BadValue(f"'{text}' is more than this host has", f"give 0.01 to {count}")
    if float(text) < 0.01:
        raise BadValue(f"'{text}' is too little to run on", f"give 0.01 to {count}")
    return float(text)


def integer(low: int, high: int, what: str) -> Callable[[str], int]:
    """A reader for whole numbers between two bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise BadValue(f"'{text}' is not {what}", f"give a number from {low} to {high}") from None
        if not low <= value <= high:
            raise BadValue(f"'{text}' is out of range", f"give {what} from {low} to {high}")
        return value

    return read


def name(text: str) -> str:
    """A container's or volume's name."""
    if len(text) < 2 or text[0] not in _NAME_FIRST or not _NAME_REST.issuperset(text):
        raise BadValue(
            f"'{text}' is not a name", "use letters, digits, '_', '.', '-', at least two, the first a letter or digit"
        )
    return text


def host_name(text: str) -> str:
    if not text or len(text) > 64 or not _NAME_REST.issuperset(text) or text[0] in ".-":
        raise BadValue(f"'{text}' is not a host name", "use up to 64 letters, digits, '.', '-'")
    return text


def ports(text: str) -> list[Port]:
    """One `-p`: [[IP:]HOST:]CONTAINER[/tcp|udp|sctp], where HOST and CONTAINER may be ranges; a range of HOST alone
    is where a free port is looked for."""
    address, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    hint = "give [[ip:]host-port:]container-port[/tcp|udp], such as 8080:80"
    if protocol not in ("tcp", "udp", "sctp"):
        raise BadValue(f"'{text}': the protocol '{protocol}' is none of tcp, udp and sctp", hint)
    host_ip = ""
    if address.startswith("["):
        host_ip, bracket, address = address[1:].partition("]:")
        if not bracket:
            raise BadValue(f"'{text}' is not a port", hint)
    elif address.count(":") > 1:
        host_ip, _, address = address.partition(":")
        if address.count(":") > 1:
            raise BadValue(f"'{text}': an IPv6 address needs brackets", "such as [::1]:8080:80")
    if host_ip and not is_address(host_ip):
        raise BadValue(f"'{text}': '{host_ip}' is not an IP address", hint)
    if ":" in host_ip:
        from pyctr.core import hostports

        if not hostports.fit(host_ip):
            raise BadValue(f"'{text}': no port can be published on '{host_ip}'", hostports.FIT)
        host_ip = hostports.canonical(host_ip)
    host, _, container = address.rpartition(":")
    first, last = _port_range(container, text, hint)
    if first == 0:
        raise BadValue(f"'{text}': 0 is not a container port", hint)
    if not host:
        return [Port(container_port=n, host_ip=host_ip, protocol=protocol) for n in range(first, last + 1)]
    host_first, host_last = _port_range(host, text, hint)
    count = last - first
    if count == 0 and 0 < host_first < host_last:
        return [
            Port(container_port=first, host_port=host_first, host_last=host_last, host_ip=host_ip, protocol=protocol)
        ]
    if host_last - host_first != count and not (count == 0 and host_first == 0):
        raise BadValue(f"'{text}': the two ranges differ in length", "such as 8000-8002:80-82")
    return [
        Port(
            container_port=first + n, host_port=host_first + n if host_first else 0, host_ip=host_ip, protocol=protocol
        )
        for n in range(count + 1)
    ]


def traffic_class(text: str) -> str:
    """One `--network-class`: MAJOR:MINOR in hexadecimal, as tc(8) has it, or a priority."""
    parts = text.split(":")
    try:
        good = len(parts) <= 2 and all(0 <= int(part, 16 if parts[1:] else 10) <= 0xFFFF for part in parts)
    except ValueError:
        good = False
    if not good or not text.replace(":", "").isalnum():
        raise BadValue(f"'{text}' is not a traffic class", "such as 1:10 as 'tc class' has it, or a priority from 0")
    return text


def volume(text: str) -> Mount:
    """One `-v`: [SOURCE:]TARGET[:OPTIONS]. A source with a slash is a path of the host, else a volume's name."""
    parts = text.split(":")
    hint = "give [volume or /host/path:]/container/path[:ro]"
    if len(parts) > 3 or not all(parts):
        raise BadValue(f"'{text}' is not a mount", hint)
    source, target = (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])
    mount = Mount(kind="volume", source=source, target=mount_target(target, text))
    if source.startswith(("/", ".", "~")):
        mount.kind = "bind"
        mount.source = os.path.abspath(os.path.expanduser(source))
    elif source:
        volume_name(source, text)
    for option in parts[2].split(",") if len(parts) == 3 else ():
        if option in ("ro", "readonly"):
            mount.readonly = True
        elif option == "nocopy":
            mount.nocopy = True
        elif option in PROPAGATION:
            mount.options.append(option)
        elif option not in ("rw", "z", "Z", "cached", "delegated", "consistent"):
            raise BadValue(f"'{text}': '{option}' is not a mount option", "known are ro, rw, nocopy, rslave, rshared …")
    return mount


def secret(text: str) -> Secret:
    """One `--secret`: NAME of the store, or id=NAME with src=FILE or env=VARIABLE; then
    [,type=mount|env][,target=…][,uid=…][,gid=…][,mode=…]."""
    hint = "give NAME or id=NAME,src=FILE or id=NAME,env=VARIABLE, then target=, uid=, gid=, mode=, type=mount|env"
    fields: dict[str, str] = {}
    for number, part in enumerate(text.split(",")):
        key, equals, value = part.partition("=")
        if not equals and not number:
            key, value = "id", part
        if key in ("source", "src", "file"):
            key = "src"
        elif key in ("dst", "destination"):
            key = "target"
        if key in fields or key not in ("id", "src", "env", "type", "target", "uid", "gid", "mode") or not value:
            raise BadValue(f"'{text}': '{part}' has no place there", hint)
        fields[key] = value
    if "id" not in fields and "src" in fields:
        fields["id"] = fields.pop("src")  # as the services of Docker have it
    id, kind, origin = fields.get("id", ""), fields.get("type", "mount"), ""
    if not id or "/" in id or ("src" in fields and "env" in fields):
        raise BadValue(f"'{text}' is not a secret", hint)
    kind = "mount" if kind == "file" else kind
    if kind not in ("mount", "env"):
        raise BadValue(f"'{text}': the type '{kind}' is neither mount nor env", hint)
    source = "file" if "src" in fields else "env" if "env" in fields else ""
    if source:
        origin = os.path.abspath(os.path.expanduser(fields["src"])) if source == "file" else fields["env"]
    target = fields.get("target", id)
    if kind == "env":
        if "=" in target or {"uid", "gid", "mode"} & set(fields):
            raise BadValue(f"'{text}': a variable has a name and nothing else", hint)
    else:
        target = mount_target(target if target.startswith("/") else f"/run/secrets/{target}", text)
    for key in ("uid", "gid"):
        if not fields.get(key, "0").isdecimal() or int(fields.get(key, "0")) >= (1 << 32) - 1:
            raise BadValue(f"'{text}': '{fields[key]}' is no {key}", hint)
    mode = fields.get("mode", "0444")
    if set(mode) - set("01234567") or int(mode, 8) > 0o7777:
        raise BadValue(f"'{text}': '{mode}' is not a mode", "octal, such as mode=0400")
    return Secret(
        name=id,
        source=source,
        origin=origin,
        kind=kind,
        target=target,
        uid=int(fields.get("uid", "0")),
        gid=int(fields.get("gid", "0")),
        mode=int(mode, 8),
    )


def restart(text: str) -> str:
    """no, always, unless-stopped, on-failure[:N]."""
    policy, colon, count = text.partition(":")
    right = policy in ("no", "always", "unless-stopped") and not colon
    if not right and not (policy == "on-failure" and (not colon or count.isdecimal())):
        raise BadValue(f"'{text}' is not a restart policy", "one of no, on-failure[:times], always, unless-stopped")
    return text


def environment(text: str) -> str:
    """NAME=VALUE kept; NAME alone takes the value this process has, "" when it has none."""
    key, equals, _ = text.partition("=")
    if not key:
        raise BadValue(f"'{text}' is not a variable", "give NAME=value")
    if equals:
        return text
    value = os.environ.get(key)
    return "" if value is None else f"{key}={value}"


def unique_environment(variables: Iterable[str]) -> list[str]:
    """The last value of every variable, at the place of its first."""
    last = {}
    for variable in variables:
        if variable:
            last[variable.partition("=")[0]] = variable
    return list(last.values())


def is_number(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdecimal()


def is_address(text: str) -> bool:
    import socket  # in C; the ipaddress module would cost more than all of this file

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False


def _port_range(text: str, whole: str, hint: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or not first.isascii() or (dash and not last.isdecimal()):
        raise BadValue(f"'{whole}': '{text}' is not a port", hint)
    low, high = int(first), int(last if dash else first)
    if high > 65535 or low > high:
        raise BadValue(f"'{whole}': '{text}' is not a port", "ports go from 1 to 65535, ranges upwards")
    return low, high


def mount_target(text: str, whole: str) -> str:
    if not text.startswith("/") or os.path.normpath(text) in ("/", "//"):
        reason = "must not be '/'" if text.startswith("/") else "must be an absolute path"
        raise BadValue(f"'{whole}': the path inside the container {reason}", "such as /data")
    return os.path.normpath(text)


def volume_name(text: str, whole: str) -> None:
    try:
        name(text)
    except BadValue:
        raise BadValue(
            f"'{whole}': '{text}' is not a volume name", "a path of the host starts with '/' or './'"
        ) from None


def command(text: str) -> list[str]:
    """Words as a shell separates them: quotes and backslashes, nothing else."""
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadValue(f"'{text}': {str(error).lower()}", "close what was opened with ' or \"") from None


def check_ports(ports: Iterable[Port]) -> None:
    """Two of them cannot have one port of the host, nor lead from one address there to different places."""
    taken: dict[tuple[int, str], list[Port]] = {}
    for port in ports:
        if port.host_last or not port.host_port:
            continue  # whatever is free there
        others = taken.setdefault((port.host_port, port.protocol), [])
        for other in others:
            same = other.host_ip == port.host_ip
            if same or (other.container_port != port.container_port and _meet(other.host_ip, port.host_ip)):
                raise BadValue(f"host port {port.host_port}/{port.protocol} is named twice", "give each its own")
        others.append(port)


def _meet(one: str, other: str) -> bool:
    """Whether addresses to publish ports on have one of the host in common."""
    return any(
        not wide or (wide == "0.0.0.0" and ":" not in narrow) or (wide == "::" and ":" in narrow)
        for wide, narrow in ((one, other), (other, one))
    )


def check_mounts(mounts: Iterable[Mount | Secret]) -> None:
    """Two of them cannot have one place in the container."""
    seen = set()
    for mount in mounts:
        if mount.target in seen:
            raise BadValue(f"two mounts on '{mount.target}'", "a path inside can be mounted once")
        seen.add(mount.target)
