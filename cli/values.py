"""The strings of flags, read: sizes, times, ports, mounts, devices, limits.

Every function raises `BadValue` with the offending value in quotes and a hint that shows a right one.
"""

from __future__ import annotations

import os

from pyctr.cli.flags import BadValue
from pyctr.core.spec import Mount, Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PROPAGATION = ("shared", "rshared", "slave", "rslave", "private", "rprivate")
_TMPFS = """
ro rw suid nosuid dev nodev exec noexec sync async dirsync remount mand nomand atime noatime diratime nodiratime
relatime norelatime strictatime nostrictatime mode uid gid nr_inodes nr_blocks size mpol huge
"""
_NAME_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME_REST = _NAME_FIRST | frozenset("_.-")
_ULIMITS = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack as"


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
    return int(float(number) * _UNITS[unit]) if "." in number else int(number) * _UNITS[unit]


def size_or_unlimited(text: str) -> int:
    """Like `size`; -1 is unlimited."""
    return -1 if text.strip() == "-1" else size(text)


def human_size(text: str) -> int:
    """Like `size` for amounts that must not be zero."""
    value = size(text)
    if value == 0:
        raise BadValue("'0' is no limit at all", "leave the flag out for no limit")
    return value


def duration(text: str) -> float:
    """Seconds of "1h30m", "500ms", "2.5s", "10"."""
    word = text.strip()
    if _is_number(word):
        return float(word)
    total, number, unit = 0.0, "", ""
    for c in f"{word}0":  # the sentinel digit closes the last unit
        if c.isdecimal() or c == ".":
            if unit:
                if unit not in _SECONDS or not _is_number(number):
                    break
                total += float(number) * _SECONDS[unit]
                number, unit = "", ""
            number += c
        else:
            unit += c
    else:
        if number == "0" and not unit and word:
            return total
    raise BadValue(f"'{text}' is not a duration", "give something like 30s, 500ms or 1h30m")


def moment(text: str) -> float:
    """Seconds since the epoch of "10m" (ago), "1700000000.5", "2026-01-02T03:04:05Z", "2026-01-02"."""
    word = text.strip()
    if _is_number(word):
        return float(word)
    try:
        ago = duration(word)
    except BadValue:
        pass
    else:
        import time

        return time.time() - ago
    import datetime

    try:
        whole, dot, fraction = word.partition(".")
        if dot:  # RFC 3339 allows nine digits, datetime reads six
            digits = len(fraction) - len(fraction.lstrip("0123456789"))
            word = f"{whole}.{fraction[:digits][:6].ljust(6, '0')}{fraction[digits:]}"
        return datetime.datetime.fromisoformat(word).timestamp()
    except ValueError:
        raise BadValue(
            f"'{text}' is not a point in time", "give 10m (ago), 2026-01-02T03:04:05Z or seconds since 1970"
        ) from None


def cpus(text: str) -> float:
    """A number of CPUs above zero."""
    if not _is_number(text) or float(text) <= 0:
        raise BadValue(f"'{text}' is not a number of cpus", "give something like 0.5 or 2")
    return float(text)


def cpuset(text: str) -> str:
    """A list such as 0-3,6, checked and kept."""
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and (not last.isdecimal() or int(last) < int(first))):
            raise BadValue(f"'{text}' is not a list of cpus or nodes", "give something like 0-3,6")
    return text


def integer(low: int, high: int, what: str) -> object:
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
    """One `-p`: [[IP:]HOST:]CONTAINER[/tcp|udp], where HOST and CONTAINER may be ranges."""
    address, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    hint = "give [[ip:]host-port:]container-port[/tcp|udp], such as 8080:80"
    if protocol not in ("tcp", "udp"):
        raise BadValue(f"'{text}': the protocol '{protocol}' is neither tcp nor udp", hint)
    host_ip = ""
    if address.startswith("["):
        host_ip, bracket, address = address[1:].partition("]:")
        if not bracket:
            raise BadValue(f"'{text}' is not a port", hint)
    elif address.count(":") > 1:
        host_ip, _, address = address.partition(":")
        if address.count(":") > 1:
            raise BadValue(f"'{text}': an IPv6 address needs brackets", "such as [::1]:8080:80")
    if host_ip and not _is_address(host_ip):
        raise BadValue(f"'{text}': '{host_ip}' is not an IP address", hint)
    host, _, container = address.rpartition(":")
    first, last = _port_range(container, text, hint)
    if first == 0:
        raise BadValue(f"'{text}': 0 is not a container port", hint)
    if not host:
        return [Port(container_port=n, host_ip=host_ip, protocol=protocol) for n in range(first, last + 1)]
    host_first, host_last = _port_range(host, text, hint)
    count = last - first
    if host_last - host_first != count and not (count == 0 and host_first == 0):
        raise BadValue(f"'{text}': the two ranges differ in length", "such as 8000-8002:80-82")
    return [
        Port(
            container_port=first + n, host_port=host_first + n if host_first else 0, host_ip=host_ip, protocol=protocol
        )
        for n in range(count + 1)
    ]


