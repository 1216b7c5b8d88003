"""A container's link: the host's side, the inside, and which veth is whose.

    host namespace                                  container
    pyctr0 ─┬─ veth3f2a91bc  <── one NEWLINK ──>  eth0  10.88.0.7/16, default via 10.88.0.1
            └─ ...

The shim's worker calls `host_side` once the container's init exists, and goes `within` its namespace for the rest, all
while init mounts. Nobody deletes a veth: it goes with its namespace (a synchronous delete costs 19 ms), a little after
the last process. A restart may therefore find the old incarnation's veth still there under the wished name and takes a
neighbouring one.

Imports must fit the shim (`runtime.spawned`).
"""

from __future__ import annotations

import _socket
import errno
import os

from pyctr.core.linux import const, namespaces, netlink, rtmessages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

PREFIX = "veth"
_DIGITS = 8
_SUFFIXES = "ghijklmnopqrstuvwxyz"
"""Not hexadecimal, so that a name says where the id ends."""


def host_if(id: str, number: int = 0) -> str:
    """The wished name of a container's link on the host (at most 15 characters, netdevice(7)): of its eth0, or of a
    further one, whose number follows."""
    return PREFIX + id[:_DIGITS] + (str(number) if number else "")


def owner(host_if: str) -> str:
    """First digits of the id of the container that a link's name says it belongs to, or ""."""
    digits = host_if[len(PREFIX) : len(PREFIX) + _DIGITS]
    if not host_if.startswith(PREFIX) or len(digits) != _DIGITS:
        return ""
    rest = _rest(host_if)
    return digits if not rest or (rest.isdecimal() and len(rest) < 3) else ""


def number(host_if: str) -> int:
    """Which of its container's links a name is: 1 for eth1."""
    return int(_rest(host_if) or 0)


def _rest(host_if: str) -> str:
    """What follows the id's digits, without the letter of a second incarnation."""
    rest = host_if[len(PREFIX) + _DIGITS :]
    return rest[:-1] if rest[-1:] and rest[-1] in _SUFFIXES else rest


class _Prepared:
    """Messages of one attachment, complete but for what only the clone tells."""

    __slots__ = ("bridge", "inside", "outside", "socket")

    def __init__(self, attachment: dict[str, Any]) -> None:
        self.socket: netlink.Netlink | None = None
        self.bridge = netlink.index(attachment["bridge"])
        self.outside = None if "driver" in attachment else _pair(attachment, attachment["host_if"], self.bridge, _PLACE)
        name = attachment["container_if"]
        self.inside = [
            rtmessages.up(1, "lo"),
            rtmessages.up(0, name),
            rtmessages.address(0, attachment["address"], name=name),
        ]
        if attachment.get("gateway"):
            self.inside.append(rtmessages.default_route(attachment["gateway"], name=name))
        if attachment.get("address6"):
            self.inside.append(rtmessages.address(0, attachment["address6"], name=name))
            if attachment.get("gateway6"):
                self.inside.append(rtmessages.default_route(attachment["gateway6"], name=name))
        if attachment.get("tx_bps"):
            from pyctr.core.linux import qdisc

            self.inside.append(qdisc.limit(0, attachment["tx_bps"], name))

    def aimed(self, index: int) -> list[netlink.Message]:
        """The messages for inside, now that the link has an index."""
        for message in self.inside:
            if message.kind in (netlink.RTM_NEWADDR, _NEWQDISC):
                message.aim(index)
        return self.inside


_PLACE = 0x7FFFFFFF
_NEWQDISC = 36
_prepared: dict[str, _Prepared] = {}
_home: list[int] = []


def prepare(attachment: dict[str, Any]) -> None:
    """Build the messages of `host_side` and `within`, and open what they need of this namespace, before the clone,
    where it is cheap: afterwards every page that Python touches is copied first, in both processes (0.3 ms together).
    Not needed for either to work."""
    if attachment.get("mode") == "bridge":
        for each in (attachment, *(attachment.get("more") or ())):
            made = _prepared[each["host_if"]] = _Prepared(each)
            if made.outside is not None:
                made.socket = netlink.Netlink()
        _home.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))


