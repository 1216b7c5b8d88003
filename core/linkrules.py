"""The bound of what a container sends, at the host's end of its link, where nobody inside can lift it.

    table netdev pyctr0 {                                       # one for each bridge, like the tables of `firewall`
        chain veth3f2a91bc {                                    # one for each bounded link, by its name
            type filter hook ingress device veth3f2a91bc
            limit rate over 1000000 bytes/second drop
        }
    }

The container's own end has a token bucket (`linux.qdisc`), which lets what is too much wait. It keeps below this bound,
which only drops what comes when somebody with NET_ADMIN took that bucket away. The kernel counts a second's bytes and
the burst as one bucket here, so that is what may come at once.

A link that ends takes its chain along on some kernels, on others (6.16 and later) the chain waits for another link of
that name: it is made anew with each link, and goes with the container's lease.
"""

from __future__ import annotations

import errno

from pyctr.core import netns
from pyctr.core.firewall import Session, spoken
from pyctr.core.linux import nftables as nf
from pyctr.core.linux import qdisc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_STAMP = "pyctr links 1"
_LARGEST = 8_000_000_000
"""Bytes per second; the kernel's own arithmetic ends at about twice that."""
_FRAME = 65536
"""Bytes of the largest packet that comes in one piece."""


def bound(bridge: str, link: str, rate: int) -> bool:
    """At most `rate` bytes per second out of a link, 0 for no bound. Whether this kernel can; raises OSError."""
    if not spoken():
        return False
    batch = _without(bridge, link)
    with Session() as socket:
        if 0 < rate <= _LARGEST:
            batch.table(bridge, _STAMP)
            batch.chain(bridge, link, hook=nf.INGRESS, device=link)
            over = nf.limit_over(rate, qdisc.burst(rate) + _FRAME)
            batch.rule(bridge, link, over, nf.counter(), nf.verdict(nf.DROP))
        try:
            batch.send(socket)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
                raise
            return False  # no tables of devices in this kernel
    return True


def release(lease: dict[str, Any]) -> None:
    """Take out what was made for a link, whatever number of incarnations it had. Raises OSError."""
    if not lease.get("tx_bps") or "driver" in lease or not spoken():
        return
    batch = _without(lease["bridge"], lease["host_if"])
    with Session() as socket:
        batch.send(socket)


def restore(bridge: str, leases: Iterable[dict[str, Any]], *, dry: bool = False) -> bool:
    """Make anew the bounds of links that are there and have lost theirs; whether any had. Raises OSError."""
    wanted = {
        (lease["host_if"][: len(netns.PREFIX) + 8], netns.number(lease["host_if"])): int(lease["tx_bps"])
        for lease in leases
        if lease.get("tx_bps") and int(lease["tx_bps"]) <= _LARGEST and "driver" not in lease
    }
    if not wanted or not spoken():
        return False
    lost = []
    with Session() as socket:
        for number in {number for _, number in wanted}:
            for digits, link in netns.veths(bridge, number).items():
                rate = wanted.get((netns.PREFIX + digits, number))
                if rate and len(socket.rules(bridge, link.name, nf.NETDEV)) != 1:
                    lost.append((link.name, rate))
    for name, rate in () if dry else lost:
        bound(bridge, name, rate)
    return bool(lost)


def _without(bridge: str, link: str) -> nf.Batch:
    """A batch that begins with the end of a link's chains, under the names of all its incarnations."""
    mine = netns.owner(link), netns.number(link)
    batch = nf.Batch(nf.NETDEV)
    with Session() as socket:
        for chain in socket.chains(nf.NETDEV):
            if chain.table == bridge and (netns.owner(chain.name), netns.number(chain.name)) == mine:
                batch.delete_chain(bridge, chain.name)
    return batch
