"""Who is on which network: the attachments of containers, and the files that tell them so. The networks: `networkset`.

    <run>/networks/...               leases, see `leases`

The parts: `leases` books, `netns` makes links, `firewall` publishes ports, `etcfiles` hosts and resolv.conf.
A lease belongs to a container from its first start until its removal; its ports from start until stop.
"""

from __future__ import annotations

import os

from pyctr.core import bridges, errors, etcfiles, firewall, leases, netdrivers, netns
from pyctr.core.linux import netlink, rtmessages
from pyctr.core.networkset import Network, NetworkSet
from pyctr.core.paths import Paths
from pyctr.core.subnets import DEFAULT, mac_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable, Mapping
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.netgraph import Graph
    from pyctr.core.spec import ContainerSpec


ETC = ("hosts", "hostname", "resolv.conf")


class Networks(NetworkSet):
    """All networks of one pyctr, and the containers on them."""

    def attach(self, id: str, name: str, spec: ContainerSpec) -> dict[str, Any]:
        """The attachment of a container about to start: its lease, made or found again, and its ports, reserved.

        {"mode": "none"|"host"} or {"mode": "container", "container": REF} or
        {"mode": "bridge", "id", "name", "names", "network", "bridge", "host_if", "container_if",
         "address": "10.88.0.7/16", "gateway", "mac", "mtu", "hairpin",
         "ports": [{"host_ip", "host_port", "container_port", "protocol"}],
         "resolver": [name servers asked about names of the world] on a user-defined network,
         "more": [further attachments, of `spec.endpoints`, without ports]}

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
        plugins = self._read(mode) if mode not in ("", "default", DEFAULT) else None
        if plugins is not None and plugins.driver == netdrivers.CNI:
            return self._plug(plugins, id, name, spec)
        with self._book.lock():
            network, mtu = self._ensure(DEFAULT if mode in ("", "default") else mode)
            if spec.ports:
                netdrivers.publishable(network)
            for port in spec.ports:
                # tcp and udp are carried by `doors`
                if ":" in port.host_ip and port.protocol == "sctp" and not network.subnet6:
                    raise errors.UsageError(
                        f"port {port.host_port}/sctp cannot be published on '{port.host_ip}': network '{network.name}' "
                        "has no IPv6 addresses",
                        hint="network create --ipv6 makes one that has",
                    )
            before = self.lease(id)
            for more in (before or {}).get("more") or ():
                if more["network"] not in spec.endpoints:
                    self._book.drop(more)
            if before and before["network"] != network.name:
                self._book.drop(before)
                before = None
            attachment = self._attachment(
                network, mtu, id, name, _names(name, spec), spec.ip, spec.ip6, spec.mac, before
            )
            attachment |= netdrivers.rates(network, spec.limits)
            if network.name != DEFAULT or any(wish != DEFAULT for wish in spec.endpoints):
                attachment["resolver"] = list(spec.dns)
            attachment["hairpin"] = bool(spec.ports) and bridges.filtered(self.paths.proc)
            if before:
                self._book.unbind(before)
                self._book.free_ports(before)
                if _moved(before, attachment):
                    self._book.drop(before)
            reserved: builtins.list[dict[str, Any]] = []
            try:
                attachment["ports"] = self._book.reserve(id, spec.ports, before, reserved)
                gateway = attachment["gateway"]
                for number, (further, wish) in enumerate(spec.endpoints.items(), 1):
                    more = self._further(id, name, spec, further, wish, number)
                    attachment.setdefault("more", []).append(more)
                    if gateway:
                        more["gateway"] = more["gateway6"] = ""  # a container has one default route
                    gateway = gateway or more["gateway"]
                self._classify(attachment)
                self._book.write(attachment)
            except BaseException:
                for more in attachment.pop("more", ()):
                    self._book.drop(more)
                self._book.drop({**attachment, "ports": reserved})
                raise
            return attachment

    def _plug(self, network: Network, id: str, name: str, spec: ContainerSpec) -> dict[str, Any]:
        """The attachment to a network of plugins; they work without the lock, since they may take their time."""
        from pyctr.core import cni

        wishes = {"further network": spec.endpoints, "--ip6": spec.ip6, "--network-alias": spec.network_aliases}
        if unknown := [wish for wish, value in {**wishes, "--network-class": spec.limits.net_class}.items() if value]:
            what = f"no {unknown[0]}"
            raise errors.UsageError(f"network '{network.name}' is made by plugins: {what} is possible there")
        with self._book.lock():
            before = self.lease(id)
            if before and before.get("netns") and os.path.ismount(before["netns"]):
                return {key: value for key, value in before.items() if key != "cni"}
            ports: builtins.list[dict[str, Any]] = []
            try:
                self._book.reserve(id, spec.ports, None, ports)
            except BaseException:
                self._book.free_ports({"id": id, "ports": ports, "mode": "cni", "bridge": ""})
                raise
        asked = {"ip": spec.ip, "mac": _mac(spec.mac), "rx_bps": spec.limits.rx_bps, "tx_bps": spec.limits.tx_bps}
        try:
            lease = cni.attach(network, self.paths.run, id, name, asked, ports)
        except BaseException:
            with self._book.lock():
                self._book.free_ports({"id": id, "ports": ports, "mode": "cni", "bridge": ""})
            raise
        with self._book.lock():
            self._book.write(lease)
        return {key: value for key, value in lease.items() if key != "cni"}

    def _attachment(
        self,
        network: Network,
        mtu: int,
        id: str,
        name: str,
        names: builtins.list[str],
        ip: str,
        ip6: str,
        mac: str,
        before: dict[str, Any] | None,
    ) -> dict[str, Any]:
        address = self._book.address(network, id, ip, before)
        if network.subnet6:
            address6 = self._book.address6(network, id, ip6, address, before)
            six = {
                "address6": f"{address6}/{network.subnet6.partition('/')[2]}",
                "gateway6": "" if network.internal else network.gateway6,
            }
        else:
            six = {}
            if ip6:
                raise errors.UsageError(
                    f"network '{network.name}' has no IPv6 addresses", hint="network create --ipv6 makes one that has"
                )
        return {
            **six,
            "mode": "bridge",
            "id": id,
            "name": name,
            "names": names if network.name == DEFAULT else [*names, id[:12]],
            "network": network.name,
            "bridge": network.bridge,
            "host_if": netns.host_if(id),
            "container_if": "eth0",
            "address": f"{address}/{network.subnet.partition('/')[2]}",
            "gateway": "" if network.internal else network.gateway,
            "mac": _mac(mac) or mac_of(address),
            "mtu": mtu,
            "hairpin": False,
            "internal": network.internal,
            "ports": [],
            **(_face(network) if network.driver in netdrivers.FACES else {}),
        }

    def _further(
        self, id: str, name: str, spec: ContainerSpec, network: str, wish: dict[str, Any], number: int
    ) -> dict[str, Any]:
        """The lease on a network besides the first one, entered in the book."""
        found, mtu = self._ensure(network)
        key = leases.key(id, network)
        names = _names(name, spec.replace(network_aliases=list(wish.get("aliases") or ())))
        before = self._book.lease(key)
        made = self._attachment(
            found,
            mtu,
            id,
            name,
            names,
            str(wish.get("ip") or ""),
            str(wish.get("ip6") or ""),
            str(wish.get("mac") or ""),
            before,
        )
        if before:
            self._book.unbind(before)
            if _moved(before, made):
                self._book.drop(before)
        made |= netdrivers.rates(found, spec.limits)
        made |= {"key": key, "host_if": netns.host_if(id, number), "container_if": f"eth{number}"}
        self._classify(made)
        self._book.write(made)
        return made

    def _classify(self, attachment: dict[str, Any]) -> None:
        if attachment.get("net_class"):
            try:
                firewall.classify(attachment)
            except OSError as error:
                raise errors.NetworkError(f"setting a traffic class: {error.strerror or error}") from error

    def join(self, id: str, name: str, spec: ContainerSpec, network: str, number: int) -> dict[str, Any]:
        """Lease an attachment for a running container, of what its spec's endpoint of that network wishes."""
        with self._book.lock():
            return self._further(id, name, spec, network, spec.endpoints[network], number)

    def rewrite(self, attachment: dict[str, Any], before: Iterable[dict[str, Any]] = ()) -> None:
        """Enter an attachment anew after others of the same container, `before`, were struck out."""
        with self._book.lock():
            for lease in before:
                self._book.drop(lease)
            if attachment.get("mode") == "bridge":
                for lease in (*(attachment.get("more") or ()), attachment):
                    self._book.write(lease)

    def republish(self, id: str, name: str, spec: ContainerSpec, attachment: dict[str, Any]) -> dict[str, Any]:
        """The attachment with its container's ports, reserved and forwarded, after it has become the first one. Raises
        what `attach` does: then it has none."""
        reserved: builtins.list[dict[str, Any]] = []
        published = {**attachment, "ports": reserved}
        try:
            with self._book.lock():
                self._book.reserve(id, spec.ports, None, reserved)
                self._book.write(published)
            self.publish(published)
        except BaseException:
            with self._book.lock():
                self._book.free_ports(published)
                self._book.write(attachment)
            raise
        return published

    def publish(self, attachment: dict[str, Any]) -> None:
        """Forward the attachment's ports to it; before its processes run. Raises NetworkError."""
        if attachment.get("mode") != "bridge" or not attachment.get("ports"):
            return
        try:
            bridges.open_localnet(self.paths.proc, attachment["bridge"])
            firewall.publish(attachment)
        except OSError as error:
            raise errors.NetworkError(f"publishing ports: {error.strerror or error}") from error

    def unpublish(self, attachment: dict[str, Any]) -> None:
        """Give an attachment's ports back, keeping its address: at stop."""
        if not attachment.get("ports"):
            return
        if attachment.get("mode") == "cni":
            # a plugin leads the ports: they are free again when all of the attachment is gone
            self.release(attachment["id"])
            return
        if attachment.get("mode") != "bridge":
            return
        with self._book.lock():
            self._book.free_ports(attachment)

    def release(self, id: str) -> None:
        """Give back everything a container holds: at removal. Unknown ids are fine."""
        if not os.path.exists(f"{self._run}/ids/{id}"):
            return
        with self._book.lock():
            lease = self.lease(id)
            if lease:
                for each in (*(lease.get("more") or ()), lease):
                    self._book.drop(each)

    def rename(self, id: str, name: str) -> None:
        """A container has another name: tell those on its network."""
        if not os.path.exists(f"{self._run}/ids/{id}"):
            return
        with self._book.lock():
            lease = self.lease(id)
            if lease:
                more = [_renamed(each, name) for each in lease.get("more") or ()]
                for each in more:
                    self._book.write(each)
                self._book.write({**_renamed(lease, name), **({"more": more} if more else {})})

    def write_etc(
        self, id: str, attachment: dict[str, Any], spec: ContainerSpec, hostname: str, wanted: Iterable[str] = ETC
    ) -> None:
        """Write hosts, hostname and resolv.conf into a container's directory, before its start and as new files.

        Under the lock, so that a neighbour who comes at the same time is either read here or finds the file there.
        """
        with self._book.lock():
            for name in wanted:
                path = self.paths.container(id, name)
                leases.unlink(path)
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
                try:
                    os.fchmod(fd, 0o644)  # whatever the umask: the container's users read it
                    os.write(fd, self.etc_text(name, attachment, spec, hostname).encode("utf-8", "surrogateescape"))
                finally:
                    os.close(fd)

    def etc_text(self, name: str, attachment: dict[str, Any], spec: ContainerSpec, hostname: str) -> str:
        """The text of hosts, hostname or resolv.conf."""
        if name == "hostname":
            return f"{hostname}\n"
        if name == "resolv.conf":
            return etcfiles.resolv_conf(attachment, spec.dns, spec.dns_search, spec.dns_options)
        others = ""
        if attachment.get("mode") == "bridge" and "resolver" not in attachment:
            others = self._book.others(attachment["network"], attachment["id"])
        return etcfiles.hosts(attachment, hostname, spec.add_hosts, others)

    def refresh_hosts(self, name: str = DEFAULT) -> None:
        """Bring the hosts files of the containers on a network up to date; attach, release and rename do it too."""
        with self._book.lock():
            self._book.refresh_hosts(name)

    def repair(self, *, dry: bool = False) -> builtins.list[str]:
        """Put back what others took of the firewall's rules, of networks whose bridge is up, and switch forwarding on
        again; the names of those where something was missing. With `dry` only say. Raises OSError."""
        found = []
        from pyctr.core import linkrules

        with self._book.lock(), netlink.Netlink() as socket:
            up = {link.name for link in socket.links(kind="bridge", stats=False) if link.up}
            for network in self.list():
                if network.driver in netdrivers.FACES or network.bridge not in up:
                    continue
                lacking = firewall.ensure(
                    network.bridge,
                    network.subnet,
                    internal=network.internal,
                    ports=self._book.published(network.name),
                    classes=self._book.classes(network.name),
                    proc=self.paths.proc,
                    subnet6=network.subnet6,
                    thorough=True,
                    dry=dry,
                )
                lacking = linkrules.restore(network.bridge, self.leases(network.name), dry=dry) or lacking
                if not dry:
                    self._forward(network)
                if lacking:
                    found.append(network.name)
        return found

    def collect(self) -> builtins.list[str]:
        """Release what vanished containers held; their ids."""
        if not os.path.isdir(self._run):
            return []
        with self._book.lock():
            return self._book.collect()


