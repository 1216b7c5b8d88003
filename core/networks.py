"""Networks: records, address leases, published ports. Links are `netns`, rules are `firewall`, names are `hosts`.

    <root>/networks/<name>.json            a network: bridge, subnet, gateway, internal
    <run>/networks/lock                    flock around every change below
    <run>/networks/ids/<id>                a container's attachment, hard-linked as
    <run>/networks/leases/<name>/<address> its lease: an address is taken when the file is there
    <run>/networks/ports/tcp-8080/<host ip or any>      holds the id of the container that publishes it
    <run>/networks/ip_forward              what the sysctl said before we changed it

One small file per lease instead of one document: taking an address costs the same with a thousand containers as
with one. All of it is gone after a reboot, like the containers it spoke of. A lease belongs to a container from its
first start until its removal; its ports from start until stop. Whoever needs an address or a port looks whether its
holder is still there, so a killed client leaks nothing for good.
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from pyctr.core import errors, firewall, netns
from pyctr.core.fsutil import Lock, make_private_directory, read_json, write_json
from pyctr.core.linux import netlink
from pyctr.core.paths import Paths
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterator
    from typing import Any

    from pyctr.core.spec import ContainerSpec, Port

DEFAULT = "bridge"
_GRACE = 10.0
"""Seconds in which a lease may exist before its container's directory does."""
_RANDOM_PORTS = 49153, 65535


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


def to_int(address: str) -> int:
    return int.from_bytes(_socket.inet_aton(address), "big")


def to_text(value: int) -> str:
    return _socket.inet_ntoa(value.to_bytes(4, "big"))


def parse_subnet(text: str) -> tuple[int, int]:
    """("10.88.0.0/16") -> (first address, size). Raises UsageError."""
    base, _, length = text.partition("/")
    try:
        if base.count(".") != 3 or not length.isdigit() or not 1 <= int(length) <= 30:
            raise ValueError
        first = to_int(base)
    except (OSError, ValueError):
        raise errors.UsageError(f"'{text}' is not an IPv4 subnet", hint="like 10.90.0.0/24, at most /30") from None
    size = 1 << (32 - int(length))
    return first & ~(size - 1), size


def overlap(one: str, other: str) -> bool:
    a, a_size = parse_subnet(one)
    base, _, length = other.partition("/")
    b_size = 1 << (32 - int(length or 32))
    b = to_int(base) & ~(b_size - 1)
    return a < b + b_size and b < a + a_size


def candidates(bridge: str, name: str) -> Iterator[str]:
    """Subnets to try for a network, best first.

    pyctr0 gets 10.88.0.0/16; another bridge starts at a place that depends on its name only, so that several pyctrs
    on one host rarely meet.
    """
    if bridge == "pyctr0" and name == DEFAULT:
        for second in (*range(88, 100), *range(200, 256)):
            yield f"10.{second}.0.0/16"
        return
    import zlib

    number = zlib.crc32(f"{bridge}/{name}".encode())
    if name == DEFAULT:
        base, slots, length = to_int("10.100.0.0"), 1584, 20
    elif bridge == "pyctr0":
        base, slots, length, number = to_int("10.89.0.0"), 256 * 11, 24, 0
    else:
        base, slots, length = to_int("10.200.0.0"), 256 * 55, 24
    for step in range(slots):
        yield f"{to_text(base + ((number + step) % slots << (32 - length)))}/{length}"


def bridge_name(bridge: str, name: str) -> str:
    """The bridge of a user-defined network: our default bridge's name and a few digits of the network's."""
    if name == DEFAULT:
        return bridge
    import zlib

    return f"{bridge[:9]}-{zlib.crc32(name.encode()) & 0xFFFFF:05x}"


