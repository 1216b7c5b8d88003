"""Probing a container's health from its shim: one process inside now and then, bounded in time and output.

Loaded only beside a container that has a check. Nothing here blocks: the shim has the container's output to read
while a probe runs, or hangs before it even is the command (a working directory on a dead network filesystem).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import fcntl
import os
import time

from pyctr.core import fsutil
from pyctr.core.health import OUTPUT, Verdict
from pyctr.core.linux import procfs
from pyctr.core.runtime import execute, start, sync
from pyctr.core.runtime.context import Context
from pyctr.core.runtime.loop import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.cgroups.group import Manager
    from pyctr.core.runtime.plan import Plan
    from pyctr.core.runtime.worker import Reply

_PF_EXITING = 0x4
"""Of the flags in proc_pid_stat(5): include/linux/sched.h."""
_CHUNK = 1 << 16
_ROUNDS = 20
"""Looks for processes that a hanging probe started between two looks."""


class Inside:
    """The incarnation that is probed. `own` are its namespace types that differ from the host's."""

    def __init__(
        self,
        pid: int,
        pidfd: int,
        own: list[str],
        *,
        manager: Callable[[], Manager],
        plan: Callable[[], Plan],
        ask: Callable[[Callable[[Reply], None]], tuple[Any, list[int]]],
    ) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.own = own
        self.manager = manager
        self.plan = plan
        self.ask = ask
        """Have a worker do something: `Shim.ask`."""

    def dying(self) -> bool:
        """Whether its first process is on its way out. The kernel kills the others before that one can be waited for,
        and holds it until they are reaped (pid_namespaces(7)): their deaths are heard of first."""
        try:
            found = procfs.stat(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return True
        return bool(found.flags & _PF_EXITING) or found.state in "ZXx"


class Monitor:
    """Probes, verdict and record of one incarnation.

    `path` is the record, `final` where it stays when all is over ("" for nowhere), `changed` hears of a new status.
    """

    def __init__(
        self,
        loop: Loop,
        children: dict[int, Callable[[int], None]],
        inside: Inside,
        settings: dict[str, Any],
        path: str,
        final: str,
        changed: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._children = children
        self._inside = inside
        self._settings = settings
        self._path = path
        self._final = final
        self._changed = changed
        self._verdict = Verdict(settings, time.monotonic())
        self._probe: Probe | None = None
        self._askers: list[Callable[[int | None, str], None]] = []
        _unlink(final)  # of the incarnation before
        self._write(path)
        self._rest()

    def ask(self, answer: Callable[[int | None, str], None]) -> None:
        """Probe now, or wait for the probe that runs; (its code, the status after it). None: the container ended."""
        self._askers.append(answer)
        if self._probe is None:
            self._begin()

    def close(self) -> None:
        """The incarnation has ended: no probes, no file in the volatile directory."""
        self._loop.at(None, self._due)
        self._loop.at(None, self._late)
        if self._probe is not None:
            self._probe.kill()
            self._probe.close()
            self._children.pop(self._probe.pid, None)
            self._probe = None
        self._answer(None)
        if self._final:
            self._write(self._final, over=True)
        _unlink(self._path)

    def _rest(self) -> None:
        now = time.monotonic()
        self._loop.at(now + self._verdict.pause(now), self._due)

    def _due(self) -> None:
        if self._probe is not None:
            if self._probe.killed:
                # it sleeps uninterruptibly: another one would pile up behind it
                self._take(-1, "the probe before this one was killed and does not end", time.time(), time.monotonic())
            self._rest()
        elif self._inside.manager().frozen():
            self._rest()
        else:
            self._begin()

    def _begin(self) -> None:
        self._loop.at(None, self._due)
        began, at = time.time(), time.monotonic()
        try:
            probe = self._probe = Probe(self._loop, self._inside, self._settings["args"])
        except (start.Failed, OSError) as error:
            self._take(-1, error.report[1] if isinstance(error, start.Failed) else str(error), began, at)
            self._rest()
            return
        probe.began, probe.at = began, at
        self._children[probe.pid] = self._ended
        self._loop.at(at + self._settings["timeout"], self._late)

    def _late(self) -> None:
        """The probe's time is up."""
        assert self._probe is not None
        probe = self._probe
        if self._inside.manager().frozen():
            # it had no chance to end: a paused container is not measured
            self._loop.at(time.monotonic() + self._settings["timeout"], self._late)
            return
        probe.kill()
        probe.drain()
        output = probe.output()
        text = f"health check exceeded timeout ({_duration(self._settings['timeout'])})"
        self._take(-1, f"{text}: {output}" if output else text, probe.began, probe.at)
        self._rest()

    def _ended(self, status: int) -> None:
        probe, self._probe = self._probe, None
        assert probe is not None
        self._loop.at(None, self._late)
        probe.drain()
        probe.close()
        if probe.killed:
            return  # on record already
        if status < 0 and self._inside.dying():
            return  # the container's end took it along, which says nothing about health
        if probe.failure:
            self._take(-1, probe.failure, probe.began, probe.at)
        else:
            self._take(status if status >= 0 else 128 - status, probe.output(), probe.began, probe.at)
        self._rest()

    def _take(self, code: int, output: str, began: float, at: float) -> None:
        result = {"start": began, "end": time.time(), "code": code, "output": output}
        news = self._verdict.take(result, at)
        self._write(self._path)
        if news:
            self._changed(self._verdict.status)
        self._answer(code)

    def _answer(self, code: int | None) -> None:
        askers, self._askers = self._askers, []
        for answer in askers:
            answer(code, self._verdict.status)

    def _write(self, path: str, *, over: bool = False) -> None:
        try:
            fsutil.write_json(path, self._verdict.to_dict(over=over), durable=False, in_place=True)
        except OSError:
            pass  # disk full: the next probe writes again, the journal has the changes


class Probe:
    """One process inside. Raises start.Failed, OSError when it cannot be made."""

    def __init__(self, loop: Loop, inside: Inside, args: list[str]) -> None:
        self.began = self.at = 0.0
        """When, on the wall and on the monotonic clock."""
        self.killed = False
        self.failure = ""
        """Why it never became the command."""
        self._loop = loop
        self._inside = inside
        self._kept = bytearray()
        self._cut = False
        value, (said, self._pipe) = inside.ask(lambda reply: _begin(inside, args, reply))
        self.pid: int = value["pid"]
        self._packets: sync.Packets | None = sync.Packets(_socket.socket(fileno=said))
        self._packets.early = value["early"]
        self._packets.socket.setblocking(False)
        os.set_blocking(self._pipe, False)
        loop.add(said, READ, self._heard)
        loop.add(self._pipe, READ, self._readable)
        if self._packets.early:
            self._heard(0)

    def _heard(self, events: int) -> None:
        """What it says on the way to its execve."""
        packets = self._packets
        while packets is not None:
            try:
                kind, payload, _ = packets.receive()
            except BlockingIOError:
                return
            if kind == sync.FAILED:
                self.failure = sync.parse_words(payload, 3)[1]
            elif not kind:
                self._loop.remove(packets.socket.fileno())
                packets.close()
                packets = self._packets = None

    def _readable(self, events: int) -> None:
        self._read()

    def _read(self) -> int:
        """One read's worth; its bytes, 0 when there is nothing now or ever."""
        try:
            data = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return 0
        if not data:
            self._close_pipe()
            return 0
        if self.killed:
            return len(data)  # shells have something to say when their children are killed
        room = OUTPUT - len(self._kept)
        self._kept += data[:room]
        self._cut = self._cut or len(data) > room
        return len(data)

    def drain(self) -> None:
        """What it left behind in its pipe."""
        self._heard(0)
        self._empty()

    def _empty(self) -> None:
        left = fcntl.fcntl(self._pipe, fcntl.F_GETPIPE_SZ) if self._pipe >= 0 else 0
        while left > 0 and (count := self._read()):
            left -= count

    def output(self) -> str:
        """The first OUTPUT bytes of stdout and stderr, "..." if there was more."""
        return self._kept.decode(errors="replace") + ("..." if self._cut else "")

    def kill(self) -> None:
        """With everything it started: it adopts orphans of its offspring (see `execute`), so that is all below it."""
        if self.killed:
            return
        self._empty()
        self.killed = True
        try:
            # it starts nothing more while we look
            os.kill(self.pid, _signal.SIGSTOP)
            seen: set[int] = set()
            for _ in range(_ROUNDS):
                fresh = self._offspring() - seen
                if not fresh:
                    break
                for pid in fresh:
                    try:
                        os.kill(pid, _signal.SIGKILL)
                    except ProcessLookupError:
                        continue  # it ended by itself
                seen |= fresh
            os.kill(self.pid, _signal.SIGKILL)
        except ProcessLookupError:
            pass  # a zombie is found; one that was reaped is not asked for

    def _offspring(self) -> set[int]:
        """Everything below it, and of its session, that lives in the container's cgroup."""
        parents: dict[int, int] = {}
        found: set[int] = set()
        for pid in self._inside.manager().pids():
            try:
                stat = procfs.stat(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[pid] = stat.ppid
            if stat.session == self.pid:
                found.add(pid)
        for pid in parents:
            line = []
            while pid in parents and pid not in found and pid != self.pid and pid not in line:
                line.append(pid)
                pid = parents[pid]
            if pid == self.pid or pid in found:
                found.update(line)
        return found - {self.pid}

    def close(self) -> None:
        """Every descriptor."""
        if self._packets is not None:
            self._loop.remove(self._packets.socket.fileno())
            self._packets.close()
            self._packets = None
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            self._loop.remove(self._pipe)
            os.close(self._pipe)
            self._pipe = -1


def _begin(inside: Inside, args: list[str], reply: Reply) -> None:
    """In a worker: the process, what it says on its way, and its output. Raises start.Failed, OSError."""
    context = Context(inside.plan())
    context.sibling = True
    context.manager = inside.manager()
    output, writing = os.pipe2(os.O_CLOEXEC)
    context.stdio = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), writing, os.dup(writing)]
    execute.begin(context, inside.pidfd, inside.own, {"args": args, "probe": True})
    assert context.packets is not None
    early: list[tuple[bytes, bytes, list[int]]] = [(kind, payload, []) for kind, payload, _ in context.packets.early]
    reply({"pid": context.pid, "early": early}, (context.packets.socket.fileno(), output))


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # never written


def _duration(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
