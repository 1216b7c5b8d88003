"""Containers joining and leaving networks, running or not.

    spec.network     the first network: the default route and the published ports are its
    spec.endpoints   further ones by name, with what is wished there
    state.network    what is leased now: the first attachment, and in "more" the further ones

When the first one is left, the next takes its place, ports and default route included. A container that runs gets its
link at once: the pair is made with its inner end in the container's namespace, then a socket of that namespace does
the rest. One that does not run leases when it starts.
"""

from __future__ import annotations

import errno
import marshal
import os

from pyctr.core import containers, errors, netdrivers, netlacks, netns
from pyctr.core.linux import namespaces, rtmessages
from pyctr.core.netdevices import socket_in
from pyctr.core.runtime import sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine


def connect(
    engine: Engine, network: str, ref: str, *, ip: str = "", ip6: str = "", mac: str = "", aliases: Sequence[str] = ()
) -> None:
    """Put a container on a network. Raises NotFound, Conflict (it is there, or the address is taken), NetworkError."""
    name = engine.networks.get(network).name if network != "bridge" else network
    container, lock = containers.locked(engine, ref)
    try:
        spec = container.spec
        _permit(container)
        if spec.network == name or name in spec.endpoints:
            raise errors.Conflict(
                f"container '{container.name}' is on network '{name}' already", hint=f"pyctr network inspect {name}"
            )
        wish = {
            key: value for key, value in (("ip", ip), ("ip6", ip6), ("mac", mac), ("aliases", list(aliases))) if value
        }
        first = spec.network == "none"
        if first and spec.ports and network != "bridge":
            netdrivers.publishable(engine.networks.get(network))
        if first:
            spec = spec.replace(network=name, ip=ip, ip6=ip6, mac=mac, network_aliases=list(aliases))
        else:
            spec = spec.replace(endpoints={**spec.endpoints, name: wish})
        if container.running:
            _link(container, spec.replace(endpoints={name: wish}) if first else spec, name, first)
        container.state.spec = spec.to_dict()
        containers.save_state(engine.paths, container.state, durable=True)
    finally:
        lock.release()
    engine.events.record("connect", container.id, container.name, type="network", network=name)


def disconnect(engine: Engine, network: str, ref: str, *, force: bool = False) -> None:
    """Take a container off a network; with `force` also one that is gone but still holds an address there."""
    try:
        container, lock = containers.locked(engine, ref)
    except errors.NotFound:
        if force and _strike_out(engine, network, ref):
            return
        raise
    try:
        spec = container.spec
        _permit(container)
        if network != spec.network and network not in spec.endpoints:
            raise errors.NotFound(
                f"container '{container.name}' is not on network '{network}'",
                hint=f"it is on {', '.join([spec.network, *spec.endpoints])}",
            )
        endpoints = {name: wish for name, wish in spec.endpoints.items() if name != network}
        if network == spec.network:
            name = next(iter(endpoints), "none")
            wish = endpoints.pop(name, {})
            spec = spec.replace(
                network=name,
                ip=wish.get("ip", ""),
                ip6=wish.get("ip6", ""),
                mac=wish.get("mac", ""),
                network_aliases=list(wish.get("aliases", ())),
            )
        container.state.spec = spec.replace(endpoints=endpoints).to_dict()
        gateways = _leave(container, network)
        containers.save_state(engine.paths, container.state, durable=True)
        engine.events.record("disconnect", container.id, container.name, type="network", network=network)
        if gateways is not None and container.running:
            # what may fail, after the record is true
            _take_over(container, gateways)
    finally:
        lock.release()


def _permit(container: Container) -> None:
    mode = container.spec.network.partition(":")[0]
    if container.state.network.get("mode") == "cni":
        raise errors.Conflict(
            f"network '{mode}' of container '{container.name}' is made by plugins: it can have no other",
            hint="only bridge networks can be joined and left",
        )
    if mode in ("host", "container"):
        whose = "the host's network" if mode == "host" else f"the network of '{container.spec.network[10:]}'"
        raise errors.Conflict(
            f"container '{container.name}' has {whose}, not one of its own", hint="only bridge networks can be joined"
        )


