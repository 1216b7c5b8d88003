"""One process per container, until its end: keeps its log, serves attach and exec, records how it ended.

It is reparented, in a session of its own, and imports as little as can be: one of these sleeps beside every
container. So little happens in it: what takes memory is done by a `worker`, the start by `incarnation`. `spawned` makes
its interpreter ready and says what may be loaded, `service` is what clients ask of it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import marshal
import os
import select
import time

from pyctr.core import errors
from pyctr.core.linux import process
from pyctr.core.runtime import clients, incarnation, init, offices, record, rest, restart, start, steward, sync, worker
from pyctr.core.runtime.children import Children
from pyctr.core.runtime.loop import READ, Loop
from pyctr.core.runtime.plan import Plan
from pyctr.core.runtime.service import Service
from pyctr.core.runtime.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.cgroups.group import Manager
    from pyctr.core.fuseoverlay import Served
    from pyctr.core.runtime.clients import Client
    from pyctr.core.runtime.doors import Doors
    from pyctr.core.runtime.health import Monitor
    from pyctr.core.runtime.nameserver import NameServer
    from pyctr.core.runtime.oom import Watch
    from pyctr.core.runtime.worker import Reply

_PATIENCE = 5.0
"""Seconds a foreground client gets to say, after the end, that it cleans up."""


class Shim:
    """The container's keeper."""

    def __init__(self) -> None:
        self.document = b""
        """The marshal'ed plan: kept as bytes, it is small."""
        self.loop = Loop()
        self.policy = restart.Policy()
        self.children = Children()
        self.clients: list[Client] = []
        self.foreground: Client | None = None
        self.streams: Streams | None = None
        self.watch: Watch | None = None
        self.health: Monitor | None = None
        self.served: Served | None = None
        """The process behind the root file system, where there is one."""
        self.names: NameServer | None = None
        self.name_sockets: list[_socket.socket] = []
        self.doors: Doors | None = None
        self.files = 0
        """The limit on descriptors before `doors.make_room`, 0 if it still holds."""
        self._servers: list[str] | None = None
        self.pid = 0
        self.pidfd = -1
        self.began = 0.0
        self.status: int | None = None
        self.no_restart = False
        self.service = Service(self, self._left)
        self.rest = rest.Rest(self)
        self.terminal = False
        self.own: list[str] = []
        self.wishes: dict[str, Any] = {}
        """Those of `incarnation.KEPT`."""
        self.place: tuple[str, str, dict[str, Any]] = ("", "", {})
        """Of `manager`."""
        self._manager: Manager | None = None
        self._adopted: dict[str, Any] = {}
        """See `incarnation.hand_over`."""
        self.launcher = -1
        """The pid of the one that we have left behind (`launcher`); less where we have left none."""
        self.leftovers: list[Streams] = []
        """Of processes that an exec has left running: read for nobody, so that they can go on."""
        self.hired = False
        """Whether the host has a steward, as far as we are to see to it."""
        self._owed = False
        """Whether others leave it to us to make one."""

    def run(self, client: int) -> int:
        """Incarnations, one after another; returns when nothing is left to do. `client` is the connection to who will
        say which container."""
        launcher = os.getppid()
        watch = select.epoll()
        begun = worker.fork(lambda reply: incarnation.first(client, launcher, watch, reply))
        told = False
        if (when := begun.receive()) != worker.NOW:
            told = not os.waitpid(begun.pid, 0)[1]
            sleep = rest.Sleep(watch, client, begun, self.launcher)
            if told and sleep.until_heard(when):
                client = -1
            self.hired = sleep.hired
        watch.close()
        process.subreaper()
        return self.live(begun.answered(), begun.descriptors(), client, told=told)

    def live(self, said: bytes, descriptors: list[int], client: int = -1, *, told: bool = True) -> int:
        """With what the worker of the first start has answered; whether it has `told` the client."""
        self.children.watch(self.loop)
        try:
            answer = worker.answer(said, descriptors)
        except start.Failed:
            answer = None
        if answer is None:
            # it has told the client, or the client hears that nobody is left
            worker.end_strangers(())
            return 125
        self._adopt(*answer)
        if client >= 0:
            self._keep_client(_socket.socket(fileno=client), b"" if told else answer[0]["say"])
        while True:
            exit, again = self._live()
            if not again:
                break
            if not self._again(exit):
                break
        self._finish()
        return 0

    def plan(self) -> Plan:
        """The one of the container that runs, made anew: for somebody who soon goes away."""
        return Plan.from_document(marshal.loads(self.document))

    def manager(self) -> Manager:
        """Of the container's group."""
        if self._manager is None:
            from pyctr.core.runtime import ops_cgroup

            self._manager = ops_cgroup.manager(*self.place)
        return self._manager

    def ask(self, work: Callable[[Reply], None], doing: str = "exec") -> tuple[Any, list[int]]:
        """Have a worker do something in the container: its answer. Raises start.Failed."""
        try:
            if (answer := worker.fork(work, doing, self.forget_doors).answer()) is not None:
                return answer
            failed = start.Failed("RuntimeFailure", f"{doing}: the process at work was killed", "is memory short?")
        except OSError as error:
            failed = start.Failed(*init.describe(error, doing))
        except start.Failed as error:
            failed = error
        worker.end_strangers(self.children)
        raise failed

    def forget_doors(self) -> None:
        """In a worker: what it makes inside has neither them nor the limit that they need."""
        if self.doors is not None:
            self.doors.forget()
        if self.files:
            process.setrlimit("RLIMIT_NOFILE", self.files, process.getrlimit("RLIMIT_NOFILE")[1])

    def _adopt(self, value: dict[str, Any], descriptors: list[int]) -> None:
        """A new incarnation, as `incarnation.hand_over` says."""
        given: dict[str, list[int]] = {}
        for letter, fd in zip(value["letters"], descriptors, strict=True):
            given.setdefault(letter, []).append(fd)
        self.pid, self.own, self.terminal, self.wishes = value["pid"], value["own"], value["terminal"], value["wishes"]
        self.place = value["place"]
        self.pidfd = given[incarnation.PIDFD][0]
        self.document = value["document"] or self.document
        self.began = value["began"]
        self.files = value["files"] or self.files
        self.status = None
        self.no_restart = self.no_restart or bool(value.get("no_restart"))
        self.children[self.pid] = self._died
        if listener := given.get(incarnation.LISTENER):
            self.service.open(listener[0])
        if watched := given.get(incarnation.WATCH):
            from pyctr.core.runtime.oom import Watch

            self.watch = Watch(self.loop, watched, self.manager, self._out_of_memory)
            self.watch.kills = value.get("kills", 0)
        log = None
        if wish := self.wishes.get("log"):
            from pyctr.core.logs import LogWriter

            fd = given.get(incarnation.LOG, (-1,))[0]
            log = LogWriter(wish["path"], wish.get("max_size") or 0, wish.get("max_files") or 1, fd)
        if served := given.get(incarnation.SERVED):
            from pyctr.core.fuseoverlay import Served

            self.served = Served(-1, value["server"], served[0])
        self._adopted = value
        self.rest.begin(value.get("idle"))
        if value["steward"] and not self.hired:
            self._owed = True
            self.loop.at(time.monotonic() + steward.WAITS, self._hire)
        if names := given.get(incarnation.NAMES):
            self.answer_names(names, value.get("servers"))
        self.open_doors(given.get(incarnation.DOORS))
        fds = [given.get(letter, (-1,))[0] for letter in (incarnation.INPUT, incarnation.OUTPUT, incarnation.ERRORS)]
        self.streams = Streams(self.loop, fds, terminal=self.terminal, log=log)
        for client in self.clients:
            if client.pid == 0 and (client is self.foreground or client.streams is not None):
                self.listen(client, self.streams)
        self._watch_health()

    def answer_names(self, descriptors: list[int], servers: list[str] | None = None) -> None:
        """From its first question on; what answers is not loaded before. `servers` of the world are the plan's unless
        given."""
        sockets = [_socket.socket(fileno=fd) for fd in descriptors]

        def load(fd: int) -> None:
            from pyctr.core.runtime.nameserver import NameServer

            wishes = self.plan().wishes
            run, known = f"{wishes['paths']['run']}/networks", list(wishes["network"].get("resolver") or ())
            self.names = NameServer(self.loop, sockets, run, wishes["id"], known if servers is None else servers)
            for socket, handler in zip(sockets, (self.names.datagram, self.names.connection), strict=True):
                self.loop.remove(socket.fileno())
                self.loop.add(socket.fileno(), READ, handler)
                if socket.fileno() == fd:
                    handler(0)

        self.name_sockets, self._servers = sockets, servers
        for fd in descriptors:
            self.loop.add(fd, READ, lambda _, fd=fd: load(fd))  # type: ignore[misc]

    def open_doors(self, descriptors: list[int] | None) -> None:
        """Those of `doors.opened`, instead of any there are."""
        if self.doors is not None:
            self.doors.close()
            self.doors = None
        if descriptors:
            from pyctr.core.runtime.doors import Doors

            self.doors = Doors(self, descriptors)

    def _hush_names(self) -> None:
        if self.names is not None:
            self.names.close()
        else:
            for socket in self.name_sockets:
                self.loop.remove(socket.fileno())
                socket.close()
        self.names, self.name_sockets = None, []

    def _watch_health(self) -> None:
        if not (settings := self.wishes.get("health")):
            return
        from pyctr.core.health import FILE
        from pyctr.core.runtime.health import Inside, Monitor

        inside = Inside(self.pid, self.pidfd, self.own, manager=self.manager, plan=self.plan, ask=self.ask)
        path = f"{self.wishes['run']}/{FILE}"
        final = "" if self.wishes.get("auto_remove") else f"{self.wishes['bundle']}/{FILE}"
        self.health = Monitor(self.loop, self.children, inside, settings, path, final, self._health_changed)

    def _health_changed(self, status: str) -> None:
        self._event(f"health_status: {status}")

    def listen(self, client: Client, streams: Streams) -> None:
        client.streams = streams
        streams.audience.append(client)

    def _keep_client(self, socket: _socket.socket, say: bytes) -> None:
        """The starting client hears `say`, stays as listener if it wants; in any case we notice when it goes."""
        try:
            socket.sendall(say, _socket.MSG_NOSIGNAL)
        except OSError:
            pass  # nobody wants to know any more
        client = clients.Client(
            self.loop, socket, self.service.request, self._left, foreground=bool(self.wishes.get("attach"))
        )
        self.clients.append(client)
        self.foreground = client
        if self.wishes.get("attach") and self.streams is not None:
            self.listen(client, self.streams)

    # what happens while it runs

    def _live(self) -> tuple[dict[str, Any], bool]:
        """Until this incarnation has ended and is on record; (its exit, whether to start again)."""
        while self.status is None:
            self.loop.turn()
        return self._ended(self.status)

    def _died(self, code: int) -> None:
        self.status = code

    def _out_of_memory(self, kills: int) -> None:
        self._event("oom", kills=kills)

    def _left(self, client: Client) -> None:
        if client in self.clients:
            self.clients.remove(client)
        if client is self.foreground and self.wishes.get("bound") and self.status is None:
            self._try(self.manager().kill)

    def learnt(self) -> dict[str, Any]:
        """What `live` takes, but for the descriptors' letters: all that is known beyond them."""
        return {
            **self._adopted,
            "document": self.document,
            "say": b"",
            "steward": False,
            "kills": self.watch.kills if self.watch is not None else 0,
            "no_restart": self.no_restart,
            "servers": self._servers,
            "files": self.files,
        }

    # the end of an incarnation

    def _ended(self, status: int) -> tuple[dict[str, Any], bool]:
        assert self.streams is not None
        ran = time.monotonic() - self.began
        kills = 0
        if self.watch is not None:
            kills = self.watch.kills
            self.watch.close()
            self.watch = None
        if self.health is not None:
            self.health.close()
            self.health = None
        self._hush_names()
        self.open_doors(None)
        if "pid" not in self.own:
            # without a pid namespace of its own, others of it may have outlived the first process
            self._try(self.manager().kill)
        self.streams.drain()
        listeners = list(self.streams.audience)
        self.streams.close()
        self.streams = None
        os.close(self.pidfd)
        self.pidfd = -1
        if self.served is not None:
            # before it is on record that the writable layer is free
            self.served.end()
            self.served = None
        exit, again = self._conclude(status, kills)
        if again:
            self._delay = self.policy.delay(ran)
            return exit, True
        self._tell(listeners, exit)
        return exit, False

    def _conclude(self, status: int, kills: int) -> tuple[dict[str, Any], bool]:
        """The end on record; by a worker if we may have to go on after it."""

        def conclude() -> tuple[dict[str, Any], bool]:
            return incarnation.ended(self.plan(), status, kills, not self.no_restart)

        if self.wishes.get("restart", "no") != "no":
            try:
                (exit, again), _ = self.ask(lambda reply: reply(conclude()), "end")
                return exit, again
            except start.Failed:
                pass  # it was killed: then with our own hands
        return conclude()

    def _tell(self, listeners: list[Client], exit: dict[str, Any]) -> None:
        for client in {self.foreground, *listeners}:
            if client is not None and client.open:
                client.send(sync.EXITED, marshal.dumps(exit))
        for client in self.clients[:]:
            if client is not self.foreground:
                client.finish()

    def _again(self, exit: dict[str, Any]) -> bool:
        """Wait out the back-off and start anew; False when somebody stopped it or it failed."""
        deadline = time.monotonic() + self._delay
        while not self.no_restart and time.monotonic() < deadline:
            self.loop.turn(deadline)
        listeners = [client for client in self.clients if client.pid == 0]
        document, wanted = self.document, not self.no_restart
        try:
            value, descriptors = self.ask(lambda reply: incarnation.again(document, exit, wanted, reply), "start")
        except start.Failed as failed:
            last: dict[str, Any] | None = self._give_up(failed)
        else:
            if "failed" not in value:
                self.hired = False
                self._adopt(value, descriptors)
                return True
            last = value["failed"]
        if last is not None:
            self._tell(listeners, last)
        return False

    def _give_up(self, failed: start.Failed) -> dict[str, Any]:
        """A start whose worker was killed, or could not be made: nothing of it stays. The end on record."""
        wishes = self.plan().wishes
        self._try(self.manager().kill)
        self._try(self.manager().remove)
        recorder = record.Recorder(wishes.get("state") or "")
        lock = recorder.lock()
        try:
            return incarnation.give_up(recorder, recorder.read(), errors.RuntimeFailure.exit_code, failed.report[1])
        finally:
            if lock is not None:
                lock.release()

    def _finish(self) -> None:
        """Hand over to the client's cleaning or to our own, leave nothing of ourselves."""
        self.service.close()
        incarnation.remove_directory(self.wishes.get("run") or "")
        if self._owed:
            self._leave_unhired()
        cleanup = self.plan().wishes.get("cleanup") or []
        client = self.foreground
        patience = time.monotonic() + _PATIENCE
        while any(other.behind for other in self.clients):
            # what a foreground client has not read yet is its output: as long as it takes
            late = time.monotonic() > patience
            for other in self.clients[:]:
                if late and not other.foreground:
                    other.close()
            self.loop.turn(time.monotonic() + 1)
        if cleanup and client is not None:
            while client.open and not client.cleans and time.monotonic() < patience:
                self.loop.turn(patience)
        if cleanup and not (client is not None and client.cleans):
            for other in self.clients[:]:
                other.close()
            _signal.set_wakeup_fd(-1)
            os.execve(cleanup[0], cleanup, {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})

    # small things

    def _event(self, action: str, **attributes: Any) -> None:
        try:
            worker.fork(lambda reply: incarnation.event(self.plan().wishes, action, **attributes)).receive()
        except OSError:
            pass  # no memory for a process: the journal never stops a container

    def _hire(self) -> None:
        self.hired, self._owed = True, False
        self._try(lambda: steward.hire(lambda: self.plan().wishes["paths"]))

    def _leave_unhired(self) -> None:
        """Our container was over before the moment came."""
        run = self.plan().wishes["paths"]["run"]
        try:
            others = os.listdir(f"{run}/containers")
        except OSError:
            others = []
        if others:
            self._hire()
        else:
            offices.leave_vacant(f"{run}/{offices.STEWARD}")

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (OSError, errors.PyctrError):
            pass  # the next pyctr finds what is left
