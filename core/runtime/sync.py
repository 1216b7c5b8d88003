"""The wire between client, shim and init.

Client and shim talk over a stream socket, in frames:

    +------+----------------+-----------------+
    | kind | length (u32 BE)| payload         |      kind is one ASCII character
    +------+----------------+-----------------+

    client ──> shim                                        shim ──> client
    P  marshal (config, wishes), lock as SCM_RIGHTS        T  marshal (step, text, started_us, took_us)
    A  marshal {"logs"}: stdio from now on                 R  marshal {pid, start_time, ...}: it runs
    E  marshal {args, env, cwd, user, tty, ...}: exec      F  marshal (error class, message, hint): it does not
    0  stdin; empty is its end                             1  stdout (all output of a terminal)
    W  rows, cols (2 x u16 BE)                             2  stderr
    K  signal (u8): to the process of this connection      X  marshal {code, signal, oom_killed}: the end
    S  no further restarts                                 Q  done (answer to S, K, D, O)
    C  "I clean up": no auto-remove by the shim
    H  probe the health now; X then has {code, status}
    D  marshal {order, servers}: answer for names from now on
    O  marshal attachment: open the doors of its ports, instead of those that are open (`doors`)

A start uses P over the socket pair the shim was spawned with; the others open a connection to shim.sock. After
X the shim closes; a client that closes early has detached. Times are CLOCK_MONOTONIC microseconds.

Shim and init talk over a SOCK_SEQPACKET pair, one message per packet, the same kinds plus:

    shim ──> init   U  your user namespace is mapped        init ──> shim   T  (step, text, started_us, took_us)
                    N  your network is there                                 M  console master, as SCM_RIGHTS
                                                                            Y  ready, waits at its gate (`gate`)
                    H  the hooks of the host have run                       H  run the hooks of the host
                                                                            B  pid, pidfd as SCM_RIGHTS (exec)
                    V  your interfaces have moved
                    L  somebody answers for the filter                      L  take my filter's listener
                                                                            !  a warning, as text
                                                                            F  this failed
                                                                            X  execve failed, see `ops_depart`
    end of file from init without F: execve succeeded.

What init says is text, its parts divided by NUL: it is on its way into the container, and marshal is no format for
what somebody there may have had a hand in. Between client and shim it is
marshal, because both ends are the same interpreter and nothing needs importing for it; nobody but root of this
namespace can reach either socket (directory mode 0700, peer credentials).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import errno
import marshal
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PLAN, ATTACH, EXEC, STDIN, WINSIZE, KILL, STOP, CLEAN = b"P", b"A", b"E", b"0", b"W", b"K", b"S", b"C"
HEALTH, DOORS = b"H", b"O"
TRACE, RUNNING, FAILED, STDOUT, STDERR, EXITED, DONE = b"T", b"R", b"F", b"1", b"2", b"X", b"Q"
MAPPED, LINKED, MASTER, NAMES, READY = b"U", b"N", b"M", b"D", b"Y"
HOOKS = HOOKED = b"H"
CHILD = b"B"
REFUSED = b"X"
WARNING, LISTENER, MOVED = b"!", b"L", b"V"

MAX_FRAME = 64 << 20
"""Nothing we send is near this; a longer frame is a peer that speaks something else."""
_HEAD = struct.Struct(">cI")
_PEER = struct.Struct("3i")
_CHUNK = 1 << 16
_SO_PEERPIDFD = 77


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(payload)) + payload


def document(kind: bytes, value: Any) -> bytes:
    """A frame whose payload is marshal'ed."""
    return frame(kind, marshal.dumps(value))


def words(*parts: object) -> bytes:
    """Parts of a payload from inside, see `parse_words`."""
    return "\0".join(str(part).replace("\0", "?") for part in parts).encode(errors="replace")


def parse_words(payload: bytes, count: int) -> list[str]:
    """Exactly `count` parts, whatever came: missing ones are empty, what is too much is left out."""
    parts = payload.decode(errors="replace").split("\0")
    return [*parts, *[""] * count][:count]


def winsize(rows: int, cols: int) -> bytes:
    return frame(WINSIZE, struct.pack(">HH", rows, cols))


def parse_winsize(payload: bytes) -> tuple[int, int]:
    rows, cols = struct.unpack(">HH", payload)
    return rows, cols


