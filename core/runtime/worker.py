"""Copies of a shim that do what would cost the shim its memory, hand back what came of it and end.

    shim ── fork ──> worker        a start, an exec, a probe: unmarshals the plan, makes groups, links, mounts, clones
      │                │
      │                └── CLONE_PARENT ──> init, a child of the shim like one of its own making
      <── answer ──────┘                    marshal, descriptors as SCM_RIGHTS

A page that a process writes to is its own from then on, and shared with the launcher and the other shims until then.
One start writes to most of an interpreter's pages. So the shim only waits, and sleeps with what it has not touched;
what the worker has touched goes with it. The shim sees the container's end, its pidfd and its signals as ever, because
it is the parent. A worker dies with its shim. Whoever kills a worker has killed the start: see `Worker.answer`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import marshal
import os

from pyctr.core import errors
from pyctr.core.runtime import init, start, sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

    Reply = Callable[..., None]
    """(value, descriptors, when=): the one answer. Raises OSError when nobody hears it any more."""


_CHUNK = 1 << 16
BUNCH = 100
"""Descriptors that go with one message; the kernel takes 253 at most (SCM_MAX_FD, unix(7))."""
_ROOM = _socket.CMSG_SPACE(4 * BUNCH)
NOW, LATER, SOON = b"0", b"1", b"2"
"""When the shim has to look at an answer: at once, or once something is heard of the container; with SOON the host
needs a steward, too."""


class Worker:
    """One that is at work."""

    def __init__(self, pid: int, socket: _socket.socket) -> None:
        self.pid = pid
        self._socket = socket
        self._pieces: list[bytes] = []
        self._ancillary: list[Any] = []

    def receive(self) -> bytes:
        """Wait until it has answered, or died; when the answer has to be looked at."""
        while True:
            piece, ancillary, _, _ = self._socket.recvmsg(_CHUNK, _ROOM, _socket.MSG_CMSG_CLOEXEC)
            if not piece:
                self._socket.close()
                return self._pieces[0][:1] if self._pieces else NOW
            self._pieces.append(piece)
            self._ancillary += ancillary

    def descriptors(self) -> list[int]:
        """Those that came with the answer."""
        return sync.descriptors(self._ancillary)

    def answered(self) -> bytes:
        """What it has said, for `answer`."""
        return b"".join(self._pieces)

    def answer(self) -> tuple[Any, list[int]] | None:
        """What it hands back, with descriptors; None when it ended without a word: killed, or with nothing to say.

        Raises start.Failed with what it could not do. What a killed one had made is without anybody who knows it.
        """
        if not self._pieces:
            self.receive()
        said, descriptors = self.answered(), self.descriptors()
        self._pieces.clear()
        return answer(said, descriptors)


def said(value: Any, count: int, when: bytes = NOW) -> bytes:
    """A good answer, with so many descriptors."""
    return when + marshal.dumps((None, count, value))


def answer(said: bytes, descriptors: list[int]) -> tuple[Any, list[int]] | None:
    """What a worker means that has said this, see `Worker.answer`."""
    try:
        failure, count, value = marshal.loads(said[1:])
    except (EOFError, ValueError, TypeError):
        failure, count, value = None, -1, None  # it was killed in the middle of it
    if failure is None and len(descriptors) == count:
        return value, descriptors
    for fd in descriptors:
        os.close(fd)
    if count < 0:
        return None
    raise start.Failed(*(failure or ("RuntimeFailure", "the shim has no file descriptors left", "'ulimit -n'")))


def fork(work: Callable[[Reply], None], doing: str = "", before: Callable[[], None] | None = None) -> Worker:
    """A worker that does `work`, called `doing` in messages, and `before` that. It is reaped with the shim's other
    children. Raises OSError."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    shim = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        ours.close()
        _work(work, doing, before, theirs, shim)
    theirs.close()
    return Worker(pid, ours)


def _work(
    work: Callable[[Reply], None],
    doing: str,
    before: Callable[[], None] | None,
    socket: _socket.socket,
    shim: int,
) -> NoReturn:
    code = 1
    try:
        from pyctr.core.linux import process

        # the pipe behind it is the shim's, too
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        process.parent_death_signal(_signal.SIGKILL)
        if os.getppid() != shim:
            os._exit(1)
        process.set_name("pyctr-worker")
        channel = sync.Channel(socket)

        def reply(value: Any, descriptors: tuple[int, ...] = (), *, when: bytes = NOW) -> None:
            data = said(value, len(descriptors), when)
            while len(descriptors) > BUNCH:
                # with a byte each: descriptors alone are no message
                channel.send(data[:1], descriptors[:BUNCH])
                data, descriptors = data[1:], descriptors[BUNCH:]
            channel.send(data, descriptors)
            socket.shutdown(_socket.SHUT_WR)

        try:
            if before is not None:
                before()
            work(reply)
        except (start.Failed, errors.PyctrError, OSError) as error:
            report = error.report if isinstance(error, start.Failed) else init.describe(error, doing)
            channel.send(NOW + marshal.dumps((report, 0, None)))
        code = 0
    finally:
        os._exit(code)


def end_strangers(known: Iterable[int]) -> None:
    """Kill what a worker that was killed has left us: our children inside the container that we do not know of.

    An init or a further process just through its execve outlives its maker.
    """
    try:
        with open("/proc/thread-self/children", "rb", buffering=0) as file:
            pids = {int(word) for word in file.read().split()}
    except OSError:
        return  # a kernel without CONFIG_PROC_CHILDREN
    here = os.stat("/proc/self/ns/pid").st_ino
    for pid in pids.difference(known):
        try:
            # others are orphans of a container in our own pid namespace, or what a hook has left running
            if os.stat(f"/proc/{pid}/ns/pid").st_ino != here:
                os.kill(pid, _signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass  # a zombie: nobody else gets its pid before we have reaped it
