"""The rules that lead port 53 of 127.0.0.11, in a container's own network namespace, to its name server.

The client makes them, which has the words of nf_tables loaded for the network's sake; the start sends what it was
given: loading `nftables` after the clone took half of the whole network step (2 of 4.7 ms).
"""

from __future__ import annotations

import _socket
import os

from pyctr.core.linux import nftables as nf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ADDRESS = "127.0.0.11"
_TABLE = "pyctr-dns"


def port() -> int:
    """One above those that the kernel gives out (net.ipv4.ip_local_port_range), where hardly a program has its own."""
    return 61001 + int.from_bytes(os.urandom(2), "big") % 4400


def order(port: int) -> dict[str, Any]:
    """{"port", "rules": messages for one batch of nfnetlink, "wrap": what goes around them}, for `netns.name_sockets`.

    The port is the same one for UDP and TCP.
    """
    raw = _socket.inet_aton(ADDRESS)
    batch = nf.Batch()
    batch.table(_TABLE)
    batch.chain(_TABLE, "output", hook=nf.OUTPUT, priority=-100, kind="nat")
    for protocol in (17, 6):
        batch.rule(
            _TABLE,
            "output",
            nf.daddr() + nf.cmp(raw),
            nf.meta(nf.L4PROTO) + nf.cmp(bytes([protocol])),
            nf.dport() + nf.cmp((53).to_bytes(2, "big")),
            nf.load(raw, nf.R0) + nf.load(port.to_bytes(2, "big"), nf.R0 + 1) + nf.dnat(nf.R0, nf.R0 + 1),
        )
    rules = [(message.what, message.name, message.kind, message.body, message.flags) for message in batch.messages]
    return {"port": port, "rules": rules, "wrap": nf.WRAP}
