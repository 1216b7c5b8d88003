"""What the firewall has now: the ports that lead to containers, what was dropped, who else drops; see `firewall`."""

from __future__ import annotations

from pyctr.core.firewall import PROTOCOLS, Session, spoken
from pyctr.core.forwardrules import CHAINS
from pyctr.core.linux import nftables as nf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def published(bridge: str) -> list[dict[str, Any]]:
    """What the kernel forwards now: {"host_ip","host_port","protocol","address","container_port","owner"}."""
    import _socket

    if not spoken():
        from pyctr.core import iptables

        return list(iptables.published(bridge))
    names = {number: name for name, number in PROTOCOLS.items()}
    found = []
    with Session() as socket:
        for family, size in ((nf.IPV4, 4), (nf.IPV6, 16)):
            kind = _socket.AF_INET if size == 4 else _socket.AF_INET6
            for map in ("ports_ip", "ports"):
                for key, value, owner in socket.ports(bridge, map, family):
                    host_ip = _socket.inet_ntop(kind, key[:size]) if map == "ports_ip" else ""
                    rest = key[size:] if host_ip else key
                    found.append(
                        {
                            "host_ip": host_ip,
                            "host_port": int.from_bytes(rest[4:6], "big"),
                            "protocol": names.get(rest[0], str(rest[0])),
                            "address": _socket.inet_ntop(kind, value[:size]),
                            "container_port": int.from_bytes(value[size : size + 2], "big"),
                            "owner": owner,
                        }
                    )
    return found


def dropped(bridge: str) -> int:
    """Packets that the rules of a bridge's table have dropped; 0 without a table."""
    if not spoken():
        from pyctr.core import iptables

        return iptables.dropped(bridge)
    with Session() as socket:
        return sum(
            rule.packets
            for chain in ("forward", "guard", "input")
            for family in (nf.IPV4, nf.IPV6)
            for rule in socket.rules(bridge, chain, family)
        )


def blockers() -> list[str]:
    """Forward chains of others that drop by policy, or as firewalld's does at its end, and in which we have no accept:
    "inet firewalld filter_FORWARD"."""
    families = {nf.INET: "inet", nf.IPV4: "ip"}
    found: list[str] = []
    if not spoken():
        return found
    with Session() as socket:
        for chain in socket.chains():
            drops = chain.policy == nf.DROP or (chain.table, chain.name) == CHAINS[nf.INET]
            if chain.hook != nf.FORWARD or not drops or chain.family not in families:
                continue
            rules = socket.rules(chain.table, chain.name, chain.family)
            if not any(rule.comment.startswith("pyctr:") for rule in rules):
                found.append(f"{families[chain.family]} {chain.table} {chain.name}")
    return found
