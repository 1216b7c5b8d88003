"""What a shim does while nothing happens: it sleeps over its start, and gives its interpreter up (`doze`) when that
costs more than a few others would share (decisions 0017, 0022).
"""

from __future__ import annotations

import fcntl
import marshal
import os
import termios
import time

from pyctr.core.runtime import doze, incarnation, steward, worker
from pyctr.core.runtime.loop import READ
from pyctr.core.runtime.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

    from pyctr.core.runtime.shim import Shim

ALONE = 12.0
"""Seconds of sleep after which the launcher, with whom we share, has gone as a rule."""
_AGAIN = 300.0
"""Seconds until a shim looks again at what it costs: others may have gone who shared it."""
IDLE = 60.0
"""Seconds without a word after which one that was woken looks at that."""
_LONGEST = 3600.0
ENOUGH = 1000
"""kB of memory that a sleeping one may cost: with some others it shares so much that it is less, and wakes at once."""


class Sleep:
    """Before the answer of the worker has even been looked at: many containers never say a word, and their shims then
    have hardly a page that is not shared with the others."""

    def __init__(self, watch: select.epoll, client: int, begun: worker.Worker, launcher: int = -1) -> None:
        self._watch = watch
        self._launcher = launcher
        self._client = client
        self._begun = begun
        self.hired = False

    def until_heard(self, when: bytes) -> bool:
        """Until something happens that is more than a client's leaving, as most do when their container runs; whether
        the client has left. With `when` SOON the host gets a steward meanwhile."""
        left = False
        pause = steward.WAITS if when == worker.SOON else ALONE
        while True:
            heard = self._watch.poll(pause)
            if not heard:
                if when == worker.SOON:
                    when, pause = worker.LATER, ALONE
                    self._hire()
                else:
                    pause = _AGAIN
                    if self._accompanied():
                        pause = ALONE
                    elif left and size() > ENOUGH:
                        # nobody shares our pages any more, or never did
                        _give_up(self._watch.fileno(), self._begun.answered(), self._begun.descriptors())
                continue
            if any(fd != self._client for fd, _ in heard):
                break
            if fcntl.ioctl(self._client, termios.FIONREAD, b"1234") != b"\0\0\0\0":
                break  # it says something
            self._watch.unregister(self._client)
            os.close(self._client)
            left = True
        return left

    def _accompanied(self) -> bool:
        """Whether our launcher lives: it shares with us, and nobody else waits for its end."""
        if self._launcher > 0 and os.waitpid(self._launcher, os.WNOHANG)[0]:
            self._launcher = -1
        return self._launcher > 0

    def _hire(self) -> None:
        self.hired = True
        try:
            steward.hire(self._paths)
        except OSError:
            pass  # no memory for a process: the next start does it

    def _paths(self) -> dict[str, str] | None:
        value, _ = worker.answer(self._begun.answered(), self._begun.descriptors()) or ({}, [])
        document = value.get("document")
        return Plan.from_document(marshal.loads(document)).wishes.get("paths") if document else None


class Rest:
    """Of a shim that is awake: it looks now and then whether it need be."""

    def __init__(self, shim: Shim) -> None:
        self._shim = shim
        self._heard = 0
        self._idle = IDLE

    def begin(self, idle: float | None) -> None:
        """With a new incarnation, or after having been woken from a rest that came after so much `idle`ness."""
        # to wake costs a start of the interpreter: who is woken again and again rests later
        self._idle = IDLE if idle is None else min(2 * idle, _LONGEST)
        self._heard = self._shim.loop.heard
        self._shim.loop.at(time.monotonic() + self._idle, self._look)

    def _look(self) -> None:
        loop = self._shim.loop
        loop.at(time.monotonic() + self._idle, self._look)
        heard, self._heard = self._heard, loop.heard
        if heard != loop.heard or self._busy() or size() <= ENOUGH:
            return
        loop.add(self._shim.pidfd, READ, lambda _: None)
        given = self._held()
        value = self._shim.learnt()
        value["letters"] = "".join(letter for letter, _ in given)
        value["idle"] = self._idle
        _give_up(loop.fileno(), worker.said(value, len(given)), [fd for _, fd in given])
        loop.remove(self._shim.pidfd)

    def _busy(self) -> bool:
        """Whether it waits for a moment, or knows what descriptors and a document do not say."""
        shim = self._shim
        client, names = shim.foreground, shim.names
        return (
            shim.status is not None
            or "pid" not in shim.own  # its orphans are ours to reap
            or bool(shim.clients)
            or set(shim.children) != {shim.pid}
            or shim.streams is None
            or not shim.streams.quiet
            or any(streams.open for streams in shim.leftovers)
            or shim.health is not None
            or shim.served is not None
            or (client is not None and (client.open or client.cleans))
            or (names is not None and bool(names.waiting))
        )

    def _held(self) -> list[tuple[str, int]]:
        """What a hand-over would give now, see `incarnation`."""
        shim = self._shim
        assert shim.streams is not None
        log = shim.streams.log
        letters = (incarnation.INPUT, incarnation.OUTPUT, incarnation.ERRORS)
        held = [
            (incarnation.PIDFD, shim.pidfd),
            *zip(letters, shim.streams.descriptors(), strict=True),
            (incarnation.LOG, log.fd if log is not None else -1),
            (incarnation.LISTENER, shim.service.descriptor()),
            *((incarnation.WATCH, fd) for fd in (shim.watch.descriptors() if shim.watch is not None else ())),
            *((incarnation.NAMES, socket.fileno()) for socket in shim.name_sockets),
            *((incarnation.DOORS, fd) for fd in (shim.doors.descriptors() if shim.doors is not None else ())),
        ]
        return [(letter, fd) for letter, fd in held if fd >= 0]


def _give_up(watch: int, said: bytes, descriptors: list[int]) -> None:
    """Wait for `watch` without an interpreter, if that is possible, and `Shim.live` again after that."""
    kept: list[int] = []
    try:
        kept += (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, doze.FREE) for fd in descriptors)
        doze.until(watch, "pyctr-shim", "shim", (said, kept), kept)
    except OSError:
        pass  # no descriptors are left
    for fd in kept:
        os.close(fd)


def size() -> int:
    """kB of memory that it costs to have us: proc_pid_smaps_rollup(5), Pss."""
    try:
        fd = os.open("/proc/self/smaps_rollup", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, 4096)
        finally:
            os.close(fd)
        return int(text[text.index(b"Pss:") + 4 :].split(None, 1)[0])
    except (OSError, ValueError):
        return 0