def volume(text: str) -> Mount:
    """One `-v`: [SOURCE:]TARGET[:OPTIONS]. A source with a slash is a path of the host, else a volume's name."""
    parts = text.split(":")
    hint = "give [volume or /host/path:]/container/path[:ro]"
    if len(parts) > 3 or not all(parts):
        raise BadValue(f"'{text}' is not a mount", hint)
    source, target = (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])
    mount = Mount(kind="volume", source=source, target=_target(target, text))
    if source.startswith(("/", ".", "~")):
        mount.kind = "bind"
        mount.source = os.path.abspath(os.path.expanduser(source))
    elif source:
        _volume_name(source, text)
    for option in parts[2].split(",") if len(parts) == 3 else ():
        if option in ("ro", "readonly"):
            mount.readonly = True
        elif option == "nocopy":
            mount.nocopy = True
        elif option in _PROPAGATION:
            mount.options.append(option)
        elif option not in ("rw", "z", "Z", "cached", "delegated", "consistent"):
            raise BadValue(f"'{text}': '{option}' is not a mount option", "known are ro, rw, nocopy, rslave, rshared …")
    return mount


def mount(text: str) -> Mount:
    """One `--mount`: type=bind|volume|tmpfs,source=…,target=…[,readonly][,bind-propagation=…][,tmpfs-size=…]."""
    hint = "give type=bind,source=/host/path,target=/container/path[,readonly]"
    kind, source, target, readonly, nocopy = "volume", "", "", False, False
    options: list[str] = []
    for field in text.split(","):
        key, equals, value = field.strip().partition("=")
        key = key.lower()
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
        elif key == "bind-propagation":
            if value not in _PROPAGATION:
                raise BadValue(f"'{text}': '{value}' is not a propagation", f"one of {', '.join(_PROPAGATION)}")
            options.append(value)
        elif key == "tmpfs-size":
            options.append(f"size={size(value)}")
        elif key == "tmpfs-mode":
            options.append(f"mode={value}")
        elif key not in ("consistency", "bind-recursive"):
            raise BadValue(f"'{text}': '{key}' is not a field of a mount", hint)
    target = _target(target, text)
    if kind == "bind":
        if not source:
            raise BadValue(f"'{text}': a bind mount needs a source", hint)
        source = os.path.abspath(os.path.expanduser(source))
    elif kind == "tmpfs" and source:
        raise BadValue(f"'{text}': a tmpfs has no source", "leave source= out")
    elif source:
        _volume_name(source, text)
    return Mount(kind=kind, source=source, target=target, readonly=readonly, nocopy=nocopy, options=options)


def tmpfs(text: str) -> Mount:
    """One `--tmpfs`: TARGET[:OPTIONS]."""
    target, _, words = text.partition(":")
    made = Mount(kind="tmpfs", target=_target(target, text))
    for option in filter(None, words.split(",")):
        key, _, value = option.partition("=")
        if key not in _TMPFS.split():
            raise BadValue(f"'{text}': '{key}' is not an option of a tmpfs", "such as /run:size=64m,mode=1777")
        if option == "ro":
            made.readonly = True
        elif option != "rw":
            made.options.append(f"size={value if value.endswith('%') else size(value)}" if key == "size" else option)
    return made


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


def restart(text: str) -> str:
    """no, always, unless-stopped, on-failure[:N]."""
    policy, colon, count = text.partition(":")
    right = policy in ("no", "always", "unless-stopped") and not colon
    if not right and not (policy == "on-failure" and (not colon or count.isdecimal())):
        raise BadValue(f"'{text}' is not a restart policy", "one of no, on-failure[:times], always, unless-stopped")
    return text


def add_host(text: str) -> str:
    """NAME:IP (or NAME=IP), kept as NAME:IP."""
    at = text.find("=") if "=" in text else text.find(":")
    host, address = text[:at].strip(), text[at + 1 :].strip("[] ")
    if at < 1 or not (address == "host-gateway" or _is_address(address)):
        raise BadValue(f"'{text}' is not name:address", "give something like db:10.0.0.7")
    return f"{host}:{address}"


def address(text: str) -> str:
    if not _is_address(text):
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


def environment(text: str) -> str:
    """NAME=VALUE kept; NAME alone takes the value this process has, "" when it has none."""
    key, equals, _ = text.partition("=")
    if not key:
        raise BadValue(f"'{text}' is not a variable", "give NAME=value")
    if equals:
        return text
    value = os.environ.get(key)
    return "" if value is None else f"{key}={value}"


def lines(path: str) -> list[str]:
    """The lines of an env or label file without comments and blank ones."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            content = file.read()
    except OSError as error:
        raise BadValue(f"cannot read '{path}': {(error.strerror or str(error)).lower()}") from None
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


def unique_environment(variables: Iterable[str]) -> list[str]:
    """The last value of every variable, at the place of its first."""
    last = {}
    for variable in variables:
        if variable:
            last[variable.partition("=")[0]] = variable
    return list(last.values())


def _is_number(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdecimal()


def _is_address(text: str) -> bool:
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


def _target(text: str, whole: str) -> str:
    if not text.startswith("/") or os.path.normpath(text) in ("/", "//"):
        reason = "must not be '/'" if text.startswith("/") else "must be an absolute path"
        raise BadValue(f"'{whole}': the path inside the container {reason}", "such as /data")
    return os.path.normpath(text)


def _volume_name(text: str, whole: str) -> None:
    try:
        name(text)
    except BadValue:
        raise BadValue(
            f"'{whole}': '{text}' is not a volume name", "a path of the host starts with '/' or './'"
        ) from None


def _device_rate(text: str, example: str) -> tuple[str, str]:
    path, colon, rate = text.rpartition(":")
    if not colon or not path.startswith("/dev/"):
        raise BadValue(f"'{text}' is not device:rate", f"give something like /dev/sda:{example}")
    return path, rate
