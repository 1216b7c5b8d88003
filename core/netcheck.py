"""Whether one container reaches another, a name or an address, step by step as the kernel would do it.

    resolve    the container's own hosts file and name servers, asked from its namespace; "internet" is the host's first
               name server that is not the host itself
    route      which way its kernel would send (a connected UDP socket says the source address)
    neighbour  whether the next hop answers to ARP
    connect    a TCP connection, or an echo (ICMP) where no port is asked for, or a name server's answer for "internet"
    firewall   how many packets our own drop rules counted meanwhile, and which chains of others drop by policy

The first step that fails says where it stops, and why as far as that can be told.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from pyctr.core import containers, dnsmessages, errors, ruleview
from pyctr.core.linux import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine

    T = TypeVar("T")

INTERNET = "internet"
"""As a target: the way out of the host."""
PATIENCE = 3.0
"""Seconds for each step."""


class Step(NamedTuple):
    """One step of a check."""

    name: str
    good: bool
    words: str


def check(engine: Engine, source: str, target: str) -> Iterator[Step]:
    """The steps from a container to `target`: a container, a host name or an address, with ":port" or without, or
    "internet". Raises NotFound, IllegalTransition for a container that does not run, UsageError."""
    container = containers.find(engine, source)
    if not container.running:
        raise errors.IllegalTransition(
            f"container '{container.name}' is {container.status}: nothing can be sent from it",
            hint=f"'pyctr start {container.name}' first",
        )
    if container.state.network.get("mode") == "cni" and (lease := engine.networks.lease(container.id)):
        from pyctr.core import cni

        try:
            cni.check(lease)
        except errors.NetworkError as error:
            yield Step("plugins", False, error.message)
            return
        yield Step("plugins", True, "all of its network's plugins find it as they left it")
    host, port = _parse(target)
    outside = target == INTERNET
    address, words = _outside() if outside else _resolve(container, host)
    yield Step("resolve", bool(address), words)
    if not address:
        return
    own, words = _route(container, address)
    yield Step("route", bool(own), words)
    if not own:
        return
    before = _drops(engine)
    if outside:
        good, words = _query(container, address)
    else:
        good, words = _connect(container, address, port) if port else _echo(container, address)
    hop = _next_hop(container, address)
    if hop:
        mac = _neighbour(container, hop)
        yield Step("neighbour", bool(mac), f"{hop} is at {mac}" if mac else f"{hop} does not answer to ARP")
        if not mac:
            return
    dropped = {name: count - before.get(name, 0) for name, count in _drops(engine).items()}
    guilty = [f"{count} dropped on the way into network '{name}'" for name, count in dropped.items() if count > 0]
    if not good:
        guilty += [f"chain '{chain}' drops what is forwarded" for chain in ruleview.blockers()]
        said = "; ".join(guilty) or "none of our rules dropped anything"
        yield Step("firewall", not guilty, said)
    yield Step("answer" if outside else "connect" if port else "echo", good, words)


def _parse(target: str) -> tuple[str, int]:
    host, colon, port = target.rpartition(":")
    if not host and colon:
        raise errors.UsageError(f"'{target}' names no host", hint="such as web:80")
    if not colon or (":" in host and not host.startswith("[")):
        return target.strip("[]"), 0
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise errors.UsageError(f"'{port}' is not a port", hint="such as web:80")
    return host.strip("[]"), int(port)


def _inside(container: Container, make: Callable[[], T]) -> T:
    """What is made (a socket) in the container's network namespace."""
    there = namespaces.open_namespace(container.pid, "network")
    try:
        return namespaces.within(there, make)
    finally:
        os.close(there)


