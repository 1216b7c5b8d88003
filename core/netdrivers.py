"""What the drivers of networks ask of their options, and the links that they make on the host.

    bridge    a bridge, NAT, published ports                                [mtu rx_bps tx_bps]
    overlay   a bridge, and a VXLAN to the same network on other hosts      vni peers [local dev port mtu rx_bps tx_bps]
    macvlan   containers with faces of their own on a parent interface      parent [macvlan_mode mtu]
    ipvlan    the same with the parent's MAC                                parent [ipvlan_mode mtu]
    cni       whatever a list of CNI plugins makes, see `cni`               conflist [path]

The hosts of an overlay know each other by its option `peers`; each gives addresses out of its own --ip-range.
"""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.linux import links, netlink, rtmessages
from pyctr.core.subnets import parse_subnet, to_int, to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.networkset import Network
    from pyctr.core.spec import Limits

MTU = "com.docker.network.driver.mtu"
"""The one option of a bridge network, in the words that other engines use."""
CNI = "cni"
DRIVERS = ("bridge", "overlay", "macvlan", "ipvlan", CNI)
FACES = ("macvlan", "ipvlan")
"""Drivers whose containers are on a parent interface, with no bridge and no firewall of ours between."""
RATES = ("rx_bps", "tx_bps")
"""Options that bound what each container on a network receives and sends, in bytes per second."""
_KNOWN = {
    "bridge": RATES,
    "overlay": ("vni", "peers", "local", "dev", "port", *RATES),
    "macvlan": ("parent", "macvlan_mode"),
    "ipvlan": ("parent", "ipvlan_mode"),
    CNI: ("conflist", "path"),
}
_HEADERS = 50
"""Bytes that VXLAN adds to a frame over IPv4."""


def checked(driver: str, given: dict[str, str]) -> dict[str, str]:
    """A network's options, the mtu by its long name. Raises UsageError."""
    if driver not in DRIVERS:
        raise errors.UsageError(f"no network driver '{driver}'", hint=f"one of {', '.join(DRIVERS)}")
    found = {}
    for key, value in given.items():
        name = MTU if key == "mtu" else key
        if name not in _KNOWN[driver] and (name != MTU or driver == CNI):
            known = ", ".join((*(() if driver == CNI else ("mtu",)), *_KNOWN[driver]))
            raise errors.UsageError(f"'{key}' is not an option of driver '{driver}'", hint=f"known are {known}")
        if name in RATES:
            value = str(_rate(name, value))
        _check(name, value)
        found[name] = value
    if driver in FACES and not found.get("parent"):
        raise errors.UsageError(f"a {driver} network needs a parent interface", hint="--opt parent=eth0")
    if driver == CNI and not found.get("conflist"):
        raise errors.UsageError(
            "a cni network needs a list of plugins", hint="--opt conflist=/etc/cni/net.d/NAME.conflist"
        )
    if driver == "overlay":
        for key, example in (("vni", "vni=42"), ("peers", "peers=192.0.2.10,192.0.2.11")):
            if key not in found:
                raise errors.UsageError(f"an overlay network needs '{key}'", hint=f"--opt {example}")
    return found


def _rate(name: str, value: str) -> int:
    from pyctr.core import parse, refusals

    try:
        rate = parse.size(value)
    except ValueError as error:
        raise errors.UsageError(f"'{value}' is not a valid {name}: {error}", hint="such as 10m") from None
    if rate < refusals.LEAST_RATE:
        raise errors.UsageError(f"'{value}' is not a valid {name}", hint=f"{refusals.LEAST_RATE} are the least")
    return rate


def rates(network: Network, wanted: Limits) -> dict[str, int]:
    """The bounds of one link, what a container asks for, else what its network says; and its traffic class. Raises
    UsageError."""
    found = {}
    for key, own in zip(RATES, (wanted.rx_bps, wanted.tx_bps), strict=True):
        if rate := own or int(network.options.get(key) or 0):
            found[key] = rate
    if "rx_bps" in found and network.driver in FACES:
        raise errors.UsageError(
            f"what a container receives cannot be limited on {network.driver} network '{network.name}'",
            hint="its parent interface is not ours to limit; --network-tx-bps is possible",
        )
    if number := class_number(wanted.net_class):
        if network.driver in FACES:
            raise errors.UsageError(
                f"what a container sends has no class on {network.driver} network '{network.name}'",
                hint="nothing of ours is between it and its parent interface",
            )
        found["net_class"] = number
    return found


