"""The name server at 127.0.0.11 of a container on a user-defined network: served by its shim, gone with it.

    container's namespace                       shim (host's namespace)
    127.0.0.11:53 ──nft dnat──> 127.0.0.11:N ═══ the same sockets, made by the start (`netns.name_sockets`)
                                                 names: <run>/networks/<network>.names, read again when they changed
                                                 everything else: to the host's name servers or those of --dns

The port is not 53 itself: a container may have a name server of its own on every address. Questions about names of
containers are answered at once, whatever the servers outside do; others wait in `_Forward`, each for itself. What a
network's names are is looked up at every question (a stat(2) each), so answers follow a connect at once.
"""

from __future__ import annotations

import _socket
import os
import time

from pyctr.core import dnsmessages as dns
from pyctr.core import jsontext
from pyctr.core.runtime.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.runtime.loop import Loop

DEFAULT = "bridge"
"""The network whose names are in hosts files."""
PATIENCE = 2.0
"""Seconds that a name server has for its answer before the next one is asked."""
_SICK = 30.0
"""Seconds for which a silent server is asked last."""
_MOST = 200
"""Questions and connections at a time; further ones are refused."""
_IDLE = 10.0
"""Seconds after which a TCP connection without a question is closed."""
_FRESH = 0.1
"""Seconds: a file changed so recently may change again without another mtime."""
_RESOLV = "/etc/resolv.conf"


class _File:
    """A small file as it is now: read again when its inode, size or time differ."""

    def __init__(self, path: str, parse: Callable[[bytes], Any], empty: Any) -> None:
        self.path = path
        self.parse = parse
        self.value = empty
        self._seen: tuple[int, int, int] | None = None

    def get(self) -> Any:
        try:
            now = os.stat(self.path)
            seen = (now.st_ino, now.st_size, now.st_mtime_ns)
            if seen != self._seen:
                fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    content = os.read(fd, now.st_size + 65536)
                finally:
                    os.close(fd)
                self.value = self.parse(content)
                self._seen = seen if time.time() - now.st_mtime > _FRESH else None
        except (OSError, ValueError):
            pass  # it is being replaced just now: what was there a moment ago holds
        return self.value


class Names:
    """What the containers on this container's networks are called."""

    def __init__(self, run: str, id: str) -> None:
        self.run = run
        self._lease = _File(f"{run}/ids/{id}", _networks, [])
        self._files: dict[str, _File] = {}

    def networks(self) -> list[tuple[str, bool]]:
        """(name, internal) of the networks it is on, the first one first."""
        found: list[tuple[str, bool]] = self._lease.get()
        return found

    def _tables(self) -> list[tuple[str, dict[str, list[str]], dict[str, str]]]:
        tables = []
        for network, _ in self.networks():
            if network == DEFAULT:
                continue
            file = self._files.get(network)
            if file is None:
                file = self._files[network] = _File(f"{self.run}/{network}.names", _table, ({}, {}))
            tables.append((network, *file.get()))
        return tables

    def addresses(self, name: str) -> list[str] | None:
        """All addresses of a name, also with the network's name behind it; None for a name of nobody here."""
        found: list[str] = []
        for network, forward, _ in self._tables():
            for form in (name, name.removesuffix(f".{network.lower()}")):
                if form in forward:
                    found += forward[form]
                    break
        return list(dict.fromkeys(found)) or None

    def name(self, address: str) -> str:
        """The name behind an address, with its network's, "" for an address of nobody here."""
        for network, _, backward in self._tables():
            if address in backward:
                return f"{backward[address]}.{network}"
        return ""


def _networks(content: bytes) -> list[tuple[str, bool]]:
    lease = jsontext.loads(content)
    return [(each["network"], bool(each.get("internal"))) for each in (lease, *(lease.get("more") or ()))]


def _table(content: bytes) -> tuple[dict[str, list[str]], dict[str, str]]:
    forward: dict[str, list[str]] = {}
    backward: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").split("\n"):
        entry = line.split(" ")
        if len(entry) < 3:
            continue
        addresses = entry[1].split(",")
        for name in entry[2:]:
            forward.setdefault(name.lower(), []).extend(addresses)
        for address in addresses:
            backward[address] = entry[2]
    return forward, backward


def _servers(content: bytes) -> list[str]:
    lines = (line.split() for line in content.decode("utf-8", "replace").split("\n"))
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


