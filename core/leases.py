"""Who holds which address and which host port: a book of small files, changed under one lock.

    <run>/networks/lock                    flock around every change
    <run>/networks/ids/<id>[@<network>]    a container's attachment (on a further network), hard-linked as
    <run>/networks/leases/<name>/<address> its lease: an address is taken when the file is there; likewise leases6
    <run>/networks/<name>.next             where to look for the next address
    <run>/networks/<name>.names            "id address name name", one line per container on the network
    <run>/networks/ports/tcp-8080/<host ip or any>      holds the id of the container that publishes it

One small file per lease instead of one document: taking an address costs the same with a thousand containers as
with one. Whoever needs an address or a port looks whether its holder is still there, so that a killed client leaks
nothing for good.
"""

from __future__ import annotations

import os
import time

from pyctr.core import containers, errors, etcfiles, firewall, hostports
from pyctr.core.fsutil import Lock, make_private_directory, read_json, write_json
from pyctr.core.subnets import DEFAULT, parse_subnet, to_int, to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyctr.core.networkset import Network
    from pyctr.core.paths import Paths
    from pyctr.core.spec import Port

_GRACE = 10.0
"""Seconds in which a lease may exist before its container's directory does."""
_RANDOM_PORTS = 49153, 65535
SPREAD = 100
"""Containers on a network up to which names are told to those already running."""