def _pair(
    attachment: dict[str, Any], name: str, bridge: int, pid: int | None = None, netns: int | None = None
) -> netlink.Message:
    return rtmessages.veth(
        name,
        attachment["container_if"],
        pid=pid,
        netns=netns,
        bridge=bridge,
        mtu=attachment.get("mtu", 0),
        peer_mac=rtmessages.mac(attachment["mac"]),
    )


def host_side(attachment: dict[str, Any], pid: int | None = None, *, netns: int | None = None) -> str:
    """Make the veth pair: one end a port of the bridge, the other in the namespace of `pid` (or of the descriptor
    `netns`). Returns the name the host's end really got. Does nothing for modes without a link.

    Raises OSError, where ENODEV names a bridge that went away; Unsupported naming a module that the kernel lacks.
    """
    if attachment.get("mode") != "bridge":
        return ""
    try:
        made = _host_side(attachment, pid, netns)
        for more in attachment.get("more") or ():
            _host_side(more, pid, netns)
    except OSError as error:
        raise _explained(error) from None
    return made


def _explained(error: OSError) -> Exception:
    from pyctr.core import netlacks

    return netlacks.told(error) or error


def _host_side(attachment: dict[str, Any], pid: int | None, netns: int | None) -> str:
    wished: str = attachment["host_if"]
    prepared = _prepared.get(wished)
    bridge = prepared.bridge if prepared else netlink.index(attachment["bridge"])
    if not bridge:
        raise OSError(errno.ENODEV, "netlink: find bridge: no such device", attachment["bridge"])
    if "driver" in attachment:
        return _face(attachment, bridge, pid, netns)
    with (prepared and prepared.socket) or netlink.Netlink() as socket:
        for suffix in ("", *_SUFFIXES):
            name: str = wished + suffix
            if prepared and prepared.outside and pid is not None and not suffix:
                pair = prepared.outside
                pair.fill(netlink.IFLA_NET_NS_PID, _PLACE, pid)
            else:
                pair = _pair(attachment, name, bridge, pid=pid, netns=netns)
            batch = [pair]
            if attachment.get("hairpin"):
                batch.append(rtmessages.hairpin(name))
            try:
                socket.send(batch)
            except OSError as error:
                # the old incarnation's namespace is still being taken down; if instead `eth0` is what
                # exists in the new namespace, every suffix fails and the last error is raised
                if error.errno != errno.EEXIST or suffix == _SUFFIXES[-1]:
                    raise
                continue
            if attachment.get("rx_bps"):
                from pyctr.core.linux import qdisc

                # what leaves this end is what the container receives
                socket.send([qdisc.limit(netlink.index(name), attachment["rx_bps"], name)])
            if attachment.get("tx_bps"):
                from pyctr.core import linkrules

                # what enters this end is what the container sends, bounded at its own end, too, which it may change
                linkrules.bound(attachment["bridge"], name, attachment["tx_bps"])
            return name
    raise AssertionError("unreachable")


def _face(attachment: dict[str, Any], parent: int, pid: int | None, netns: int | None) -> str:
    """A macvlan or ipvlan in the container; the host has no end of it."""
    from pyctr.core.linux import links

    message = links.face(
        attachment["driver"],
        attachment["container_if"],
        parent,
        mode=attachment["link_mode"],
        mtu=attachment["mtu"],
        mac=rtmessages.mac(attachment["mac"]),
        pid=pid,
        netns=netns,
    )
    with netlink.Netlink() as socket:
        socket.send([message])
    return ""


