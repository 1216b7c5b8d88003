"""The rules of `firewall` for a kernel that has no nf_tables, by the programs of iptables-legacy.

    mangle  PREROUTING   from the bridge to 127.0.0.0/8: drop
            INPUT        IPv6, from an internal bridge: replies, else drop
            FORWARD      -> PYCTR-<bridge>    into it: replies, published ports; else drop; the comment says what for
    nat     PREROUTING, OUTPUT  to a local address -> PYCTR-<bridge>   one DNAT for each published port
            POSTROUTING  -> PYCTR-<bridge>-P  masquerade, as there

What is dropped is dropped in `mangle`, which comes before `filter`: so the accepts of `forwardrules` may stand at the
top of FORWARD, as with nf_tables. One run of iptables-restore changes one table, all of it or nothing; what is there
is read with iptables-save. A published port costs a few milliseconds instead of a few microseconds.
"""

from __future__ import annotations

import errno
import os
import re

from pyctr.core.linux import nftables as nf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Entries = dict[str, list[tuple[bytes, bytes, str]]]
    """As `firewall.split` gives them."""

PROGRAMS = {nf.IPV4: "iptables", nf.IPV6: "ip6tables"}
_PLACES = ("/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin")
_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
_PORT = re.compile(r"-p (\w+) .*--dport (\d+) .*--to-destination (\S+)")


def chain(bridge: str) -> str:
    return f"PYCTR-{bridge}"


def ensure(family: int, bridge: str, subnet: str, stamp: str, ports: Entries, *, thorough: bool, dry: bool) -> bool:
    """Make the rules of a bridge unless they are there; with `thorough` every one is looked for. Whether anything was
    missing. Raises OSError."""
    changed = False
    for table, (chains, hooks) in _wanted(family, bridge, subnet, stamp, ports).items():
        there = list(_there(family, table, bridge))
        standing = [line for line in there if line.split()[1] not in chains]
        stands = len(standing) == len(hooks) and (table == "nat" or any(f'"{stamp}"' in line for line in standing))
        if stands and (not thorough or all(_whole(there, name, rules) for name, rules in chains.items())):
            continue
        changed = True
        if not dry:
            lines = [f":{name} - [0:0]" for name in chains]
            lines += [line.replace("-A", "-D", 1) for line in standing]
            lines += [f"-A {name} {rule}" for name, rules in chains.items() for rule in rules]
            _restore(family, table, [*lines, *hooks])
    return changed


def _whole(there: list[str], name: str, rules: list[str]) -> bool:
    """Whether a chain has as many rules as it was made with, of ports at least those that are published."""
    inside = [line for line in there if line.split()[1] == name]
    ports = {(_place(line), _target(line)) for line in inside if _place(line)}
    if any(_place(rule) for rule in rules) or ports:
        return ports.issuperset((_place(rule), _target(rule)) for rule in rules)
    return len(inside) == len(rules)


def _wanted(
    family: int, bridge: str, subnet: str, stamp: str, ports: Entries
) -> dict[str, tuple[dict[str, list[str]], list[str]]]:
    """Table -> (chain -> rules, rules of the kernel's own chains that lead there)."""
    mine = chain(bridge)
    note = f'-m comment --comment "pyctr:{bridge}"'
    into, foreign = f"-o {bridge}", f"! -i {bridge} -o {bridge}"
    published = "-m conntrack --ctstate DNAT"
    forward = [
        f"{foreign} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        f"{foreign} {published} -j RETURN",
        f"{foreign} -j DROP",
    ]
    source = [f"-s {subnet} {into} {published} -j MASQUERADE"]
    guard = []
    if stamp.endswith(" internal"):
        forward.append(f"-i {bridge} ! -o {bridge} -j DROP")
        if family == nf.IPV6:
            unasked = "! -p ipv6-icmp -m conntrack ! --ctstate RELATED,ESTABLISHED"
            guard.append(f"-A INPUT -i {bridge} {unasked} {note} -j DROP")
    else:
        source.append(f"-s {subnet} ! -o {bridge} -j MASQUERADE")
    if family == nf.IPV4:
        source.append(f"-s 127.0.0.0/8 {into} -j MASQUERADE")
        guard.append(f"-A PREROUTING -i {bridge} -d 127.0.0.0/8 {note} -j DROP")
    local = f"-m addrtype --dst-type LOCAL {note} -j {mine}"
    own = "-A OUTPUT " if family == nf.IPV4 else "-A OUTPUT ! -d ::1/128 "
    return {
        "mangle": ({mine: forward}, [*guard, f'-A FORWARD -m comment --comment "{stamp}" -j {mine}']),
        "nat": (
            {mine: _rules(ports), f"{mine}-P": source},
            [f"-A PREROUTING {local}", f"{own}{local}", f"-A POSTROUTING {note} -j {mine}-P"],
        ),
    }


def _rules(ports: Entries) -> list[str]:
    """Those of one address of the host first."""
    return [_rule(*entry) for name in ("ports_ip", "ports") for entry in ports.get(name, ())]


def _rule(key: bytes, value: bytes, owner: str) -> str:
    import _socket

    kind = _socket.AF_INET if len(value) == 8 else _socket.AF_INET6
    size = len(value) - 4
    where = f"-d {_socket.inet_ntop(kind, key[:size])} " if len(key) > 8 else ""
    protocol, number = _PROTOCOLS[key[-8]], int.from_bytes(key[-4:-2], "big")
    address = _socket.inet_ntop(kind, value[:size])
    target = f"{f'[{address}]' if ':' in address else address}:{int.from_bytes(value[size : size + 2], 'big')}"
    return f"{where}-p {protocol} --dport {number} -m comment --comment {owner} -j DNAT --to-destination {target}"