class Networks:
    """All networks of one pyctr."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self._run = f"{paths.run}/networks"

    # -- records -------------------------------------------------------------------------------------------------

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
            import difflib

            known = sorted({DEFAULT, *(network.name for network in self.list())})
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"pyctr network create {name}"
            raise errors.NotFound(f"no network '{name}'", hint=hint)
        return network

    def _read(self, name: str) -> Network | None:
        if "/" in name or name.startswith("."):
            return None
        try:
            return Network.from_dict(read_json(f"{self.paths.networks}/{name}.json"))
        except FileNotFoundError:
            return None

    def inspect(self, name: str) -> dict[str, Any]:
        """The record with the containers on it, as a document."""
        document = self.get(name).to_dict()
        document["containers"] = {
            lease["id"]: {"name": lease["name"], "address": lease["address"], "mac": lease["mac"]}
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
    ) -> Network:
        """Record a user-defined bridge network; its bridge is made when the first container starts on it."""
        if not name or not all(c.isalnum() or c in "_.-" for c in name) or not name[0].isalnum() or len(name) > 64:
            raise errors.UsageError(f"'{name}' is not a network name", hint="letters, digits, '_', '.', '-'")
        if name in (DEFAULT, "none", "host", "container", "default"):
            raise errors.Conflict(f"network name '{name}' is reserved")
        with self._lock():
            if self._read(name):
                raise errors.Conflict(f"network '{name}' exists", hint=f"pyctr network inspect {name}")
            return self._create(name, subnet, gateway, internal, labels or {})

    def remove(self, name: str) -> None:
        """Delete a user-defined network. Raises Conflict while a container is on it."""
        if name == DEFAULT:
            raise errors.Conflict("network 'bridge' cannot be removed", hint="it goes with 'pyctr demo down'")
        network = self.get(name)
        with self._lock():
            users = [lease["name"] or lease["id"][:12] for lease in self.leases(name) if self._there(lease["id"])]
            if users:
                raise errors.Conflict(
                    f"network '{name}' is used by '{users[0]}'" + (f" and {len(users) - 1} more" if users[1:] else ""),
                    hint="remove these containers first",
                )
            for lease in self.leases(name):
                self._release(lease)
            self._undo(network)

    def _undo(self, network: Network) -> None:
        try:
            firewall.remove(network.bridge, proc=self.paths.proc)
            with netlink.Netlink() as socket:
                for link in socket.links(name=network.bridge, stats=False):
                    if link.kind == "bridge":
                        socket.send([netlink.delete(network.bridge)])
        except OSError as error:
            raise errors.from_oserror(error, f"removing network '{network.name}'") from error
        for path in (f"{self._run}/{network.name}.next", f"{self.paths.networks}/{network.name}.json"):
            _unlink(path)
        _rmdir(f"{self._run}/leases/{network.name}")

    def _create(self, name: str, subnet: str, gateway: str, internal: bool, labels: dict[str, str]) -> Network:
        bridge = bridge_name(self.paths.bridge, name)
        taken = self._taken(bridge)
        if subnet:
            first, size = parse_subnet(subnet)
            subnet = f"{to_text(first)}/{33 - size.bit_length()}"
            for other, whose in taken:
                if overlap(subnet, other):
                    raise errors.Conflict(f"subnet '{subnet}' overlaps '{other}' of {whose}", hint="choose another")
        else:
            subnet = self._adopt(bridge) or self._choose(bridge, name, taken)
        first, size = parse_subnet(subnet)
        if gateway and not first < to_int(gateway) < first + size - 1:
            raise errors.UsageError(f"gateway '{gateway}' is not in '{subnet}'")
        network = Network(
            name=name,
            bridge=bridge,
            subnet=subnet,
            gateway=gateway or to_text(first + 1),
            internal=internal,
            chosen=bool(gateway),
            created_at=time.time(),
            labels=labels,
        )
        make_private_directory(self.paths.networks)
        write_json(f"{self.paths.networks}/{name}.json", network.to_dict())
        return network

    def _choose(self, bridge: str, name: str, taken: builtins.list[tuple[str, str]]) -> str:
        for subnet in candidates(self.paths.bridge, name):
            if not any(overlap(subnet, other) for other, _ in taken):
                return subnet
        raise errors.NetworkError(f"no free subnet for network '{name}'", hint="create it with --subnet")

    def _adopt(self, bridge: str) -> str:
        """The subnet of a bridge of ours that outlived its record, or ""."""
        with netlink.Netlink() as socket:
            links = socket.links(name=bridge, stats=False)
            if not links or links[0].kind != "bridge":
                return ""
            for index, address in socket.addresses():
                if index == links[0].index and not address.endswith(("/31", "/32")):
                    first, size = parse_subnet(address)
                    return (
                        f"{to_text(first)}/{33 - size.bit_length()}"
                        if to_int(address.split("/")[0]) == first + 1
                        else ""
                    )
        return ""

    def _taken(self, bridge: str) -> builtins.list[tuple[str, str]]:
        """Subnets that others use: routes and addresses of this host, our other networks, and (as "of") who."""
        with netlink.Netlink() as socket:
            names = {link.index: link.name for link in socket.links(stats=False)}
            taken = [
                (route.destination, f"interface '{names.get(route.oif, '?')}'")
                for route in socket.routes()
                if not route.destination.endswith("/0") and names.get(route.oif) != bridge
            ]
            taken += [
                (address, f"interface '{names.get(index, '?')}'")
                for index, address in socket.addresses()
                if names.get(index) != bridge
            ]
        taken += [(network.subnet, f"network '{network.name}'") for network in self.list() if network.bridge != bridge]
        return taken

    # -- the bridge ----------------------------------------------------------------------------------------------

    def ensure(self, name: str = DEFAULT) -> Network:
        """Bridge, address, forwarding and rules of a network, made where missing; 0.3 ms when all is there.

        Raises NotFound, NetworkError, PermissionDenied.
        """
        with self._lock():
            return self._ensure(name)[0]

    def _ensure(self, name: str) -> tuple[Network, int]:
        network = self._read(name)
        try:
            if network is None:
                if name != DEFAULT:
                    return self._ensure(self.get(name).name)
                network = self._create(name, "", "", False, {})
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
            self._forwarding()
            firewall.ensure(
                network.bridge,
                network.subnet,
                internal=network.internal,
                ports=self._published(name),
                proc=self.paths.proc,
            )
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                raise errors.from_oserror(error, f"setting up network '{name}'") from error
            raise errors.NetworkError(
                f"setting up network '{name}': {error.strerror or error} '{error.filename or ''}'",
                hint="'pyctr doctor' tells what this kernel lacks",
            ) from error
        return network, mtu

    def _make_bridge(self, socket: netlink.Netlink, network: Network, there: bool) -> tuple[Network, int]:
        clash = [pair for pair in self._taken(network.bridge) if overlap(network.subnet, pair[0])]
        if clash and (network.chosen or any(True for _ in self.leases(network.name))):
            raise errors.NetworkError(
                f"subnet '{network.subnet}' of network '{network.name}' is now in use by {clash[0][1]}",
                hint="remove one of them",
            )
        if clash:
            subnet = self._choose(network.bridge, network.name, self._taken(network.bridge))
            network = network.replace(subnet=subnet, gateway=to_text(parse_subnet(subnet)[0] + 1))
            write_json(f"{self.paths.networks}/{network.name}.json", network.to_dict())
        mtu = uplink_mtu(socket)
        mac = netlink.mac(mac_of(network.gateway))
        length = network.subnet.partition("/")[2]
        if not there:
            socket.send([netlink.bridge(network.bridge, mtu=mtu, mac=mac, up=False)])
        index = netlink.index(network.bridge)
        socket.send(
            [
                netlink.address(index, f"{network.gateway}/{length}", name=network.bridge),
                netlink.up(index, network.bridge),
            ]
        )
        return network, mtu

    def _forwarding(self) -> None:
        path = f"{self.paths.proc}/sys/net/ipv4/ip_forward"
        with open(path) as file:
            before = file.read().strip()
        if before == "1":
            return
        # remembered before it is changed, so that remove_all can give it back
        write_json(f"{self._run}/ip_forward", before, durable=False)
        with open(path, "w") as file:
            file.write("1")

    # -- attachments ---------------------------------------------------------------------------------------------

    def attach(self, id: str, name: str, spec: ContainerSpec) -> dict[str, Any]:
        """The attachment of a container about to start: its lease, made or found again, and its ports, reserved.

        {"mode": "none"|"host"} or {"mode": "container", "container": REF} or
        {"mode": "bridge", "id", "name", "names", "network", "bridge", "host_if", "container_if",
         "address": "10.88.0.7/16", "gateway", "mac", "mtu", "hairpin",
         "ports": [{"host_ip", "host_port", "container_port", "protocol"}]}

        Raises Conflict naming who has a port or an address, UsageError, NotFound, NetworkError. Nothing is kept then.
        """
        mode, _, rest = spec.network.partition(":")
        if mode in ("none", "host"):
            return {"mode": mode}
        if mode == "container":
            if spec.ports:
                raise errors.UsageError(
                    f"ports cannot be published in the network of '{rest}'", hint="publish them there"
                )
            return {"mode": mode, "container": rest}
        with self._lock():
            network, mtu = self._ensure(DEFAULT if mode in ("", "default") else mode)
            before = self.lease(id)
            if before and before["network"] != network.name:
                self._release(before)
                before = None
            address = self._address(network, id, spec.ip, before)
            attachment = {
                "mode": "bridge",
                "id": id,
                "name": name,
                "names": _names(name, spec),
                "network": network.name,
                "bridge": network.bridge,
                "host_if": netns.host_if(id),
                "container_if": "eth0",
                "address": f"{address}/{network.subnet.partition('/')[2]}",
                "gateway": "" if network.internal else network.gateway,
                "mac": (spec.mac or mac_of(address)).lower(),
                "mtu": mtu,
                "hairpin": bool(spec.ports) and self._bridge_filtered(),
                "ports": [],
            }
            try:
                netlink.mac(str(attachment["mac"]))
            except ValueError as error:
                raise errors.UsageError(str(error), hint="like 02:70:0a:58:00:07") from None
            if before:
                self._free_ports(before)
                _unlink(f"{self._run}/leases/{network.name}/{before['address'].partition('/')[0]}")
            reserved: builtins.list[dict[str, Any]] = []
            try:
                for position, port in enumerate(spec.ports):
                    old = before["ports"][position] if before and position < len(before["ports"]) else None
                    reserved.append(self._reserve(id, port, old))
                attachment["ports"] = reserved
                self._write(attachment, address)
            except BaseException:
                self._free_ports({"id": id, "ports": reserved})
                _unlink(f"{self._run}/ids/{id}")
                raise
            return attachment

    def _write(self, attachment: dict[str, Any], address: str) -> None:
        record = f"{self._run}/ids/{attachment['id']}"
        write_json(record, attachment, durable=False)
        directory = f"{self._run}/leases/{attachment['network']}"
        try:
            os.link(record, f"{directory}/{address}")
        except FileNotFoundError:
            make_private_directory(directory)
            os.link(record, f"{directory}/{address}")

    def _address(self, network: Network, id: str, wish: str, before: dict[str, Any] | None) -> str:
        first, size = parse_subnet(network.subnet)
        gateway = to_int(network.gateway)
        directory = f"{self._run}/leases/{network.name}"
        if wish:
            try:
                number = to_int(wish) if wish.count(".") == 3 else -1
            except OSError:
                number = -1
            if not first < number < first + size - 1 or number == gateway:
                raise errors.UsageError(
                    f"address '{wish}' cannot be given on network '{network.name}'",
                    hint=f"one of {network.subnet}, but not {network.gateway}",
                )
            holder = self._holder(f"{directory}/{to_text(number)}")
            if holder and holder["id"] != id:
                if self._there(holder["id"]):
                    raise errors.Conflict(
                        f"address '{wish}' is taken by container '{holder['name'] or holder['id'][:12]}'"
                    )
                self._release(holder)
            return to_text(number)
        if before:
            mine = str(before["address"]).partition("/")[0]
            if first < to_int(mine) < first + size - 1:
                return mine
        # round and round, so that an address comes back as late as possible: others may still have it in a cache
        cursor = f"{self._run}/{network.name}.next"
        try:
            with open(cursor) as file:
                start = int(file.read())
        except (FileNotFoundError, ValueError):
            start = 2
        for attempt in (1, 2):
            for step in range(size - 2):
                offset = 1 + (start - 1 + step) % (size - 2)
                address = to_text(first + offset)
                if first + offset != gateway and not os.path.exists(f"{directory}/{address}"):
                    with open(cursor, "w") as file:
                        file.write(str(offset + 1))
                    return address
            if attempt == 1 and not self._collect():
                break
        raise errors.NetworkError(
            f"network '{network.name}' has no free address in '{network.subnet}'",
            hint="remove stopped containers, or create a larger network",
        )

    def publish(self, attachment: dict[str, Any]) -> None:
        """Forward the attachment's ports to it; before its processes run. Raises NetworkError."""
        if attachment.get("mode") != "bridge" or not attachment.get("ports"):
            return
        try:
            self._localnet(attachment["bridge"])
            firewall.publish(attachment)
        except OSError as error:
            raise errors.NetworkError(f"publishing ports: {error.strerror or error}") from error

    def _localnet(self, bridge: str) -> None:
        """Let this host's 127.0.0.1 be translated onto the bridge; the table's `guard` keeps the way back shut."""
        path = f"{self.paths.proc}/sys/net/ipv4/conf/{bridge}/route_localnet"
        with open(path, "r+") as file:
            if file.read(1) != "1":
                file.seek(0)
                file.write("1")

    def unpublish(self, attachment: dict[str, Any]) -> None:
        """Give an attachment's ports back, keeping its address: at stop."""
        if attachment.get("mode") != "bridge" or not attachment.get("ports"):
            return
        with self._lock():
            self._free_ports(attachment)

    def release(self, id: str) -> None:
        """Give back everything a container holds: at removal. Unknown ids are fine."""
        if not os.path.exists(f"{self._run}/ids/{id}"):
            return
        with self._lock():
            lease = self.lease(id)
            if lease:
                self._release(lease)

    def _release(self, lease: dict[str, Any]) -> None:
        self._free_ports(lease)
        _unlink(f"{self._run}/leases/{lease['network']}/{lease['address'].partition('/')[0]}")
        _unlink(f"{self._run}/ids/{lease['id']}")

    def lease(self, id: str) -> dict[str, Any] | None:
        """A container's attachment as last given out."""
        return self._holder(f"{self._run}/ids/{id}")

    def leases(self, name: str = DEFAULT) -> Iterator[dict[str, Any]]:
        """Attachments on a network, by address."""
        directory = f"{self._run}/leases/{name}"
        try:
            addresses = os.listdir(directory)
        except FileNotFoundError:
            return
        for address in sorted(addresses, key=to_int):
            lease = self._holder(f"{directory}/{address}")
            if lease:
                yield lease

    def _holder(self, path: str) -> dict[str, Any] | None:
        try:
            document: dict[str, Any] = read_json(path)
        except FileNotFoundError:
            return None
        return document

    def collect(self) -> builtins.list[str]:
        """Release what vanished containers held; their ids."""
        if not os.path.isdir(self._run):
            return []
        with self._lock():
            return self._collect()

    def _collect(self) -> builtins.list[str]:
        gone = []
        try:
            ids = os.listdir(f"{self._run}/ids")
        except FileNotFoundError:
            return []
        for id in ids:
            lease = self.lease(id)
            if lease and not self._there(id):
                self._release(lease)
                gone.append(id)
        return gone

    def _there(self, id: str) -> bool:
        """Whether a container exists, or may be about to."""
        if os.path.isdir(self.paths.container(id)):
            return True
        try:
            return time.time() - os.stat(f"{self._run}/ids/{id}").st_mtime < _GRACE
        except FileNotFoundError:
            return False

    def _busy(self, id: str) -> bool:
        """Whether a container runs, waits to be restarted, or is between two states just now."""
        try:
            state = read_json(self.paths.container(id, "state.json"))
        except (FileNotFoundError, NotADirectoryError):
            return self._there(id)
        process = state.get("process") or {}
        if process and process.get("boot_id") == _boot_id(self.paths.proc):
            for pid, start in (("pid", "start_time"), ("shim_pid", "shim_start_time")):
                if _alive(process.get(pid, 0), process.get(start, 0), self.paths.proc):
                    return True
        lock = Lock(self.paths.container(id, "lock"))
        try:
            if not lock.try_acquire():
                return True
        except FileNotFoundError:
            return False
        lock.release()
        return False

    # -- ports ---------------------------------------------------------------------------------------------------

    def _reserve(self, id: str, port: Port, old: dict[str, Any] | None) -> dict[str, Any]:
        host_ip = "" if port.host_ip in ("", "0.0.0.0", "*") else port.host_ip
        protocol = port.protocol or "tcp"
        if protocol not in firewall.PROTOCOLS:
            raise errors.UsageError(f"'{protocol}' is not a protocol of a port", hint="tcp, udp or sctp")
        if ":" in host_ip:
            raise errors.Unsupported(f"publishing on the IPv6 address '{host_ip}' is not possible yet", hint="use IPv4")
        for value in (port.container_port, port.host_port):
            if not 0 <= value <= 65535:
                raise errors.UsageError(f"'{value}' is not a port", hint="1 to 65535")
        document = {
            "host_ip": host_ip,
            "host_port": port.host_port,
            "container_port": port.container_port,
            "protocol": protocol,
        }
        if port.host_port:
            self._claim(id, host_ip, port.host_port, protocol)
            return document
        wishes = [old["host_port"]] if old else []
        for wish in (*wishes, *(_random_port() for _ in range(200))):
            try:
                self._claim(id, host_ip, wish, protocol)
            except errors.Conflict:
                continue
            return {**document, "host_port": wish}
        raise errors.NetworkError("no free host port found in 200 tries", hint="name one: -p HOST:CONTAINER")

    def _claim(self, id: str, host_ip: str, number: int, protocol: str) -> None:
        directory = f"{self._run}/ports/{protocol}-{number}"
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            names = []
            make_private_directory(directory)
        for name in names:
            if host_ip and name not in ("any", host_ip):
                continue
            with open(f"{directory}/{name}") as file:
                holder = file.read()
            if holder != id and self._busy(holder):
                lease = self.lease(holder)
                who = (lease or {}).get("name") or holder[:12]
                raise errors.Conflict(
                    f"port {number}/{protocol} is taken by container '{who}'",
                    hint=f"choose another host port, or 'pyctr stop {who}'",
                )
            lease = self.lease(holder)
            if lease and holder != id:
                self._free_ports(lease)
            else:
                _unlink(f"{directory}/{name}")
        self._listening(host_ip, number, protocol)
        make_private_directory(directory)
        with open(f"{directory}/{host_ip or 'any'}", "w") as file:
            file.write(id)

    def _listening(self, host_ip: str, number: int, protocol: str) -> None:
        """Refuse a port that a process of this host listens on. Binding is the question, /proc only says who."""
        if protocol == "sctp":
            return
        kind = _socket.SOCK_STREAM if protocol == "tcp" else _socket.SOCK_DGRAM
        probe = _socket.socket(_socket.AF_INET, kind | _socket.SOCK_CLOEXEC)
        try:
            if protocol == "tcp":
                probe.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            probe.bind((host_ip or "0.0.0.0", number))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise errors.UsageError(
                    f"'{host_ip}' is not an address of this host", hint="'ip address' lists them"
                ) from None
            if error.errno != errno.EADDRINUSE:
                raise
            from pyctr.core.portowner import owner

            raise errors.Conflict(
                f"port {number}/{protocol} is taken by {owner(number, protocol, self.paths.proc)}",
                hint="choose another host port",
            ) from None
        finally:
            probe.close()

    def _free_ports(self, lease: dict[str, Any]) -> None:
        mine = []
        for port in lease["ports"]:
            directory = f"{self._run}/ports/{port['protocol']}-{port['host_port']}"
            path = f"{directory}/{port['host_ip'] or 'any'}"
            try:
                with open(path) as file:
                    if file.read() != lease["id"]:
                        continue  # somebody else's by now
            except FileNotFoundError:
                continue
            os.unlink(path)
            _rmdir(directory)
            mine.append(port)
        if mine and "bridge" in lease:
            try:
                firewall.unpublish({**lease, "ports": mine})
            except OSError as error:
                raise errors.NetworkError(f"withdrawing ports: {error.strerror or error}") from error

    def _published(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Reserved ports of a network, for a table that has to be made anew."""
        for lease in self.leases(name):
            for port in lease["ports"]:
                held = f"{self._run}/ports/{port['protocol']}-{port['host_port']}/{port['host_ip'] or 'any'}"
                if os.path.exists(held) and self._busy(lease["id"]):
                    yield lease["address"].partition("/")[0], {**port, "owner": lease["id"][:12]}

    def _bridge_filtered(self) -> bool:
        """br_netfilter translates addresses already on the bridge: a container's call to its own published port then
        leaves by the port it came from, which a bridge port does only in hairpin mode."""
        try:
            with open(f"{self.paths.proc}/sys/net/bridge/bridge-nf-call-iptables") as file:
                return file.read(1) == "1"
        except FileNotFoundError:
            return False

    def _lock(self) -> Lock:
        path = f"{self._run}/lock"
        if not os.path.isdir(f"{self._run}/ids"):
            make_private_directory(f"{self._run}/ids")
        return Lock(path)

    def forget(self) -> None:
        """Delete every bridge, table, lease and record. Containers must be gone."""
        with self._lock():
            networks = self.list()
            for id in os.listdir(f"{self._run}/ids"):
                lease = self.lease(id)
                if lease:
                    self._release(lease)
            for network in networks:
                self._undo(network)
            self._restore_forwarding()
        import shutil

        shutil.rmtree(self._run, ignore_errors=True)
        _rmdir(self.paths.networks)

    def _restore_forwarding(self) -> None:
        """Give ip_forward back as it was found, unless somebody else's bridge may have come to rely on it."""
        try:
            before = read_json(f"{self._run}/ip_forward")
        except FileNotFoundError:
            return
        with netlink.Netlink() as socket:
            if socket.links(kind="bridge", stats=False):
                return
        with open(f"{self.paths.proc}/sys/net/ipv4/ip_forward", "w") as file:
            file.write(before)


def remove_all(paths: Paths) -> None:
    """Delete every bridge, firewall table, lease and network record of one pyctr; nothing there is fine."""
    if os.path.isdir(paths.networks) or os.path.isdir(f"{paths.run}/networks"):
        Networks(paths).forget()


def mac_of(address: str) -> str:
    """A locally administered MAC that follows from the address: whoever gets it next answers to old ARP entries."""
    return "02:70:" + ":".join(f"{byte:02x}" for byte in _socket.inet_aton(address))


def uplink_mtu(socket: netlink.Netlink) -> int:
    """MTU of the interface of the default route with the lowest metric, 1500 without one."""
    defaults = [r for r in socket.routes() if r.destination == "0.0.0.0/0" and r.table == netlink.RT_TABLE_MAIN]
    if defaults:
        best = min(defaults, key=lambda route: route.metric)
        for link in socket.links(stats=False):
            if link.index == best.oif:
                return link.mtu
    return 1500


def _names(name: str, spec: ContainerSpec) -> builtins.list[str]:
    names = [spec.hostname, name, *spec.network_aliases]
    return list(dict.fromkeys(item for item in names if item))


def _random_port() -> int:
    low, high = _RANDOM_PORTS
    return low + int.from_bytes(os.urandom(4), "big") % (high - low + 1)


def _boot_id(proc: str) -> str:
    with open(f"{proc}/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _alive(pid: int, start_time: int, proc: str) -> bool:
    try:
        with open(f"{proc}/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] not in (b"Z", b"X") and int(fields[19]) == start_time


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _rmdir(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        pass  # never made, or somebody else's things are in it
