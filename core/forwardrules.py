"""Accepts for our bridges in the chains of others that see what is forwarded.

An accept in a table of ours does not outvote a drop elsewhere. Two accepts with the comment `pyctr:BRIDGE` therefore go
to the top of

    ip, ip6  filter    FORWARD          of iptables-nft; Docker and ufw set its policy to DROP
    inet     firewalld filter_FORWARD   which ends with a reject
    FORWARD of iptables-legacy          by its own program

`remove` takes out what carries the comment and nothing else. A firewalld that owns its table (an option of newer ones)
lets nobody write there: then it is asked over D-Bus to have the bridge in its zone `trusted`.
"""

from __future__ import annotations

import errno
import os

from pyctr.core.linux import nftables as nf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHAINS = {
    nf.IPV4: ("filter", "FORWARD"),
    nf.IPV6: ("filter", "FORWARD"),
    nf.INET: ("firewalld", "filter_FORWARD"),
}


def comment(bridge: str) -> str:
    return f"pyctr:{bridge}"


def accept(socket: nf.Nft, bridge: str, family: int, *, dry: bool = False) -> bool:
    """The two accepts in a family's chain of somebody else, if there is one; whether any was missing, and is there now
    unless `dry`. Raises OSError."""
    table, name = CHAINS[family]
    ours = comment(bridge)
    chain = socket.chain(table, name, family)
    if chain is None or chain.hook != nf.FORWARD:
        return False
    rules = socket.rules(table, name, family)
    if sum(rule.comment == ours for rule in rules) == 2:
        return False
    if dry:
        return True
    batch = nf.Batch(family)
    for rule in rules:
        if rule.comment == ours:
            batch.delete_rule(table, name, rule.handle)
    # in the words iptables-nft writes itself, so that `iptables -S` can still print the chain
    for match in (nf.iif(bridge), nf.oif(bridge)):
        batch.rule(table, name, match, nf.counter(), nf.verdict(nf.ACCEPT), comment=ours, first=True)
    try:
        batch.send(socket)
    except OSError as error:
        if family != nf.INET or error.errno != errno.EPERM:
            raise
        return trust(bridge)
    return True


def remove(socket: nf.Nft, bridge: str) -> None:
    """Take these accepts out. Raises OSError."""
    for family, (table, name) in CHAINS.items():
        batch = nf.Batch(family)
        for rule in socket.rules(table, name, family):
            if rule.comment == comment(bridge):
                batch.delete_rule(table, name, rule.handle)
        batch.send(socket)


def trust(bridge: str) -> bool:
    """Have firewalld put a bridge into its zone `trusted`, until it ends; whether it was not there. What firewalld
    answers is its own affair: 'pyctr doctor' tells of a chain that drops what is forwarded."""
    from pyctr.core import dbus

    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "").partition("unix:path=")[2].partition(",")[0]
    where = "org.fedoraproject.FirewallD1", "/org/fedoraproject/FirewallD1", "org.fedoraproject.FirewallD1.zone"
    try:
        bus = dbus.Connection(address or "/run/dbus/system_bus_socket", bus=True)
    except OSError:
        return False
    try:
        if bus.call(*where, "getZoneOfInterface", "s", (bridge,)) == ["trusted"]:
            return False
        bus.call(*where, "changeZoneOfInterface", "ss", ("trusted", bridge))
        return True
    except (dbus.Refused, OSError):
        return False
    finally:
        bus.close()


_LEGACY = {"iptables": "ip_tables_names", "ip6tables": "ip6_tables_names"}


def _legacy_loaded(proc: str) -> Iterator[str]:
    """Programs whose table `filter` of the old kernel interface is loaded in this namespace; looking loads none."""
    for program, names in _LEGACY.items():
        try:
            with open(f"{proc}/net/{names}") as file:
                if "filter" in file.read().split():
                    yield program
        except OSError:
            continue  # not in this kernel


def _legacy_rules(bridge: str) -> list[list[str]]:
    return [
        ["FORWARD", flag, bridge, "-m", "comment", "--comment", comment(bridge), "-j", "ACCEPT"]
        for flag in ("-i", "-o")
    ]


def accept_legacy(bridge: str, proc: str, *, dry: bool = False) -> bool:
    """The same two accepts in the FORWARD chain of iptables-legacy and ip6tables-legacy."""
    changed = False
    for program in _legacy_loaded(proc):
        if _accepted(bridge, _LEGACY[program]):
            continue
        for rule in _legacy_rules(bridge):
            if _legacy(program, "-C", *rule) == 1:
                changed = True
                if not dry:
                    _legacy(program, "-I", *rule)
    return changed


def _accepted(bridge: str, names: str) -> bool:
    """Whether both are there, by a look at the table: the program that would say so takes longer than a whole link."""
    from pyctr.core.linux import legacytables

    try:
        return legacytables.comments(comment(bridge), names) == len(_legacy_rules(bridge))
    except OSError:
        return False


def remove_legacy(bridge: str, proc: str) -> None:
    for program in _legacy_loaded(proc):
        for rule in _legacy_rules(bridge):
            while _legacy(program, "-D", *rule) == 0:
                pass


def _legacy(program: str, *words: str) -> int:
    """Run iptables-legacy; 127 when it is not installed, which leaves nothing to do but tell (`ruleview.blockers`)."""
    for directory in ("/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"):
        for name in (f"{program}-legacy", program):
            path = f"{directory}/{name}"
            if not os.path.exists(path) or "nft" in os.path.basename(os.path.realpath(path)):
                continue
            null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
            pid = os.posix_spawn(path, [f"{program}-legacy", "-w", "5", *words], os.environ, file_actions=null)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 127