def publishable(network: Network) -> None:
    """Whether ports can be published on a network. Raises UsageError."""
    if network.driver in FACES:
        raise errors.UsageError(
            f"ports cannot be published on {network.driver} network '{network.name}'",
            hint="its containers have addresses of their own there",
        )


def class_number(text: str) -> int:
    """A traffic class in the words of tc(8), two hexadecimal numbers, or a plain priority, as the kernel's number."""
    major, colon, minor = text.partition(":")
    if not colon:
        return int(text or 0)
    return int(major or "0", 16) << 16 | int(minor or "0", 16)


def _check(name: str, value: str) -> None:
    bounds = {MTU: (68, 65535), "vni": (1, (1 << 24) - 1), "port": (1, 65535)}
    if name in bounds:
        low, high = bounds[name]
        if not value.isdecimal() or not low <= int(value) <= high:
            what = "mtu" if name == MTU else name
            raise errors.UsageError(f"'{value}' is not a valid {what}", hint=f"{low} to {high}")
    for mode, modes in (("macvlan_mode", links.MACVLAN_MODES), ("ipvlan_mode", links.IPVLAN_MODES)):
        if name == mode and value not in modes:
            raise errors.UsageError(f"'{value}' is not a {mode}", hint=f"one of {', '.join(modes)}")
    if name in ("peers", "local"):
        for address in value.split(","):
            try:
                if address.count(".") != 3:
                    raise OSError
                to_int(address)
            except OSError:
                raise errors.UsageError(f"'{address}' is not an IPv4 address", hint="such as 192.0.2.10") from None


def settle(network: Network) -> Network:
    """A new overlay's gateway is the first address of its own range: no two hosts may have the same one."""
    if network.driver != "overlay":
        return network
    if not network.subnet or not network.ip_range:
        raise errors.UsageError(
            "an overlay network needs a subnet and a range of this host's own",
            hint="--subnet 10.90.0.0/16 --ip-range 10.90.1.0/24, another range on each host",
        )
    return network.replace(gateway=network.gateway or to_text(parse_subnet(network.ip_range)[0] + 1))


def of_plugins(wanted: Network) -> Network:
    """A network that plugins make: addresses are theirs to give. Raises UsageError."""
    from pyctr.core import cni

    if wanted.subnet or wanted.gateway or wanted.ip_range or wanted.reserved or wanted.subnet6 or wanted.internal:
        raise errors.UsageError(
            f"addresses of cni network '{wanted.name}' are its plugins' to give", hint="'ipam' in the list says which"
        )
    return wanted.replace(bridge="", plugins=cni.load(wanted.options))


def parent(network: Network) -> int:
    """Index of the parent interface. Raises NetworkError."""
    name = network.options["parent"]
    index = netlink.index(name)
    if not index:
        raise errors.NetworkError(
            f"network '{network.name}' is on interface '{name}', which is not there", hint="'ip link' lists them"
        )
    return index


def tunnel_mtu(network: Network, uplink: int) -> int:
    """What fits into the uplink's frames."""
    return int(network.options.get(MTU) or 0) or (uplink - _HEADERS if network.driver == "overlay" else uplink)


def raise_tunnel(socket: netlink.Netlink, network: Network, mtu: int) -> None:
    """The VXLAN of an overlay as a port of its bridge, made anew, and its peers. Raises OSError."""
    name = tunnel(network)
    drop_tunnel(socket, network)
    options = network.options
    device = netlink.index(options["dev"]) if options.get("dev") else 0
    if options.get("dev") and not device:
        raise errors.NetworkError(f"no interface '{options['dev']}'", hint="'ip link' lists them")
    message = links.vxlan(
        name,
        int(options["vni"]),
        bridge=netlink.index(network.bridge),
        port=int(options.get("port") or links.VXLAN_PORT),
        local=options.get("local", ""),
        device=device,
        mtu=mtu,
    )
    socket.send([message])
    index = netlink.index(name)
    socket.send([links.peer(index, address, name) for address in options["peers"].split(",")])


def drop_tunnel(socket: netlink.Netlink, network: Network) -> None:
    for link in socket.links(name=tunnel(network), stats=False):
        if link.kind == "vxlan":
            socket.send([rtmessages.delete(link.name)])


def tunnel(network: Network) -> str:
    """The name of an overlay's VXLAN: its bridge's, with another letter in the middle."""
    head, _, tail = network.bridge.rpartition("-")
    return f"{head}v{tail}"