def deaf(interface: str, proc: str = "/proc") -> None:
    """Have a link of this namespace believe no router advertisement: whoever else is on its bridge could send one and
    become the way out (CVE-2020-10749, CVE-2020-13401). Before it is up. Raises OSError."""
    try:
        fd = os.open(f"{proc}/sys/net/ipv6/conf/{interface}/accept_ra", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # a kernel without IPv6
    try:
        os.write(fd, b"0")
    finally:
        os.close(fd)


def within(process: int, attachment: dict[str, Any], names: dict[str, Any] | None) -> list[_socket.socket]:
    """In the network namespace of the process behind a pidfd, after `host_side`: all of `inside`, and the sockets of a
    name server, if one is ordered. This thread goes there and back. Raises OSError, Unsupported."""
    home = _home.pop() if _home else os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.setns(process, const.CLONE_NEWNET)
        try:
            inside(attachment)
            return name_sockets(names) if names else []
        except OSError as error:
            raise _explained(error) from None
        finally:
            namespaces.setns(home, const.CLONE_NEWNET)
    finally:
        os.close(home)


def inside(attachment: dict[str, Any]) -> None:
    """In the container's namespace, after `host_side`: loopback and the link up, address, default route."""
    for each in (attachment, *(attachment.get("more") or ())):
        if "driver" not in each:  # those of a parent interface are among its routers
            deaf(each["container_if"])
    batch = _ready(attachment)
    for more in attachment.get("more") or ():
        batch += _ready(more)[1:]
    with netlink.Netlink() as socket:
        socket.send(batch)


def name_sockets(order: dict[str, Any]) -> list[_socket.socket]:
    """[UDP, TCP] of the name server at 127.0.0.11 in this namespace, with the rules that lead port 53 to them: on the
    order's port, or on 53 where the kernel cannot. `order` is as `core.namerules` makes it.

    Loopback is up: before, 127.0.0.11 is nobody's, and a socket bound there with IP_FREEBIND answers from 127.0.0.1.
    """
    port = order["port"]
    try:
        with netlink.Netlink(netlink.NETLINK_NETFILTER) as rules:
            rules.send([netlink.Message(*words) for words in order["rules"]], wrap=order["wrap"])
    except OSError:
        port = 53
    sockets = []
    for kind in (_socket.SOCK_DGRAM, _socket.SOCK_STREAM):
        # the namespace is new: no port is taken there
        socket = _socket.socket(_socket.AF_INET, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        sockets.append(socket)
        socket.bind(("127.0.0.11", port))
    sockets[1].listen(64)
    return sockets


def configuration(attachment: dict[str, Any], index: int) -> list[netlink.Message]:
    """What `inside` does for one more link of a container that runs, for a socket of its namespace."""
    return _Prepared(attachment).aimed(index)[1:]


def _ready(attachment: dict[str, Any]) -> list[netlink.Message]:
    name = attachment["container_if"]
    link = netlink.index(name)
    if not link:
        raise OSError(errno.ENODEV, "netlink: find link: no such device", name)
    prepared = _prepared.pop(attachment["host_if"], None) or _Prepared(attachment)
    return prepared.aimed(link)


def veths(bridge: str = "", wanted: int | None = 0) -> dict[str, netlink.Link]:
    """Links of containers by the first digits of the id, of two incarnations the newer; everywhere or on one bridge.
    `wanted` is the number of the link inside, None for any."""
    with netlink.Netlink() as socket:
        master = netlink.index(bridge) if bridge else 0
        if bridge and not master:
            return {}
        links = socket.links(master=master, kind="veth")
    found: dict[str, netlink.Link] = {}
    for link in links:
        digits = owner(link.name)
        if wanted is not None and digits and number(link.name) != wanted:
            continue
        if digits and (digits not in found or found[digits].index < link.index):
            found[digits] = link
    return found


def garbage(bridge: str, ids: Iterable[str]) -> list[str]:
    """Names of links on a bridge whose container is not among `ids`: namespaces still dying, or kept alive by a process
    that escaped its container."""
    known = {id[:_DIGITS] for id in ids}
    return sorted(link.name for digits, link in veths(bridge, None).items() if digits not in known)