def publish(family: int, bridge: str, ports: Entries) -> None:
    """Lead ports to a container; what is there in their place was left by one whose end nobody saw."""
    before = list(_there(family, "nat", bridge))
    lines = []
    for name, entries in ports.items():
        for entry in entries:
            rule = _rule(*entry)
            lines += [f"-D {line[3:]}" for line in before if _place(line) == _place(rule)]
            lines.append(f"{'-I' if name == 'ports_ip' else '-A'} {chain(bridge)} {rule}")
    _restore(family, "nat", lines)


def unpublish(family: int, bridge: str, ports: Entries) -> None:
    """Take ports out, as far as they are there and lead where it is said."""
    gone = {(_place(rule), _target(rule)) for rule in _rules(ports)}
    lines = [f"-D {line[3:]}" for line in _there(family, "nat", bridge) if (_place(line), _target(line)) in gone]
    _restore(family, "nat", lines)


def _place(rule: str) -> tuple[str, ...] | None:
    """(address of the host or "", protocol, port) of a rule for a port."""
    found = _PORT.search(rule)
    address = re.search(r"-d ([^\s/]+)", rule)
    return (address[1] if address else "", found[1], found[2]) if found else None


def _target(rule: str) -> str:
    found = _PORT.search(rule)
    return found[3] if found else ""


def published(bridge: str) -> Iterator[dict[str, Any]]:
    """As `ruleview.published` tells it."""
    for family in PROGRAMS:
        for line in _there(family, "nat", bridge):
            if place := _place(line):
                address, _, port = _target(line).rpartition(":")
                owner = re.search(r"--comment \"?([^\s\"]+)", line)
                yield {
                    "host_ip": place[0],
                    "host_port": int(place[2]),
                    "protocol": place[1],
                    "address": address.strip("[]"),
                    "container_port": int(port),
                    "owner": owner[1] if owner else "",
                }


def dropped(bridge: str) -> int:
    """Packets that the rules of a bridge have dropped."""
    count = 0
    for family in PROGRAMS:
        for line in _saved(family, "mangle", "-c"):
            counters, _, rule = line.partition("] ")
            if _ours(rule, bridge) and rule.endswith("-j DROP"):
                count += int(counters[1:].partition(":")[0])
    return count


def remove(bridge: str) -> None:
    """Take out everything of a bridge. Raises OSError."""
    for family in PROGRAMS:
        for table in ("mangle", "nat"):
            there = list(_there(family, table, bridge))
            names = [chain(bridge)] + ([f"{chain(bridge)}-P"] if table == "nat" else [])
            if there:
                hooks = [f"-D {line[3:]}" for line in there if line.split()[1] not in names]
                lines = [f":{name} - [0:0]" for name in names]
                _restore(family, table, [*lines, *hooks, *(f"-X {name}" for name in names)])


def _ours(line: str, bridge: str) -> bool:
    words = line.split()
    names = (chain(bridge), f"{chain(bridge)}-P")
    return line.startswith("-A") and (words[1] in names or words[-1] in names or f"pyctr:{bridge}" in words)


def _there(family: int, table: str, bridge: str) -> Iterator[str]:
    """Rules of a bridge in one table, in the words of iptables-save."""
    return (line for line in _saved(family, table) if _ours(line.replace('"', ""), bridge))


def usable() -> bool:
    """Whether the programs are here."""
    return bool(_find("iptables", "restore"))


def _find(program: str, verb: str) -> str:
    for directory in _PLACES:
        for name in (f"{program}-legacy-{verb}", f"{program}-{verb}"):
            path = f"{directory}/{name}"
            if os.path.exists(path) and "nft" not in os.path.basename(os.path.realpath(path)):
                return path
    return ""


def _saved(family: int, table: str, *more: str) -> list[str]:
    """A table in the words of iptables-save; nothing of one that is not loaded in this namespace, and looking loads
    none."""
    try:
        with open(f"/proc/net/{'ip' if family == nf.IPV4 else 'ip6'}_tables_names") as file:
            if table not in file.read().split():
                return []
    except OSError:
        return []
    return _run(family, "save", "-t", table, *more).splitlines()


def _restore(family: int, table: str, lines: Iterable[str]) -> None:
    lines = list(lines)
    if lines:
        _run(family, "restore", "-n", "-w", "5", text="\n".join([f"*{table}", *lines, "COMMIT", ""]))


def _run(family: int, verb: str, *words: str, text: str = "") -> str:
    """What iptables-save or -restore prints. Raises OSError with what it says."""
    program = PROGRAMS[family]
    path = _find(program, verb)
    if not path:
        raise OSError(errno.ENOENT, f"no nf_tables in this kernel, and no {program}-legacy-{verb} on this host")
    files = [os.memfd_create(name) for name in ("in", "out", "err")]
    try:
        os.write(files[0], text.encode())
        os.lseek(files[0], 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(files)]
        pid = os.posix_spawn(path, [os.path.basename(path), *words], os.environ, file_actions=actions)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out, said = (os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace") for fd in files[1:])
    finally:
        for fd in files:
            os.close(fd)
    if code:
        first = said.strip().splitlines()[:1] or [f"exit code {code}"]
        raise OSError(errno.EINVAL, f"{os.path.basename(path)}: {first[0]}")
    return out
