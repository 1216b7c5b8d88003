"""Other bounds for the links of a container that runs: what it receives at the host's end, what it sends at both."""

from __future__ import annotations

import errno
import os

from pyctr.core import firewall, linkrules, netdrivers, netlacks, netns
from pyctr.core.connecting import attachments
from pyctr.core.linux import namespaces, netlink, qdisc
from pyctr.core.netdevices import socket_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container
    from pyctr.core.spec import Limits


def change(container: Container, wanted: Limits) -> None:
    """Bound every link anew and keep it in `container.state.network`, which the caller saves. Raises OSError,
    UsageError, Unsupported."""
    links = attachments(container.state.network)
    if not links:
        return
    networks = container.engine.networks
    place = namespaces.open_namespace(container.pid, "network")
    try:
        with netlink.Netlink() as outside, socket_in(place) as inside:
            there = {link.name: link.index for link in inside.links(stats=False)}
            ours = {link.name: link.index for link in outside.links(kind="veth", stats=False)}
            for each in links:
                rates = netdrivers.rates(networks.get(each["network"]), wanted)
                name = each["container_if"]
                _set(inside, there.get(name, 0), rates.get("tx_bps", 0))
                number = int(name.removeprefix("eth") or 0)
                for link, index in ours.items():
                    if netns.owner(link) == container.id[:8] and netns.number(link) == number:
                        _set(outside, index, rates.get("rx_bps", 0))
                        linkrules.bound(each["bridge"], link, rates.get("tx_bps", 0))
                for key in (*netdrivers.RATES, "net_class"):
                    each.pop(key, None)
                each.update(rates)
                firewall.classify(each)
        networks.rewrite(container.state.network)
    finally:
        os.close(place)


def _set(socket: netlink.Netlink, index: int, rate: int) -> None:
    if not index:
        return
    try:
        socket.send([qdisc.limit(index, rate) if rate else qdisc.free(index)])
    except OSError as error:
        if rate or error.errno not in (errno.ENOENT, errno.EINVAL):
            raise netlacks.told(error) or error from None