class NameServer:
    """Serves one container's sockets from a loop."""

    def __init__(self, loop: Loop, sockets: list[_socket.socket], run: str, id: str, servers: list[str]) -> None:
        self.loop = loop
        self.udp, self.tcp = sockets
        self.names = Names(run, id)
        self._given = servers
        self._host = _File(_RESOLV, _servers, [])
        self.sick: dict[str, float] = {}
        """Server -> until when (time.monotonic) it is asked last."""
        self.waiting: set[_Forward | _Connection] = set()

    def close(self) -> None:
        """Everything that waits, and the sockets."""
        for each in list(self.waiting):
            each.close()
        for socket in (self.udp, self.tcp):
            self.loop.remove(socket.fileno())
            socket.close()
        self.loop.at(None, self.expire)

    def datagram(self, _: int) -> None:
        """A question by UDP."""
        for _ in range(32):  # then others have their turn
            try:
                # accept and recvfrom of the C module: the Python class around it is not loaded here
                query, sender = self.udp.recvfrom(4096)
            except OSError:
                return
            self.ask(query, self._to(sender), tcp=False)

    def _to(self, sender: Any) -> Callable[[bytes], None]:
        def send(reply: bytes) -> None:
            try:
                self.udp.sendto(reply, sender)
            except OSError:
                pass  # who asked has gone

        return send

    def connection(self, _: int) -> None:
        """Somebody connects."""
        try:
            fd, _peer = self.tcp._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        socket = _socket.socket(fileno=fd)
        socket.setblocking(False)
        os.set_inheritable(fd, False)
        if len(self.waiting) >= _MOST:
            socket.close()
            return
        _Connection(self, socket)

    def ask(self, query: bytes, reply: Callable[[bytes], None], *, tcp: bool) -> None:
        question = dns.read(query)
        if question is None:
            return
        limit = 65535 if tcp else question.limit
        local = self.local(question)
        if local is not None:
            code, records = local
            reply(dns.answer(query, question, code, records, limit))
            return
        servers = self.servers()
        if not servers or len(self.waiting) >= _MOST:
            reply(dns.answer(query, question, dns.SERVFAIL, [], limit))
            return
        _Forward(self, query, question, reply, servers, tcp)

    def local(self, question: dns.Question) -> tuple[int, list[tuple[int, bytes]]] | None:
        """(code, records) of what the networks know, None for what others must be asked."""
        if question.zone != dns.IN:
            return None
        if question.kind == dns.PTR:
            address = dns.reversed_address(question.name)
            name = self.names.name(address) if address else ""
            return (dns.NOERROR, [dns.name_record(name)]) if name else None
        addresses = self.names.addresses(question.name)
        if addresses is None:
            return None
        records = [dns.address_record(address) for address in addresses]
        turn = int.from_bytes(os.urandom(2), "big") % (len(records) or 1)
        records = records[turn:] + records[:turn]
        return dns.NOERROR, [record for record in records if question.kind in (record[0], dns.ANY)]

    def servers(self) -> list[str]:
        """Whom to ask about the rest of the world, the silent ones last; nobody from internal networks only."""
        networks = self.names.networks()
        if networks and all(internal for _, internal in networks):
            return []
        now = time.monotonic()
        found: list[str] = self._given or self._host.get()
        return sorted(found, key=lambda server: self.sick.get(server, 0) > now)

    def wait(self, each: _Forward | _Connection) -> None:
        self.waiting.add(each)
        self.schedule()

    def schedule(self) -> None:
        self.loop.at(min((each.deadline for each in self.waiting), default=None), self.expire)

    def expire(self) -> None:
        now = time.monotonic()
        for each in list(self.waiting):
            if each.deadline <= now:
                each.late()
        self.schedule()