def _link(container: Container, spec: Any, network: str, first: bool) -> None:
    """Lease, link and configure; nothing of it stays after a failure."""
    engine, attachment = container.engine, container.state.network
    used = {str(each["container_if"]) for each in attachments(attachment)}
    number = next(n for n in range(len(used) + 1) if f"eth{n}" not in used)
    with _namespace(container) as place:
        made = engine.networks.join(container.id, container.name, spec, network, number)
        try:
            if any(each.get("gateway") for each in attachments(attachment)):
                made["gateway"] = made["gateway6"] = ""
            made["host_if"] = netns.host_side({**made, "host_if": netns.host_if(container.id, number)}, netns=place.fd)
            if "driver" not in made:
                namespaces.within(place.fd, lambda: netns.deaf(made["container_if"]))
            with socket_in(place.fd) as socket:
                index = next(link.index for link in socket.links(stats=False) if link.name == made["container_if"])
                socket.send(netns.configuration(made, index))
        except errors.PyctrError:
            _take_back(container, made)
            raise
        except OSError as error:
            _take_back(container, made)
            raise netlacks.told(error) or errors.NetworkError(
                f"connecting container '{container.name}' to '{network}': {error.strerror or error}",
                hint="'pyctr doctor' tells what this kernel lacks",
            ) from error
    if first:
        key = {**made}
        del made["key"]
        _give_names(container, made, network)
        engine.networks.rewrite(made, [key])
        if spec.ports:
            try:
                made = engine.networks.republish(container.id, container.name, spec, made)
                _open_doors(container, made)
            except errors.PyctrError:
                _take_back(container, made)
                raise
        container.state.network = made
    else:
        attachment.setdefault("more", []).append(made)
        _give_names(container, attachment, network)
        engine.networks.rewrite(attachment)


def _take_back(container: Container, made: dict[str, Any]) -> None:
    """A link that could not be made, or not as it was wished."""
    try:
        _unlink(container, made)
    finally:  # a container that ended has no links, but still its lease
        container.engine.networks.rewrite({}, [made])


def _give_names(container: Container, attachment: dict[str, Any], network: str) -> None:
    """A name server for a container that had none, with its first network where names are answered."""
    if network == "bridge" or "resolver" in attachment:
        return
    from pyctr.core import etcfiles, namerules

    request = {"order": namerules.order(namerules.port()), "servers": list(container.spec.dns)}
    if not _told(container, sync.NAMES, request):
        return  # it is about to end, or has no shim that could answer; the next start has its name server
    attachment["resolver"] = list(container.spec.dns)
    text = container.engine.networks.etc_text("resolv.conf", attachment, container.spec, "")
    etcfiles.rewrite(container.path("resolv.conf"), text)


def _open_doors(container: Container, attachment: dict[str, Any]) -> None:
    """Have the shim serve what the kernel leads to nobody, see `doors`. Raises what it cannot; one that was killed or
    whose container is about to end serves nobody until the next start."""
    kind, payload = _asked(container, sync.DOORS, attachment)
    if kind == sync.FAILED:
        name, message, hint = marshal.loads(payload)
        if name != "IllegalTransition":
            raise getattr(errors, name, errors.RuntimeFailure)(message, hint=hint)


def _told(container: Container, kind: bytes, request: Any) -> bool:
    """Whether a container's shim has done what it is told."""
    return _asked(container, kind, request)[0] == sync.DONE


def _asked(container: Container, kind: bytes, request: Any) -> tuple[bytes, bytes]:
    """What a container's shim answers, see `sync`; nothing without one."""
    import _socket

    channel = sync.Channel(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC))
    try:
        channel.socket.settimeout(10)
        channel.socket.connect(f"{container.engine.paths.runtime(container.id)}/shim.sock")
        channel.send(sync.document(kind, request))
        return channel.receive()
    except (OSError, EOFError):
        return b"", b""
    finally:
        channel.close()