class Book:
    """All leases of one pyctr. `withdraw` takes published ports out of the firewall when their holder is gone; with
    `looked` only what leads to that one, as far as it is there.

    Methods that change something expect the lock to be held.
    """

    def __init__(self, paths: Paths, withdraw: Callable[..., None]) -> None:
        self.paths = paths
        self.run = f"{paths.run}/networks"
        self._withdraw = withdraw

    def lock(self) -> Lock:
        """The lock to hold while anything here changes."""
        path = f"{self.run}/lock"
        if not os.path.isdir(f"{self.run}/ids"):
            make_private_directory(f"{self.run}/ids")
        return Lock(path)

    def lease(self, id: str) -> dict[str, Any] | None:
        """A container's attachment as last given out; with a `key` the one on a further network."""
        return self._holder(f"{self.run}/ids/{id}")

    def leases(self, name: str) -> Iterator[dict[str, Any]]:
        """Attachments on a network, by address."""
        directory = f"{self.run}/leases/{name}"
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

    def write(self, attachment: dict[str, Any]) -> None:
        """Enter an attachment: its record, its lease, its names."""
        address = attachment["address"].partition("/")[0]
        record = f"{self.run}/ids/{attachment.get('key') or attachment['id']}"
        directory = f"{self.run}/leases/{attachment['network']}"
        unlink(f"{directory}/{address}")
        unlink(record)  # a rename onto nothing is cheaper than one onto a file, see ext4(5), auto_da_alloc
        write_json(record, attachment, durable=False)
        try:
            os.link(record, f"{directory}/{address}")
        except FileNotFoundError:
            make_private_directory(directory)
            os.link(record, f"{directory}/{address}")
        if six := str(attachment.get("address6") or "").partition("/")[0]:
            directory = f"{self.run}/leases6/{attachment['network']}"
            unlink(f"{directory}/{six}")
            make_private_directory(directory)
            os.link(record, f"{directory}/{six}")
            address = f"{address},{six}"
        self._name(attachment["network"], attachment["id"], f"{address} {' '.join(attachment['names'])}")

    def address(self, network: Network, id: str, wish: str, before: dict[str, Any] | None) -> str:
        """An address for a container: the one wished, the one it had, or the next free one."""
        first, size = parse_subnet(network.subnet)
        gateway = to_int(network.gateway)
        directory = f"{self.run}/leases/{network.name}"
        if wish:
            try:
                number = to_int(wish) if wish.count(".") == 3 else -1
            except OSError:
                number = -1
            if not first < number < first + size - 1 or number == gateway or wish in network.reserved.values():
                raise errors.UsageError(
                    f"address '{wish}' cannot be given on network '{network.name}'",
                    hint=f"one of {network.subnet}, but not {network.gateway}",
                )
            holder = self._holder(f"{directory}/{to_text(number)}")
            if holder and holder["id"] != id:
                if self.there(holder["id"]):
                    raise errors.Conflict(
                        f"address '{wish}' is taken by container '{holder['name'] or holder['id'][:12]}'"
                    )
                self.drop(holder)
            return to_text(number)
        if before:
            mine = str(before["address"]).partition("/")[0]
            if first < to_int(mine) < first + size - 1:
                return mine
        # round and round, so that an address comes back as late as possible: others may still have it in a cache
        cursor = os.open(f"{self.run}/{network.name}.next", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            start = int(os.pread(cursor, 16, 0) or b"2")
            offset = self._free_offset(network, start)
            # fixed width and no truncation: ext4 writes out what is truncated (1.2 ms where /run is not a tmpfs)
            os.pwrite(cursor, b"%10d" % (offset + 1), 0)
            return to_text(first + offset)
        finally:
            os.close(cursor)

    def address6(self, network: Network, id: str, wish: str, address: str, before: dict[str, Any] | None) -> str:
        """The IPv6 address wished, the one it had, or the first free one from its IPv4 address's place on."""
        from pyctr.core import subnets6

        first, size = subnets6.parse(network.subnet6)
        directory = f"{self.run}/leases6/{network.name}"
        given = [network.gateway6, *(one for one in network.reserved.values() if ":" in one)]
        taken = {subnets6.to_int(one) for one in given}
        if wish:
            number = subnets6.to_int(wish)
            if not first < number < first + size or number in taken:
                raise errors.UsageError(
                    f"address '{wish}' cannot be given on network '{network.name}'",
                    hint=f"one of {network.subnet6}, but not {network.gateway6}",
                )
            holder = self._holder(f"{directory}/{subnets6.to_text(number)}")
            if holder and holder["id"] != id:
                if self.there(holder["id"]):
                    raise errors.Conflict(
                        f"address '{wish}' is taken by container '{holder['name'] or holder['id'][:12]}'"
                    )
                self.drop(holder)
            return subnets6.to_text(number)
        if before and before.get("address6"):
            mine = str(before["address6"]).partition("/")[0]
            if first < subnets6.to_int(mine) < first + size:
                return mine
        offset = to_int(address) - parse_subnet(network.subnet)[0]
        low, count = first + 1, size - 1
        if network.ip_range6:
            begin, many = subnets6.parse_range(network.ip_range6)
            low = max(begin, first + 1)
            count = begin + many - low
        for step in range(min(count, 1 << 16)):
            number = low + (offset - 1 + step) % count
            found = subnets6.to_text(number)
            if number not in taken and not os.path.exists(f"{directory}/{found}"):
                return found
        raise errors.NetworkError(
            f"network '{network.name}' has no free address in '{network.subnet6}'", hint="create a larger network"
        )

    def _free_offset(self, network: Network, start: int) -> int:
        """Distance from the subnet's first address of the next free one, from `start` on and around."""
        first, size = parse_subnet(network.subnet)
        low, count = 1, size - 2
        if network.ip_range:
            begin, length = parse_subnet(network.ip_range)
            low = max(begin - first, 1)
            count = min(begin + length, first + size - 1) - first - low
        taken = {to_int(network.gateway), *(to_int(one) for one in network.reserved.values() if ":" not in one)}
        directory = f"{self.run}/leases/{network.name}"
        for attempt in (1, 2):
            for step in range(count):
                offset = low + (start - low + step) % count
                if first + offset not in taken and not os.path.exists(f"{directory}/{to_text(first + offset)}"):
                    return offset
            if attempt == 1 and not self.collect():
                break
        raise errors.NetworkError(
            f"network '{network.name}' has no free address in '{network.subnet}'",
            hint="remove stopped containers, or create a larger network",
        )

    def drop(self, lease: dict[str, Any]) -> None:
        """Strike an attachment out."""
        if lease.get("mode") == "cni":
            from pyctr.core import cni

            cni.delete(lease)
        self.free_ports(lease)
        if lease["ports"] and "bridge" in lease:
            # whoever gets its address is not to be reached at its ports, whatever has become of the claims
            self._withdraw(lease, looked=True)
        self.unbind(lease)
        self._name(lease["network"], lease["id"], "")
        unlink(f"{self.run}/leases/{lease['network']}/{lease['address'].partition('/')[0]}")
        if six := str(lease.get("address6") or "").partition("/")[0]:
            unlink(f"{self.run}/leases6/{lease['network']}/{six}")
        unlink(f"{self.run}/ids/{lease.get('key') or lease['id']}")

    def unbind(self, lease: dict[str, Any]) -> None:
        """Take out what bounds an attachment's link at the host's end, and its class: with the link, or before another
        is made."""
        try:
            if lease.get("net_class"):
                firewall.classify({**lease, "net_class": 0})
            if lease.get("tx_bps"):
                from pyctr.core import linkrules

                linkrules.release(lease)
        except OSError as error:
            raise errors.NetworkError(f"lifting bounds: {error.strerror or error}") from error

    def ids(self) -> list[str]:
        """Containers that hold something. A record half written, now that the lock is ours, is a killed pyctr's."""
        try:
            names = os.listdir(f"{self.run}/ids")
        except FileNotFoundError:
            return []
        for name in names:
            if name.endswith(".tmp"):
                unlink(f"{self.run}/ids/{name}")
        return [name for name in names if not name.endswith(".tmp")]

    def collect(self) -> list[str]:
        """Strike out what vanished containers held; their ids."""
        gone = []
        for key in self.ids():
            lease = self.lease(key)
            if lease and not self.there(lease["id"]):
                self.drop(lease)
                gone.append(lease["id"])
        return list(dict.fromkeys(gone))

    def names(self, network: str) -> list[tuple[str, str, str]]:
        """(id, address, names with blanks between) of every container on a network, oldest first."""
        try:
            with open(f"{self.run}/{network}.names") as file:
                entries = (line.split(" ", 2) for line in file.read().split("\n"))
                # a line that is not one of ours must not keep every other container from starting
                return [(entry[0], entry[1], entry[2]) for entry in entries if len(entry) == 3]
        except FileNotFoundError:
            return []

    def _name(self, network: str, id: str, entry: str) -> None:
        """Set or, with an empty entry, remove a container's line; then tell the others."""
        path = f"{self.run}/{network}.names"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            before = os.pread(fd, os.fstat(fd).st_size, 0).decode()
            if entry and f"{id} {entry}\n" in before:
                return
            kept = [line for line in before.split("\n") if line and not line.startswith(id)]
            after = "".join(f"{line}\n" for line in (*kept, *([f"{id} {entry}"] if entry else ())))
            content = after.encode()
            os.pwrite(fd, content, 0)
            os.ftruncate(fd, len(content))
        finally:
            os.close(fd)
        if after != before:
            self.refresh_hosts(network)

    def others(self, network: str, id: str) -> str:
        """Lines of a hosts file for the containers on a network other than `id`."""
        return _lines(self.names(network), id)

    def refresh_hosts(self, network: str) -> None:
        """Bring the hosts files of the containers on a network up to date, unless there are more than `SPREAD` of them:
        then a start would write a thousand files, and a container knows those that were there when it started."""
        if network != DEFAULT:
            return  # a name server answers there
        members = self.names(network)
        if len(members) > SPREAD:
            return
        for id, _, _ in members:
            lines = _lines(members, id)
            try:
                etcfiles.refresh(self.paths.container(id, "hosts"), lines)
            except OSError:
                continue  # that container's own disk is full or its file is no file: not the fault of this one

    def there(self, id: str) -> bool:
        """Whether a container exists, or may be about to."""
        if os.path.isdir(self.paths.container(id)):
            return True
        try:
            return time.time() - os.stat(f"{self.run}/ids/{id}").st_mtime < _GRACE
        except FileNotFoundError:
            return False

    def busy(self, id: str) -> bool:
        """Whether a container runs, waits to be restarted, or is between two states just now."""
        try:
            state = containers.load_state(self.paths, id)
        except errors.NotFound:
            return self.there(id)
        if containers.is_alive(state.process, self.paths) or containers.is_alive(state.process, self.paths, shim=True):
            return True
        lock = Lock(self.paths.container(id, "lock"))
        try:
            if not lock.try_acquire():
                return True
        except FileNotFoundError:
            return False
        lock.release()
        return False

    def reserve(
        self, id: str, ports: list[Port], before: dict[str, Any] | None, reserved: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """A host port for each of a container's, the one asked for or a free one, into `reserved`, as {"host_ip",
        "host_port", "container_port", "protocol"}. Raises Conflict naming who has it, UsageError, Unsupported."""
        named = {(port.protocol or "tcp", port.host_port) for port in ports if not port.host_last}
        olds = before["ports"] if before else []
        for position, port in enumerate(ports):
            mine = named | {(held["protocol"], held["host_port"]) for held in reserved}
            old = olds[position]["host_port"] if position < len(olds) else 0
            reserved.append(self._reserve(id, port, old, mine))
        return reserved

    def _reserve(self, id: str, port: Port, old: int, mine: set[tuple[str, int]]) -> dict[str, Any]:
        host_ip = hostports.canonical(port.host_ip)
        protocol = port.protocol or "tcp"
        if protocol not in firewall.PROTOCOLS:
            raise errors.UsageError(f"'{protocol}' is not a protocol of a port", hint="tcp, udp or sctp")
        for value in (port.container_port, port.host_port):
            if not 0 <= value <= 65535:
                raise errors.UsageError(f"'{value}' is not a port", hint="1 to 65535")
        document = {
            "host_ip": host_ip,
            "host_port": port.host_port,
            "container_port": port.container_port,
            "protocol": protocol,
        }
        only4 = port.host_ip == "0.0.0.0"
        if only4:
            document["only4"] = True  # "" means every IPv6 address, too
        if port.host_port and not port.host_last:
            self._claim(id, host_ip, port.host_port, protocol, only4)
            return document
        if port.host_last:
            wishes = [*range(port.host_port, port.host_last + 1)]
            wishes.sort(key=lambda wish: wish != old)
        else:
            wishes = [*([old] if old else ()), *(_random_port() for _ in range(200))]
        said = "this container has them all"
        for wish in wishes:
            if (protocol, wish) in mine:
                continue
            try:
                self._claim(id, host_ip, wish, protocol, only4)
            except errors.Conflict as error:
                said = str(error)
                continue
            return {**document, "host_port": wish}
        if port.host_last:
            raise errors.Conflict(
                f"no port from {port.host_port} to {port.host_last} is free: {said}", hint="choose another range"
            )
        raise errors.NetworkError("no free host port found in 200 tries", hint="name one: -p HOST:CONTAINER")

    def _claim(self, id: str, host_ip: str, number: int, protocol: str, only4: bool) -> None:
        directory = f"{self.run}/ports/{protocol}-{number}"
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            names = []
        for name in names:
            if (
                host_ip
                and name not in ("any", host_ip)
                and not ("::" in (name, host_ip) and ":" in name and ":" in host_ip)
            ):
                continue
            with open(f"{directory}/{name}") as file:
                holder = file.read()
            if holder == id:
                continue  # of another address of the same port
            if self.busy(holder):
                lease = self.lease(holder)
                who = (lease or {}).get("name") or holder[:12]
                raise errors.Conflict(
                    f"port {number}/{protocol} is taken by container '{who}'",
                    hint=f"choose another host port, or 'pyctr stop {who}'",
                )
            lease = self.lease(holder)
            if lease:
                self.free_ports(lease)
            else:
                unlink(f"{directory}/{name}")
        hostports.check(host_ip, number, protocol, self.paths.proc, only4=only4)
        make_private_directory(directory)
        with open(f"{directory}/{host_ip or 'any'}", "w") as file:
            file.write(id)

    def free_ports(self, lease: dict[str, Any]) -> None:
        """Give back the ports of an attachment that are still its own."""
        mine = []
        for port in lease["ports"]:
            directory = f"{self.run}/ports/{port['protocol']}-{port['host_port']}"
            path = f"{directory}/{port['host_ip'] or 'any'}"
            try:
                with open(path) as file:
                    if file.read() != lease["id"]:
                        continue  # somebody else's by now
            except FileNotFoundError:
                continue
            os.unlink(path)
            rmdir(directory)
            mine.append(port)
        if mine and "bridge" in lease:
            self._withdraw({**lease, "ports": mine})

    def classes(self, name: str) -> Iterator[tuple[str, int, str]]:
        """(address, traffic class, whose) of those on a network that have one."""
        for lease in self.leases(name):
            if number := lease.get("net_class"):
                for address in filter(None, (lease["address"], lease.get("address6"))):
                    yield address.partition("/")[0], number, lease["id"][:12]

    def published(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Reserved ports of a network, for a table that has to be made anew."""
        for lease in self.leases(name):
            for port in lease["ports"]:
                held = f"{self.run}/ports/{port['protocol']}-{port['host_port']}/{port['host_ip'] or 'any'}"
                if os.path.exists(held) and self.busy(lease["id"]):
                    for address in filter(None, (lease["address"], lease.get("address6"))):
                        yield address.partition("/")[0], {**port, "owner": lease["id"][:12]}


def _lines(members: list[tuple[str, str, str]], id: str) -> str:
    """Lines of a hosts file for all but one."""
    return "".join(
        f"{each}\t{names}\n" for other, address, names in members if other != id for each in address.split(",")
    )


def key(id: str, network: str) -> str:
    """The name of a record of a container on a network that is not its first."""
    return f"{id}@{network}"


def _random_port() -> int:
    low, high = _RANDOM_PORTS
    return low + int.from_bytes(os.urandom(4), "big") % (high - low + 1)


def unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def rmdir(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        pass  # never made, or somebody else's things are in it
