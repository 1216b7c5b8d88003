"""One process per container, until its end: starts it, keeps its log, serves attach and exec, records how it ended.

It is reparented, in a session of its own, and imports as little as can be: one of these sleeps beside every
container. `spawned` makes its interpreter ready and says what may be loaded, `service` is what clients ask of it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import marshal
import os
import time

from pyctr.core import errors, fsutil
from pyctr.core.runtime import clients, init, record, restart, start, sync
from pyctr.core.runtime.children import Children
from pyctr.core.runtime.loop import READ, Loop
from pyctr.core.runtime.plan import Plan, build
from pyctr.core.runtime.service import Service
from pyctr.core.runtime.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.cgroups.group import Manager
    from pyctr.core.fuseoverlay import Served
    from pyctr.core.logs import LogWriter
    from pyctr.core.runtime.clients import Client
    from pyctr.core.runtime.context import Context
    from pyctr.core.runtime.health import Monitor
    from pyctr.core.runtime.nameserver import NameServer
    from pyctr.core.runtime.oom import Watch
    from pyctr.core.runtime.ruleguard import RuleGuard

_SETTLE = 0.5
"""Seconds without events after which the memory of the start is given back."""
_PATIENCE = 5.0
"""Seconds a foreground client gets to say, after the end, that it cleans up."""


class Shim:
    """The container's keeper. `order` is the marshal'ed pair of config.json and wishes."""

    def __init__(self, order: bytes, channel: sync.Channel, descriptors: list[int]) -> None:
        self.order = order
        self.document = b""
        """The marshal'ed plan: kept as bytes, it is small."""
        self.channel: sync.Channel | None = channel
        self.lock = descriptors[0] if descriptors else -1
        self.loop = Loop()
        self.policy = restart.Policy()
        self.children = Children()
        self.clients: list[Client] = []
        self.foreground: Client | None = None
        self.streams: Streams | None = None
        self.manager: Manager | None = None
        self.watch: Watch | None = None
        self.log: LogWriter | None = None
        self.health: Monitor | None = None
        self.served: Served | None = None
        """The process behind the root file system, where there is one."""
        self.names: NameServer | None = None
        self.name_sockets: list[_socket.socket] = []
        self.rules: RuleGuard | None = None
        self.facts: dict[str, Any] = {}
        self.pid = 0
        self.pidfd = -1
        self.began = 0.0
        self.status: int | None = None
        self.no_restart = False
        self.service = Service(self, self._left)
        self.terminal = False
        self.own: list[str] = []
        self.wishes: dict[str, Any] = {}
        self.network: dict[str, Any] | None = None
        """What its record says now, once it is started again."""
        self._directory = ""

    def run(self) -> int:
        """Incarnations, one after another; returns when nothing is left to do."""
        trace: list[tuple[str, str, int, int]] = []
        try:
            context, trace = self._start()
        except start.Failed as failed:
            self._say(sync.FAILED, failed.report)
            return 125
        self.children.watch(self.loop)
        facts = self._began()
        try:
            if self.lock >= 0 or not self.recorder.path:
                self.recorder.running(facts, None)
            self._adopt(context)
        except OSError as error:
            self._abandon(context)
            self._say(sync.FAILED, init.describe(error, "recording the start"))
            return 125
        for line in trace:
            self._say(sync.TRACE, line)
        self._say(sync.RUNNING, facts)
        self._keep_client()
        self._event("start")
        # the next verb may come now, and its event after this one's
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1
        self.service.guard()
        while True:
            exit, again = self._live()
            if not again:
                break
            if not self._again(exit):
                break
        self._finish()
        return 0

    def _start(self) -> tuple[Context, list[tuple[str, str, int, int]]]:
        plan = self.plan()
        self.wishes = plan.wishes
        self.terminal = plan.terminal
        self.recorder = record.Recorder(self.wishes.get("state") or "")
        self._make_directory()
        try:
            context, trace = start.start(plan, meanwhile=self._meanwhile)
        except start.Failed:
            self._forget()
            raise
        self.pid, self.pidfd, self.manager = context.pid, context.pidfd, context.manager
        self.own = plan.own
        self.began = time.monotonic()
        self.status = None
        return context, trace

    def plan(self) -> Plan:
        """Made once, from the caller's order; the networks are those that the container has been put on since."""
        if self.document:
            plan = Plan.from_document(marshal.loads(self.document))
            if self.network is not None:
                plan.relink(self.network)
            return plan
        config, wishes = marshal.loads(self.order)
        try:
            plan = build(config, wishes)
        except errors.PyctrError as error:
            raise start.Failed(*init.describe(error)) from None
        self.document, self.order = marshal.dumps(plan.to_document()), b""
        return plan

    def _abandon(self, context: Context) -> None:
        """Undo a start: nothing runs that no record tells of."""
        start.undo(context, context.plan.host)
        self.pidfd = -1
        self._forget()

    def _forget(self) -> None:
        """What `_meanwhile` made."""
        if self.watch is not None:
            self.watch.close()
            self.watch = None
        if self.log is not None:
            self.log.close()
            self.log = None
        self._remove_directory()

    def _began(self) -> dict[str, Any]:
        """The `state.Process` of the incarnation that runs since now."""
        self.facts["started_at"] = time.time()
        self.facts["started_monotonic"] = time.clock_gettime(time.CLOCK_BOOTTIME)
        return self.facts

    def _meanwhile(self, context: Context) -> None:
        """What the running container will need of us; nothing of it is seen before `_adopt`."""
        if self._directory:
            self.service.open(self._directory)
        if wish := self.wishes.get("log"):
            from pyctr.core.logs import LogWriter

            self._try(lambda: fsutil.make_private_directory(os.path.dirname(wish["path"])))
            self.log = LogWriter(wish["path"], wish.get("max_size") or 0, wish.get("max_files") or 1)
        assert context.manager is not None
        from pyctr.core.runtime.oom import Watch

        self.watch = Watch(self.loop, context.manager, self._out_of_memory)
        self.facts = record.process(context.pid)
        self.recorder.read_ahead()

    def _adopt(self, context: Context) -> None:
        """The streams of a new incarnation, and who listens."""
        fds, context.streams = context.streams, [-1, -1, -1]
        sockets, context.names = context.names, []
        self.served, context.served = context.served, None
        start.close(context)
        if sockets:
            self._answer_names(sockets)
        self.streams = Streams(self.loop, fds, terminal=self.terminal, log=self.log)
        self.log = None
        for client in self.clients:
            if client.pid == 0 and (client is self.foreground or client.streams is not None):
                self.listen(client, self.streams)
        self.children[self.pid] = self._died
        self._watch_health()

    def _answer_names(self, sockets: list[_socket.socket]) -> None:
        """From its first question on; what answers is not loaded before."""

        def load(fd: int) -> None:
            from pyctr.core.runtime.nameserver import NameServer

            network = self.network or self.wishes["network"]
            run = f"{self.wishes['paths']['run']}/networks"
            self.names = NameServer(self.loop, sockets, run, self.wishes["id"], list(network.get("resolver") or ()))
            for socket, handler in zip(sockets, (self.names.datagram, self.names.connection), strict=True):
                self.loop.remove(socket.fileno())
                self.loop.add(socket.fileno(), READ, handler)
                if socket.fileno() == fd:
                    handler(0)

        self.name_sockets = sockets
        for socket in sockets:
            fd = socket.fileno()
            self.loop.add(fd, READ, lambda _, fd=fd: load(fd))  # type: ignore[misc]

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

        assert self.manager is not None
        inside = Inside(self.pid, self.pidfd, self.manager, self.own, self.plan)
        path = f"{self._directory}/{FILE}"
        final = "" if self.wishes.get("auto_remove") else f"{self.wishes['bundle']}/{FILE}"
        self.health = Monitor(self.loop, self.children, inside, settings, path, final, self._health_changed)

    def _health_changed(self, status: str) -> None:
        self._event(f"health_status: {status}")

    def listen(self, client: Client, streams: Streams) -> None:
        client.streams = streams
        streams.audience.append(client)

    def _keep_client(self) -> None:
        """The starting client stays as listener if it wants; in any case we notice when it goes."""
        channel, self.channel = self.channel, None
        assert channel is not None
        client = clients.Client(
            self.loop, channel.socket, self.service.request, self._left, foreground=bool(self.wishes.get("attach"))
        )
        self.clients.append(client)
        self.foreground = client
        if self.wishes.get("attach") and self.streams is not None:
            self.listen(client, self.streams)

    # what happens while it runs

    def _live(self) -> tuple[dict[str, Any], bool]:
        """Until this incarnation has ended and is on record; (its exit, whether to start again)."""
        settled = False
        while self.status is None:
            if not self.loop.turn(None if settled else time.monotonic() + _SETTLE) and not settled:
                settled = True
                _give_back_memory()
        return self._ended(self.status)

    def _died(self, code: int) -> None:
        self.status = code

    def _out_of_memory(self, kills: int) -> None:
        self._event("oom", kills=kills)

    def _left(self, client: Client) -> None:
        if client in self.clients:
            self.clients.remove(client)
        if client is self.foreground and self.wishes.get("bound") and self.status is None and self.manager is not None:
            self._try(self.manager.kill)

    # the end of an incarnation

    def _ended(self, status: int) -> tuple[dict[str, Any], bool]:
        assert self.streams is not None and self.manager is not None
        ran = time.monotonic() - self.began
        kills = 0
        if self.watch is not None:
            kills = self.watch.count()
            self.watch.close()
            self.watch = None
        if self.health is not None:
            self.health.close()
            self.health = None
        self._hush_names()
        if "pid" not in self.own:
            # without a pid namespace of its own, others of it may have outlived the first process
            self._try(self.manager.kill)
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
        exit = {**record.exit_of(status), "oom_killed": bool(kills and status), "finished_at": time.time(), "error": ""}
        again = self._record(exit)
        self._event("die", exitCode=exit["code"], oom_killed=exit["oom_killed"])
        self._try(self.manager.remove)
        if again:
            self._delay = self.policy.delay(ran)
            return exit, True
        self._tell(listeners, exit)
        return exit, False

    def _tell(self, listeners: list[Client], exit: dict[str, Any]) -> None:
        for client in {self.foreground, *listeners}:
            if client is not None and client.open:
                client.send(sync.EXITED, marshal.dumps(exit))
        for client in self.clients[:]:
            if client is not self.foreground:
                client.finish()

    def _record(self, exit: dict[str, Any]) -> bool:
        """Write the end down; whether the policy wants it started again."""
        lock = self.recorder.lock()
        try:
            state = self.recorder.read()
            if state is None:
                return False
            policy = str((state.get("spec") or {}).get("restart") or self.wishes.get("restart") or "no")
            again = not self.no_restart and self.policy.again(policy, state, exit["code"])
            self.recorder.ended(state, exit, restarting=again)
            return again
        except OSError:
            return False  # disk full: the next pyctr finds the process gone and says that the code is unknown
        finally:
            if lock is not None:
                lock.release()

    def _again(self, exit: dict[str, Any]) -> bool:
        """Wait out the back-off and start anew; False when somebody stopped it or it failed."""
        deadline = time.monotonic() + self._delay
        while not self.no_restart and time.monotonic() < deadline:
            self.loop.turn(deadline)
        lock = self.recorder.lock()
        listeners = [client for client in self.clients if client.pid == 0]
        try:
            state = self.recorder.read()
            if state is None or lock is None:
                return False
            if self.no_restart or state.get("desired") in ("stopped", "removing") or state.get("removing"):
                self._try(lambda: self.recorder.ended(state, exit, restarting=False))
                self._tell(listeners, exit)
                return False
            self.network = state.get("network") or None
            try:
                context, _ = self._start()
            except start.Failed as failed:
                kind, message, _ = failed.report
                code = getattr(errors, kind, errors.RuntimeFailure).exit_code
                return self._give_up(state, code, message, listeners)
            try:
                self.recorder.running(self._began(), int(state.get("restarts") or 0) + 1)
                self._adopt(context)
            except OSError as error:
                self._abandon(context)
                _, message, _ = init.describe(error, "recording the start")
                return self._give_up(state, errors.RuntimeFailure.exit_code, message, listeners)
        finally:
            if lock is not None:
                lock.release()
        self._event("start", restarts=int(state.get("restarts") or 0) + 1)
        return True

    def _give_up(self, state: dict[str, Any], code: int, message: str, listeners: list[Client]) -> bool:
        exit = {"code": code, "signal": 0, "oom_killed": False, "finished_at": time.time(), "error": message}
        self._try(lambda: self.recorder.ended(state, exit, restarting=False))
        self._tell(listeners, exit)
        return False

    def _finish(self) -> None:
        """Hand over to the client's cleaning or to our own, leave nothing of ourselves."""
        self.service.close()
        if self.rules is not None:
            self.rules.close()
        self._remove_directory()
        cleanup = self.wishes.get("cleanup") or []
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

    def _say(self, kind: bytes, value: Any) -> None:
        """To the client that asked for the start; it may be gone."""
        if self.channel is not None:
            try:
                self.channel.send(sync.document(kind, value))
            except OSError:
                pass  # nobody wants to know any more

    def _event(self, action: str, **attributes: Any) -> None:
        paths = self.wishes.get("paths")
        if not paths:
            return
        from pyctr.core.events import Events
        from pyctr.core.paths import Paths

        about: dict[str, Any] = {"image": self.wishes.get("image") or "", "labels": self.wishes.get("labels")}
        id, name = self.wishes.get("id") or "", self.wishes.get("name") or ""
        Events(Paths(**paths)).record(action, id, name, **about, **attributes)

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (OSError, errors.PyctrError):
            pass  # the next pyctr finds what is left

    def _make_directory(self) -> None:
        self._directory = self.wishes.get("run") or ""
        if self._directory:
            fsutil.make_private_directory(self._directory)

    def _remove_directory(self) -> None:
        if not self._directory:
            return
        for remove, name in ((os.unlink, "/shim.sock"), (os.rmdir, "")):
            try:
                remove(self._directory + name)
            except OSError:
                pass  # somebody removing the container was quicker, or keeps more in there


def _give_back_memory() -> None:
    import gc

    from pyctr.core.linux.libc import libc

    gc.collect()
    gc.freeze()
    try:
        libc.malloc_trim(0)
    except AttributeError:
        pass  # not glibc