def _resolve(container: Container, host: str) -> tuple[str, str]:
    try:
        socket.inet_aton(host)
        if host.count(".") == 3:
            return host, f"{host} is an address"
    except OSError:
        pass  # a name, or IPv6
    if ":" in host:
        try:
            socket.inet_pton(socket.AF_INET6, host)
        except OSError:
            raise errors.UsageError(f"'{host}' is no address", hint="such as fd00::7, or [fd00::7]:80") from None
        return host, f"{host} is an address"
    for line in _text(container, "hosts").splitlines():
        words = line.split("#")[0].split()
        if host in words[1:] and ":" not in words[0]:
            return words[0], f"{words[0]}, from /etc/hosts"
    servers = [
        words[1]
        for words in map(str.split, _text(container, "resolv.conf").splitlines())
        if len(words) > 1 and words[0] == "nameserver"
    ]
    failure = "no name server"
    for server in servers:
        failure = f"no answer from {server}"
        labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split(".") if 0 < len(label) < 64)
        query = _question(labels, dnsmessages.A)
        question = dnsmessages.read(query)
        assert question is not None
        asking = _inside(container, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with asking:
            asking.settimeout(PATIENCE)
            try:
                asking.connect((server, 53))
                asking.send(query)
                answer = asking.recv(4096)
            except OSError as error:
                failure = f"{server}: {error.strerror or 'no answer in time'}"
                continue
        found = _first_address(answer, question.end)
        if found:
            return found, f"{found}, from {server}"
        failure = f"{server} knows no address of '{host}'"
    return "", failure


def _question(labels: bytes, kind: int) -> bytes:
    return struct.pack(">HHHHHH", 77, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def _outside() -> tuple[str, str]:
    """A name server of the host that is on another machine."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file.read(65536).splitlines()]
    except OSError:
        lines = []
    for words in lines:
        if len(words) > 1 and words[0] == "nameserver" and ":" not in words[1] and not words[1].startswith("127."):
            return words[1], f"{words[1]}, the host's name server"
    return "", "the host has no name server outside to ask; check an address instead"


def _query(container: Container, address: str) -> tuple[bool, str]:
    """Whether a name server answers, whatever it says."""
    begun = time.monotonic()
    with _inside(container, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
        asking.settimeout(PATIENCE)
        try:
            asking.connect((address, 53))
            asking.send(_question(b"", 2))  # NS of the root: everybody knows it, and it says nothing about us
            asking.recv(4096)
        except TimeoutError:
            return False, f"no answer from {address} in {PATIENCE:g} s"
        except OSError as error:
            return False, f"{address}: {(error.strerror or str(error)).lower()}"
    return True, f"{address} answers in {1000 * (time.monotonic() - begun):.1f} ms"


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _first_address(answer: bytes, at: int) -> str:
    """The first A record behind the question."""
    try:
        for _ in range(struct.unpack_from(">H", answer, 6)[0]):
            while answer[at] and answer[at] < 0xC0:
                at += 1 + answer[at]
            at += 2 if answer[at] else 1
            kind, _, _, length = struct.unpack_from(">HHIH", answer, at)
            at += 10
            if kind == dnsmessages.A and length == 4:
                return socket.inet_ntoa(answer[at : at + 4])
            at += length
    except (IndexError, struct.error, OSError):
        pass  # cut off
    return ""


def _text(container: Container, name: str) -> str:
    """One of the files that its network gave it, as it sees it."""
    try:
        with open(f"/proc/{container.pid}/root/etc/{name}", encoding="utf-8", errors="replace") as file:
            return file.read(65536)
    except OSError:
        return ""


def _route(container: Container, address: str) -> tuple[str, str]:
    with _inside(container, lambda: socket.socket(_family(address), socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect((address, 9))
        except OSError as error:
            reason = "no route to it" if error.errno == errno.ENETUNREACH else error.strerror
            return "", f"{reason} from '{container.name}'"
        own = str(probe.getsockname()[0])
    return own, f"from {own}" + (f" via {hop}" if (hop := _next_hop(container, address)) and hop != address else "")


def _next_hop(container: Container, address: str) -> str:
    """Who the packet is handed to: the address itself on a network of ours, else the gateway; "" on loopback, and for
    IPv6, whose neighbours no file lists."""
    if ":" in address:
        return ""
    number = struct.unpack("=I", socket.inet_aton(address))[0]
    if address.startswith("127."):
        return ""
    best, hop = -1, ""
    with open(f"/proc/{container.pid}/net/route") as file:
        for line in file.read().splitlines()[1:]:
            words = line.split()
            destination, gateway, mask = (int(words[column], 16) for column in (1, 2, 7))
            if number & mask == destination and mask.bit_count() > best:
                best = mask.bit_count()
                hop = socket.inet_ntoa(struct.pack("=I", gateway)) if gateway else address
    own = {str(each.get("address") or "").partition("/")[0] for each in _attachments(container)}
    return "" if address in own else hop


def _attachments(container: Container) -> list[dict[str, object]]:
    network = container.state.network
    return [network, *(network.get("more") or ())]


def _neighbour(container: Container, address: str) -> str:
    with open(f"/proc/{container.pid}/net/arp") as file:
        for line in file.read().splitlines()[1:]:
            words = line.split()
            if words[0] == address and words[2] != "0x0":
                return words[3]
    return ""


def _connect(container: Container, address: str, port: int) -> tuple[bool, str]:
    begun = time.monotonic()
    with _inside(container, lambda: socket.socket(_family(address), socket.SOCK_STREAM)) as link:
        link.settimeout(PATIENCE)
        try:
            link.connect((address, port))
        except TimeoutError:
            return False, f"no answer from {address}:{port} in {PATIENCE:g} s"
        except OSError as error:
            refused = error.errno == errno.ECONNREFUSED
            return False, f"{address} refuses: nobody listens on port {port}" if refused else str(error.strerror)
    return True, f"{address}:{port} answers in {1000 * (time.monotonic() - begun):.1f} ms"


def _echo(container: Container, address: str) -> tuple[bool, str]:
    mark = int.from_bytes(os.urandom(2), "big")
    six = ":" in address
    # ICMPv6's sum covers the addresses: the kernel fills it in, and gives the answer without the IP header
    request, reply, protocol = (128, 129, socket.IPPROTO_ICMPV6) if six else (8, 0, socket.IPPROTO_ICMP)
    body = struct.pack(">BBHHH", request, 0, 0, mark, 1) + b"pyctr network check."
    total = sum(struct.unpack(f">{len(body) // 2}H", body))
    total = (total >> 16) + (total & 0xFFFF)
    body = body[:2] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + body[4:]
    begun = time.monotonic()
    with _inside(container, lambda: socket.socket(_family(address), socket.SOCK_RAW, protocol)) as link:
        try:
            link.sendto(body, (address, 0))
            while (left := begun + PATIENCE - time.monotonic()) > 0:
                link.settimeout(left)
                packet, sender = link.recvfrom(2048)
                kind, _, _, got = struct.unpack_from(">BBHH", packet, 0 if six else 4 * (packet[0] & 15))
                if sender[0] == address and kind == reply and got == mark:
                    return True, f"{address} answers in {1000 * (time.monotonic() - begun):.1f} ms"
        except TimeoutError:
            pass  # told below
        except OSError as error:
            return False, str(error.strerror)
    return False, f"no echo from {address} in {PATIENCE:g} s"


def _drops(engine: Engine) -> dict[str, int]:
    """Packets that the drop rules of each network have counted."""
    return {network.name: ruleview.dropped(network.bridge) for network in engine.networks.list() if network.bridge}