def _leave(container: Container, network: str) -> list[str] | None:
    """Give a network up. When it was the first one, the gateways that the default route of the next one lacks."""
    engine, attachment = container.engine, container.state.network
    gone = next((each for each in attachments(attachment) if each["network"] == network), None)
    if gone is None:
        if lease := engine.networks.lease(container.id):
            gone = next((each for each in attachments(lease) if each["network"] == network), None)
        if gone is not None:
            engine.networks.rewrite({}, [gone])
        return None
    if container.running:
        _unlink(container, gone)
    rest = [each for each in attachments(attachment) if each is not gone]
    if gone is not attachment:
        attachment["more"] = rest[1:]
        engine.networks.rewrite(attachment, [gone])
        return None
    if attachment.get("ports"):
        if container.running:
            _told(container, sync.DOORS, {})
        engine.networks.unpublish(attachment)
    if not rest:
        engine.networks.rewrite({}, [attachment])
        container.state.network = {"mode": "none"}
        return None
    heir = {**rest[0], "more": rest[1:], "ports": []}
    heir.pop("key", None)
    record = engine.networks.get(heir["network"])
    gateways = []
    if not record.internal and not heir["gateway"]:
        heir["gateway"], heir["gateway6"] = record.gateway, record.gateway6
        gateways = [gateway for gateway in (record.gateway, record.gateway6) if gateway]
    engine.networks.rewrite(heir, [attachment, rest[0]])
    container.state.network = heir
    return gateways


def _take_over(container: Container, gateways: list[str]) -> None:
    """The default route and the ports go to what is the first network by now. Raises what `republish` does."""
    engine, heir = container.engine, container.state.network
    for gateway in gateways:
        try:
            with _namespace(container) as place, socket_in(place.fd) as socket:
                socket.send([rtmessages.default_route(gateway)])
        except errors.IllegalTransition:
            return  # its next start does all this
        except OSError as error:
            if error.errno != errno.EEXIST:  # somebody inside has made one
                raise errors.NetworkError(
                    f"a default route for container '{container.name}': {error.strerror or error}",
                    hint=f"restart it: 'pyctr restart {container.name}'",
                ) from error
    if container.spec.ports and "driver" not in heir:
        container.state.network = engine.networks.republish(container.id, container.name, container.spec, heir)
        containers.save_state(engine.paths, container.state, durable=True)
        _open_doors(container, container.state.network)


def _unlink(container: Container, attachment: dict[str, Any]) -> None:
    with _namespace(container) as place, socket_in(place.fd) as socket:
        for link in socket.links(stats=False):
            if link.name == attachment["container_if"]:
                socket.send([rtmessages.delete(link.name)])


def attachments(attachment: dict[str, Any]) -> list[dict[str, Any]]:
    """The first attachment and the further ones; none without a network."""
    if attachment.get("mode") != "bridge":
        return []
    return [attachment, *(attachment.get("more") or ())]


def _strike_out(engine: Engine, network: str, ref: str) -> bool:
    for lease in list(engine.networks.leases(network)):
        if ref in (lease["name"], lease["id"]) or lease["id"].startswith(ref):
            engine.networks.rewrite({}, [lease])
            return True
    return False


class _namespace:
    """A descriptor of a container's network namespace. Raises IllegalTransition when it ends meanwhile."""

    def __init__(self, container: Container) -> None:
        try:
            self.fd = os.open(f"/proc/{container.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            raise _ended(container) from None
        if not container.alive:
            # what was opened may be another process's: its number was free
            os.close(self.fd)
            raise _ended(container)

    def __enter__(self) -> _namespace:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def _ended(container: Container) -> errors.IllegalTransition:
    return errors.IllegalTransition(f"container '{container.name}' ended just now", hint="try again")