class Parser:
    """Frames out of a byte stream in whatever pieces it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The frames that are whole now. Raises ValueError for a frame that cannot be ours."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(buffer)
            if length > MAX_FRAME:
                raise ValueError(f"frame of {length} bytes")
            end = _HEAD.size + length
            if len(buffer) < end:
                return
            payload = bytes(buffer[_HEAD.size : end])
            del buffer[:end]
            yield kind, payload


class Channel:
    """One end of a stream of frames, blocking. `descriptors` collects what came by SCM_RIGHTS."""

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket
        self.descriptors: list[int] = []
        self._parser = Parser()
        self._ready: list[tuple[bytes, bytes]] = []

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """All of `data` (frames). Raises BrokenPipeError, ConnectionResetError when the peer is gone."""
        if descriptors:
            sent = self.socket.sendmsg([data], rights(descriptors), _socket.MSG_NOSIGNAL)
            data = data[sent:]
        if data:
            self.socket.sendall(data, _socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[bytes, bytes]:
        """The next frame. Raises EOFError when the peer closed."""
        while not self._ready:
            self._ready += self.read()
        return self._ready.pop(0)

    def pending(self) -> bool:
        """Whether `receive` has a frame without reading."""
        return bool(self._ready)

    def read(self) -> list[tuple[bytes, bytes]]:
        """One read(2)'s worth of whole frames, those kept by `receive` first. Raises EOFError, BlockingIOError."""
        if self._ready:
            ready, self._ready = self._ready, []
            return ready
        try:
            data, ancillary, _, _ = self.socket.recvmsg(_CHUNK, 256, _socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            raise EOFError from None
        self.descriptors += descriptors(ancillary)
        if not data:
            raise EOFError
        return list(self._parser.feed(data))

    def close(self) -> None:
        self.socket.close()
        for fd in self.descriptors:
            os.close(fd)
        self.descriptors = []


class Packets:
    """One end of the shim-init pair: a packet is a kind and a payload."""

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket
        self.early: list[tuple[bytes, bytes, list[int]]] = []
        """Packets that came before their time: `receive` gives them first."""

    def send(self, kind: bytes, payload: bytes = b"", descriptors: tuple[int, ...] = ()) -> None:
        self.socket.sendmsg([kind, payload], rights(descriptors) if descriptors else [], _socket.MSG_NOSIGNAL)

    def receive(self, *, wait: bool = True) -> tuple[bytes, bytes, list[int]]:
        """(kind, payload, descriptors); kind b"" at the end. Raises BlockingIOError when nothing is there."""
        if self.early:
            return self.early.pop(0)
        flags = _socket.MSG_CMSG_CLOEXEC | (0 if wait else _socket.MSG_DONTWAIT)
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(_CHUNK * 4, 256, flags)
            except ConnectionResetError:
                # the peer died with a packet of ours unread: that is told once, before what it had still said
                continue
            return data[:1], data[1:], descriptors(ancillary)

    def ask(self, kind: bytes, payload: bytes) -> bool:
        """A word and its answer, which is the same kind again, with write(2) and read(2) alone."""
        fd = self.socket.fileno()
        os.write(fd, kind + payload)
        return os.read(fd, 64)[:1] == kind

    def close(self) -> None:
        self.socket.close()


def packets() -> tuple[Packets, Packets]:
    """A connected pair; both ends are close-on-exec."""
    one, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC, 0)
    return Packets(one), Packets(other)


def trusted(socket: _socket.socket) -> bool:
    """Whether who connected may do all that we may: our user or root, in our user namespace, with our capabilities.

    The uid alone (SO_PEERCRED, unix(7)) says too little: root of a container that has this directory mounted is 0, too.
    A peer that has ended by now is refused, also when another process has its pid (from Linux 6.5 on, SO_PEERPIDFD).
    """
    pid, uid, _ = _PEER.unpack(socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER.size))
    if uid not in (0, os.geteuid()):
        return False
    pidfd = -1
    try:
        pidfd = _peer_pidfd(socket)
        if os.stat(f"/proc/{pid}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
            return False
        if _permitted("self") & ~_permitted(str(pid)):
            return False
        if pidfd >= 0:
            # after the questions: who is still there was there when they were answered
            _signal.pidfd_send_signal(pidfd, 0)
        return True
    except OSError:
        return False
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def _peer_pidfd(socket: _socket.socket) -> int:
    """Of the process that connected, -1 where the kernel does not give one. Raises OSError when it is gone."""
    try:
        return socket.getsockopt(_socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return -1
        raise


def _permitted(pid: str) -> int:
    with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
        _, _, rest = file.read().partition(b"\nCapPrm:")
    return int(rest.split(maxsplit=1)[0], 16)


def rights(descriptors: tuple[int, ...]) -> list[tuple[int, int, bytes]]:
    """For sendmsg(2): descriptors that go with a message."""
    return [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack(f"{len(descriptors)}i", *descriptors))]


def descriptors(ancillary: list[Any]) -> list[int]:
    """Those that came with a message."""
    found: list[int] = []
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            found += struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4])
    return found
