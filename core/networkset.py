"""The networks themselves: their records, bridges, forwarding and rules. Who is on them: `networks`.

    <root>/networks/<name>.json      a network: bridge, subnet, gateway, internal
    <run>/networks/ip_forward        what the sysctl said before we changed it

The parts: `subnets` computes, `bridges` and `netdrivers` make links, `firewall` rules.
"""

from __future__ import annotations

import errno
import os
import time

from pyctr.core import bridges, errors, firewall, leases, netdrivers
from pyctr.core.fsutil import make_private_directory, read_json, write_json
from pyctr.core.linux import netlink, rtmessages
from pyctr.core.paths import Paths
from pyctr.core.record import Record
from pyctr.core.subnets import (
    DEFAULT,
    bridge_name,
    candidates,
    check_addresses,
    checked_subnet,
    overlap,
    parse_subnet,
    to_text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator
    from typing import Any


_LONGEST = 64
"""Letters of a network's name."""


class Network(Record):
    """One bridge network."""

    name: str
    bridge: str
    subnet: str
    gateway: str
    driver: str = "bridge"
    internal: bool = False
    chosen: bool = False
    """The subnet was asked for by a user and must not be exchanged for another."""
    created_at: float = 0.0
    labels: dict[str, str] = {}
    ip_range: str = ""
    """Addresses are given out of this part of the subnet; "" for all of it."""
    reserved: dict[str, str] = {}
    """Addresses that are never given out, by the name of whoever has them."""
    options: dict[str, str] = {}
    subnet6: str = ""
    """"" without IPv6."""
    gateway6: str = ""
    ip_range6: str = ""
    plugins: dict[str, Any] = {}
    """A list of CNI plugins, for driver cni."""


class NetworkSet:
    """All networks of one pyctr."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self._run = f"{paths.run}/networks"
        self._book = leases.Book(paths, _withdraw)

    def list(self) -> list[Network]:
        """All networks with a record, the default one first."""
        try:
            names = os.listdir(self.paths.networks)
        except FileNotFoundError:
            return []
        found = []
        for name in sorted(names, key=lambda name: (name != f"{DEFAULT}.json", name)):
            if name.endswith(".json"):
                try:
                    found.append(Network.from_dict(read_json(f"{self.paths.networks}/{name}")))
                except FileNotFoundError:
                    continue  # removed meanwhile
        return found

    def get(self, name: str) -> Network:
        """The network of a name. Raises NotFound with near names."""
        network = self._read(name)
        if network is None:
            from pyctr.core.near import nearest

            meant = nearest(name, sorted({DEFAULT, *(network.name for network in self.list())}))
            hint = f"did you mean '{meant}'?" if meant else "'pyctr network ls' lists them"
            raise errors.NotFound(f"no network '{name}'", hint=hint)
        return network

    def _read(self, name: str) -> Network | None:
        if "/" in name or name.startswith(".") or len(name) > _LONGEST:
            return None
        try:
            return Network.from_dict(read_json(f"{self.paths.networks}/{name}.json"))
        except FileNotFoundError:
            return None

    def inspect(self, name: str) -> dict[str, Any]:
        """The record with the containers on it, as a document."""
        document = self.get(name).to_dict()
        document["containers"] = {
            lease["id"]: {
                "name": lease["name"],
                "address": lease["address"],
                "address6": lease.get("address6", ""),
                "mac": lease["mac"],
            }
            for lease in self.leases(name)
        }
        return document

    def create(
        self,
        name: str,
        *,
        subnet: str = "",
        gateway: str = "",
        internal: bool = False,
        labels: dict[str, str] | None = None,
        ip_range: str = "",
        reserved: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        driver: str = "bridge",
        ipv6: bool = False,
        subnet6: str = "",
        gateway6: str = "",
        ip_range6: str = "",
    ) -> Network:
        """Record a user-defined network; its bridge is made when the first container starts on it."""
        options = netdrivers.checked(driver, options or {})
        if (
            not name
            or not all(c.isalnum() or c in "_.-" for c in name)
            or not name[0].isalnum()
            or len(name) > _LONGEST
            or name.endswith(".tmp")
        ):
            raise errors.UsageError(f"'{name}' is not a network name", hint="letters, digits, '_', '.', '-'")
        if name in (DEFAULT, "none", "host", "container", "default"):
            raise errors.Conflict(f"network name '{name}' is reserved", hint="choose another")
        with self._book.lock():
            if self._read(name):
                raise errors.Conflict(f"network '{name}' exists", hint=f"pyctr network inspect {name}")
            wanted = Network(
                name=name,
                bridge=bridge_name(self.paths.bridge, name),
                subnet=subnet,
                gateway=gateway,
                internal=internal,
                chosen=bool(subnet),
                created_at=time.time(),
                labels=labels or {},
                ip_range=ip_range,
                reserved=reserved or {},
                options=options,
                driver=driver,
                ip_range6=ip_range6,
            )
            reserved6 = [address for address in wanted.reserved.values() if ":" in address]
            if ipv6 or subnet6 or ip_range6 or reserved6:
                from pyctr.core import subnets6

                if ipv6 or subnet6:
                    taken = [(one.subnet6, f"network '{one.name}'") for one in self.list() if one.subnet6]
                    if driver not in netdrivers.FACES:
                        taken += bridges.used_prefixes(wanted.bridge)
                    wanted.subnet6, wanted.gateway6 = subnets6.settle(wanted.bridge, name, subnet6, gateway6, taken)
                subnets6.check(wanted.subnet6, ip_range6, reserved6)
            if driver in netdrivers.FACES:
                wanted.bridge = options["parent"]
                netdrivers.parent(wanted)
            if driver == netdrivers.CNI:
                return self._record(netdrivers.of_plugins(wanted))
            return self._create(netdrivers.settle(wanted))

    def remove(self, name: str) -> None:
        """Delete a user-defined network. Raises Conflict while a container is on it."""
        if name == DEFAULT:
            raise errors.Conflict("network 'bridge' cannot be removed", hint="it goes with 'pyctr demo down'")
        network = self.get(name)
        with self._book.lock():
            users = self.users(name)
            if users:
                raise errors.Conflict(
                    f"network '{name}' is used by '{users[0]}'" + (f" and {len(users) - 1} more" if users[1:] else ""),
                    hint="remove these containers first",
                )
            for lease in self.leases(name):
                self._book.drop(lease)
            self._undo(network)

    def prune(self, wanted: Callable[[float, dict[str, str]], bool], *, all: bool = False) -> builtins.list[str]:
        """Remove the user-defined networks that no container is on and that a rule wants gone; their names. With
        `all` the default one too, and then the host's sysctls are as they were found."""
        gone = []
        for network in self.list():
            if network.name == DEFAULT or not wanted(network.created_at, network.labels):
                continue
            try:
                self.remove(network.name)
            except (errors.Conflict, errors.NotFound):
                continue  # in use, or removed by somebody who was faster
            gone.append(network.name)
        if all:
            with self._book.lock():
                self._book.collect()
                default = self._read(DEFAULT)
                if default is not None and not any(True for _ in self.leases(DEFAULT)):
                    self._undo(default)
                    gone.append(DEFAULT)
                if not self.list():
                    self._restore_forwarding()
        return gone

    def _restore_forwarding(self) -> None:
        for memory, sysctl in (("ip_forward", bridges.FORWARD), ("ip6_forward", bridges.FORWARD6)):
            bridges.restore_forwarding(self.paths.proc, f"{self._run}/{memory}", sysctl)

    def users(self, name: str) -> builtins.list[str]:
        """Names of the containers on a network."""
        return [lease["name"] or lease["id"][:12] for lease in self.leases(name) if self._book.there(lease["id"])]

    def _undo(self, network: Network) -> None:
        try:
            if network.bridge and network.driver not in netdrivers.FACES:
                self._remove_bridge(network)
        except OSError as error:
            raise errors.from_oserror(error, f"removing network '{network.name}'") from error
        for path in (f"{self._run}/{network.name}.next", f"{self.paths.networks}/{network.name}.json"):
            leases.unlink(path)
        leases.rmdir(f"{self._run}/leases/{network.name}")

    def _remove_bridge(self, network: Network) -> None:
        firewall.remove(network.bridge, proc=self.paths.proc)
        with netlink.Netlink() as socket:
            if network.driver == "overlay":
                netdrivers.drop_tunnel(socket, network)
            for link in socket.links(name=network.bridge, stats=False):
                if link.kind == "bridge":
                    socket.send([rtmessages.delete(network.bridge)])

    def _create(self, wanted: Network) -> Network:
        """Record a network whose addresses may be left to us."""
        taken = self._used(wanted.bridge)
        reserved = {name: address for name, address in wanted.reserved.items() if ":" not in address}
        if wanted.subnet:
            subnet = checked_subnet(wanted.subnet)
            if wanted.driver in netdrivers.FACES:
                taken = self._ours()  # the subnet is the parent's, or its neighbours'
            for other, whose in taken:
                if overlap(subnet, other):
                    raise errors.Conflict(f"subnet '{subnet}' overlaps '{other}' of {whose}", hint="choose another")
        elif wanted.gateway or wanted.ip_range or reserved:
            raise errors.UsageError(
                f"network '{wanted.name}' needs a subnet for these addresses", hint="give --subnet too"
            )
        elif wanted.driver in netdrivers.FACES:
            raise errors.UsageError(
                f"a {wanted.driver} network needs the subnet of its parent '{wanted.bridge}'",
                hint="give --subnet, --gateway and --ip-range as its router has them",
            )
        else:
            subnet = bridges.adopted_subnet(wanted.bridge) or self._choose(wanted.name, taken)
        gateway = wanted.gateway or to_text(parse_subnet(subnet)[0] + 1)
        check_addresses(subnet, gateway, wanted.ip_range, reserved)
        return self._record(wanted.replace(subnet=subnet, gateway=gateway))

    def _record(self, network: Network) -> Network:
        make_private_directory(self.paths.networks)
        write_json(f"{self.paths.networks}/{network.name}.json", network.to_dict())
        return network

    def _choose(self, name: str, taken: builtins.list[tuple[str, str]]) -> str:
        for subnet in candidates(self.paths.bridge, name):
            if not any(overlap(subnet, other) for other, _ in taken):
                return subnet
        raise errors.NetworkError(f"no free subnet for network '{name}'", hint="create it with --subnet")

    def ensure(self, name: str = DEFAULT) -> Network:
        """Bridge, address, forwarding and rules of a network, made where missing; 0.3 ms when all is there.

        Raises NotFound, NetworkError, PermissionDenied.
        """
        with self._book.lock():
            return self._ensure(name)[0]

    def _ensure(self, name: str) -> tuple[Network, int]:
        network = self._read(name)
        try:
            if network is None:
                if name != DEFAULT:
                    return self._ensure(self.get(name).name)
                network = self._create(
                    Network(name=name, bridge=self.paths.bridge, subnet="", gateway="", created_at=time.time())
                )
            elif name == DEFAULT and self.paths.bridge not in (network.bridge, Paths.bridge):
                raise errors.Conflict(
                    f"network '{name}' is on bridge '{network.bridge}', not '{self.paths.bridge}'",
                    hint="leave the bridge out, or choose another --root",
                )
            if network.driver == netdrivers.CNI:
                raise errors.UsageError(
                    f"network '{name}' is made by plugins: it can only be a container's first and only one",
                    hint="another network, or a container of its own",
                )
            if network.driver in netdrivers.FACES:
                netdrivers.parent(network)
                return network, int(network.options.get(netdrivers.MTU) or 0)
            with netlink.Netlink() as socket:
                links = socket.links(name=network.bridge, stats=False)
                if links and links[0].kind != "bridge":
                    raise errors.NetworkError(
                        f"'{network.bridge}' is there and is not a bridge", hint="set PYCTR_BRIDGE to another name"
                    )
                # raised last when made, so an up bridge has its address
                if links and links[0].up:
                    mtu = links[0].mtu
                else:
                    network, mtu = self._make_bridge(socket, network, bool(links))
            if network.internal and not network.subnet6:
                bridges.mute6(self.paths.proc, network.bridge)
            self._forward(network)
            firewall.ensure(
                network.bridge,
                network.subnet,
                internal=network.internal,
                ports=self._book.published(name),
                classes=self._book.classes(name),
                proc=self.paths.proc,
                subnet6=network.subnet6,
            )
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                raise errors.from_oserror(error, f"setting up network '{name}'") from error
            from pyctr.core import netlacks

            raise netlacks.told(error) or errors.NetworkError(
                f"setting up network '{name}': {error.strerror or error} '{error.filename or ''}'",
                hint="'pyctr doctor' tells what this kernel lacks",
            ) from error
        return network, mtu

    def _forward(self, network: Network) -> None:
        bridges.forward(self.paths.proc, f"{self._run}/ip_forward")
        if network.subnet6 and not network.internal:
            bridges.forward(self.paths.proc, f"{self._run}/ip6_forward", bridges.FORWARD6)

    def _make_bridge(self, socket: netlink.Netlink, network: Network, there: bool) -> tuple[Network, int]:
        used = self._used(network.bridge)
        clash = [pair for pair in used if overlap(network.subnet, pair[0])]
        if clash and (network.chosen or any(True for _ in self.leases(network.name))):
            raise errors.NetworkError(
                f"subnet '{network.subnet}' of network '{network.name}' is now in use by {clash[0][1]}",
                hint="remove one of them",
            )
        if clash:
            subnet = self._choose(network.name, used)
            network = network.replace(subnet=subnet, gateway=to_text(parse_subnet(subnet)[0] + 1))
            write_json(f"{self.paths.networks}/{network.name}.json", network.to_dict())
        length = network.subnet.partition("/")[2]
        mtu = netdrivers.tunnel_mtu(network, bridges.uplink_mtu(socket))
        bridges.raise_bridge(
            socket, network.bridge, network.gateway, length, proc=self.paths.proc, there=there, mtu=mtu
        )
        if network.subnet6:
            address = f"{network.gateway6}/{network.subnet6.partition('/')[2]}"
            index = netlink.index(network.bridge)
            socket.send([rtmessages.address(index, address, name=network.bridge)])
        if network.driver == "overlay":
            try:
                netdrivers.raise_tunnel(socket, network, mtu)
            except BaseException:
                socket.send([rtmessages.delete(network.bridge)])  # up, it would count as made
                raise
        return network, mtu

    def _used(self, bridge: str) -> builtins.list[tuple[str, str]]:
        """Subnets that others use: this host, and our other networks."""
        return bridges.used_subnets(bridge) + self._ours(bridge)

    def _ours(self, bridge: str = "") -> builtins.list[tuple[str, str]]:
        return [
            (network.subnet, f"network '{network.name}'")
            for network in self.list()
            if network.subnet and network.bridge != bridge
        ]

    def lease(self, id: str) -> dict[str, Any] | None:
        """A container's attachment as last given out."""
        return self._book.lease(id)

    def leases(self, name: str = DEFAULT) -> Iterator[dict[str, Any]]:
        """Attachments on a network, by address."""
        return self._book.leases(name)

    def forget(self) -> None:
        """Delete every bridge, table, lease and record. Containers must be gone."""
        with self._book.lock():
            networks = self.list()
            for id in self._book.ids():
                lease = self.lease(id)
                if lease:
                    self._book.drop(lease)
            for network in networks:
                self._undo(network)
            self._restore_forwarding()
        import shutil

        shutil.rmtree(self._run, ignore_errors=True)
        leases.rmdir(self.paths.networks)


def _withdraw(lease: dict[str, Any], *, looked: bool = False) -> None:
    if lease.get("mode") == "cni":
        return  # its plugins have
    try:
        firewall.unpublish(lease, looked=looked)
    except OSError as error:
        raise errors.NetworkError(f"withdrawing ports: {error.strerror or error}") from error