def graph(engine: Engine, containers: Iterable[Container], statuses: Mapping[str, str] | None = None) -> Graph:
    """The whole network as data for a picture, see `netgraph`."""
    from pyctr.core import netgraph

    return netgraph.graph(engine, containers, statuses)


def remove_all(paths: Paths) -> None:
    """Delete every bridge, firewall table, lease and network record of one pyctr; nothing there is fine."""
    if os.path.isdir(paths.networks) or os.path.isdir(f"{paths.run}/networks"):
        Networks(paths).forget()


def _face(network: Network) -> dict[str, Any]:
    mode = network.options.get(f"{network.driver}_mode") or ("bridge" if network.driver == "macvlan" else "l2")
    return {"driver": network.driver, "link_mode": mode}


def _moved(before: dict[str, Any], now: dict[str, Any]) -> bool:
    return any(before.get(key) != now.get(key) for key in ("address", "address6"))


def _renamed(lease: dict[str, Any], name: str) -> dict[str, Any]:
    return {**lease, "name": name, "names": [name if item == lease["name"] else item for item in lease["names"]]}


def _mac(text: str) -> str:
    try:
        if text:
            rtmessages.mac(text)
        return text.lower()
    except ValueError as error:
        raise errors.UsageError(str(error), hint="like 02:70:0a:58:00:07") from None


def _names(name: str, spec: ContainerSpec) -> builtins.list[str]:
    names = [spec.hostname, name, *spec.network_aliases]
    return list(dict.fromkeys(item for item in names if item))