class _Forward:
    """One question on its way to the servers outside, one after another, from the host's namespace."""

    def __init__(
        self,
        server: NameServer,
        query: bytes,
        question: dns.Question,
        reply: Callable[[bytes], None],
        servers: list[str],
        tcp: bool,
    ) -> None:
        self.server = server
        self.query = query
        self.question = question
        self.reply = reply
        self.servers = servers
        self.tcp = tcp
        self.socket: _socket.socket | None = None
        self.deadline = 0.0
        self.id = 0
        self._out = self._in = b""
        self._failure = b""
        self._next()

    def _next(self) -> None:
        """Ask the next server; when none is left, say what the last one said, or that nobody answered."""
        while self.servers:
            self._hang_up()
            self.current = self.servers.pop(0)
            self.id = int.from_bytes(os.urandom(2), "big")
            message = dns.with_id(self.query, self.id)
            family = _socket.AF_INET6 if ":" in self.current else _socket.AF_INET
            kind = _socket.SOCK_STREAM if self.tcp else _socket.SOCK_DGRAM
            try:
                self.socket = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
                self._out = len(message).to_bytes(2, "big") + message if self.tcp else b""
                self._in = b""
                try:
                    self.socket.connect((self.current, 53))
                except BlockingIOError:
                    pass  # TCP connects while we do other things
                if not self.tcp:
                    self.socket.send(message)
            except OSError:
                continue
            self.server.loop.add(self.socket.fileno(), WRITE if self.tcp else READ, self._ready)
            self.deadline = time.monotonic() + PATIENCE
            self.server.wait(self)
            return
        self.close()
        code = dns.answer(self.query, self.question, dns.SERVFAIL, [], 65535)
        self.reply(dns.with_id(self._failure, self.question.id) if self._failure else code)

    def _ready(self, _: int) -> None:
        assert self.socket is not None
        try:
            if self._out:
                self._out = self._out[self.socket.send(self._out) :]
                if not self._out:
                    self.server.loop.want(self.socket.fileno(), READ)
                return
            data = self.socket.recv(65537)
        except BlockingIOError:
            return
        except OSError:
            self._next()  # refused: nobody listens there
            return
        if self.tcp:
            if not data:
                self._next()
                return
            self._in += data
            if len(self._in) < 2 or len(self._in) < 2 + int.from_bytes(self._in[:2], "big"):
                return
            data = self._in[2 : 2 + int.from_bytes(self._in[:2], "big")]
        if not dns.is_answer(data, self.query, self.question, self.id):
            if self.tcp:
                self._next()
            return  # by UDP: forged or late, the right one may still come
        self.server.sick.pop(self.current, None)
        if dns.code_of(data) in (dns.SERVFAIL, dns.REFUSED, dns.NOTIMP) and self.servers:
            self._failure = data
            self._next()
            return
        self.close()
        self.reply(dns.with_id(data, self.question.id))

    def late(self) -> None:
        self.server.sick[self.current] = time.monotonic() + _SICK
        self._next()

    def _hang_up(self) -> None:
        if self.socket is not None:
            self.server.loop.remove(self.socket.fileno())
            self.socket.close()
            self.socket = None

    def close(self) -> None:
        self._hang_up()
        self.server.waiting.discard(self)


class _Connection:
    """A client's TCP connection: questions one after another, answers in the order they come."""

    def __init__(self, server: NameServer, socket: _socket.socket) -> None:
        self.server = server
        self.socket: _socket.socket | None = socket
        self._in = self._out = b""
        self.deadline = time.monotonic() + _IDLE
        server.loop.add(socket.fileno(), READ, self._ready)
        server.wait(self)

    def _ready(self, events: int) -> None:
        assert self.socket is not None
        try:
            if events & WRITE and self._out:
                self._flush()
            if not events & ~WRITE:
                return
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.deadline = time.monotonic() + _IDLE
        self._in += data
        while len(self._in) >= 2 and len(self._in) >= 2 + int.from_bytes(self._in[:2], "big"):
            length = int.from_bytes(self._in[:2], "big")
            query, self._in = self._in[2 : 2 + length], self._in[2 + length :]
            self.server.ask(query, self._reply, tcp=True)

    def _reply(self, message: bytes) -> None:
        if self.socket is None:
            return  # it did not wait for the answer
        self._out += len(message).to_bytes(2, "big") + message
        try:
            self._flush()
        except OSError:
            self.close()

    def _flush(self) -> None:
        assert self.socket is not None
        try:
            self._out = self._out[self.socket.send(self._out) :]
        except BlockingIOError:
            pass  # it reads slowly
        self.server.loop.want(self.socket.fileno(), READ | WRITE if self._out else READ)

    def late(self) -> None:
        self.close()

    def close(self) -> None:
        if self.socket is not None:
            self.server.loop.remove(self.socket.fileno())
            self.socket.close()
            self.socket = None
        self.server.waiting.discard(self)
