"""One process per container, until its end: starts it, keeps its log, serves attach and exec, records how it ended.

It is reparented, in a session of its own, and imports as little as can be: one of these sleeps beside every
container. ALLOWED is all of the standard library that may be loaded when it does; a test measures it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import errno
import marshal
import os
import time

from pyctr.core import errors, fsutil
from pyctr.core.runtime import clients, init, record, restart, start, sync
from pyctr.core.runtime.loop import READ, Loop
from pyctr.core.runtime.plan import Plan, build
from pyctr.core.runtime.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from pyctr.core.cgroups.group import Manager
    from pyctr.core.logs import LogWriter
    from pyctr.core.runtime.clients import Client
    from pyctr.core.runtime.context import Context
    from pyctr.core.runtime.health import Monitor
    from pyctr.core.runtime.oom import Watch

ALLOWED = (
    "abc builtins codecs encodings errno fcntl gc genericpath io marshal os posix posixpath select stat struct "
    "sys termios time types zipimport"
)
"""Standard library modules without a leading underscore."""

_SETTLE = 0.5
"""Seconds without events after which the memory of the start is given back."""
_RETRY = 0.5
"""Seconds until connections are accepted again after there was no descriptor left for one."""
_PATIENCE = 5.0
"""Seconds a foreground client gets to say, after the end, that it cleans up."""


def main(run: str = "", key: str = "") -> NoReturn:
    """The whole life of a shim; its socket to the client is descriptor 3. With `key` it leaves a launcher behind."""
    code = 1
    try:
        channel = sync.Channel(_socket.socket(fileno=3))
        os.set_inheritable(3, False)
        prepare()
        if key and os.fork() == 0:
            channel.close()
            from pyctr.core.runtime import launcher

            channel = launcher.serve(run, key)
        order = _receive(channel)
        if order is not None:
            descriptors, channel.descriptors = channel.descriptors, []
            shim = Shim(order, channel, descriptors)
            del order  # it does not live as long as we do
            code = shim.run()
        else:
            code = 0
    finally:
        os._exit(code)


def prepare() -> None:
    """What a start will need, while the client is still thinking."""
    import fcntl

    from pyctr.core import events, jsontext, logs, netns, paths, storage
    from pyctr.core.cgroups import devices as rules
    from pyctr.core.cgroups import group, make, v1, v2
    from pyctr.core.linux import caps, devices, inroot, keyring, mount, namespaces, process, procfs, pty, seccomp
    from pyctr.core.runtime import oom, passwd

    del rules, make, v1, v2, fcntl, jsontext
    del caps, devices, events, group, inroot, keyring, logs, mount, namespaces, netns, oom, passwd, paths, procfs, pty
    del seccomp, storage
    process.close_range(4)
    os.chdir("/")
    os.umask(0o077)
    process.subreaper()
    # nobody of our uid, in a container that shares our pid namespace either, looks into our memory
    process.set_dumpable(False)
    process.set_name("pyctr-shim")
    import gc

    gc.collect()
    # copies of this process keep sharing what exists now: a collection would write to every object
    gc.freeze()


def _receive(channel: sync.Channel) -> bytes | None:
    try:
        kind, payload = channel.receive()
    except EOFError:
        return None
    if kind == sync.STOP:
        # the launcher that forked us is not wanted any more
        os.kill(os.getppid(), _signal.SIGTERM)
    return payload if kind == sync.PLAN else None


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
        self.children: dict[int, Callable[[int], None]] = {}
        self.clients: list[Client] = []
        self.foreground: Client | None = None
        self.streams: Streams | None = None
        self.manager: Manager | None = None
        self.watch: Watch | None = None
        self.log: LogWriter | None = None
        self.health: Monitor | None = None
        self.facts: dict[str, Any] = {}
        self.pid = 0
        self.pidfd = -1
        self.began = 0.0
        self.status: int | None = None
        self.no_restart = False
        self.listener: _socket.socket | None = None
        self.terminal = False
        self.own: list[str] = []
        self.wishes: dict[str, Any] = {}
        self._directory = ""

    def run(self) -> int:
        """Incarnations, one after another; returns when nothing is left to do."""
        trace: list[tuple[str, str, int, int]] = []
        try:
            context, trace = self._start()
        except start.Failed as failed:
            self._say(sync.FAILED, failed.report)
            return 125
        self._watch_children()
        facts = self._began()
        try:
            if self.lock >= 0 or not self.recorder.path:
                self.recorder.running(facts, None)
            self._adopt(context)
        except OSError as error:
            self._abandon(context)
            self._say(sync.FAILED, init.describe(error, "recording the start"))
            return 125
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1
        for line in trace:
            self._say(sync.TRACE, line)
        self._say(sync.RUNNING, facts)
        self._keep_client()
        self._event("start")
        while True:
            exit, again = self._live()
            if not again:
                break
            if not self._again(exit):
                break
        self._finish()
        return 0

    def _start(self) -> tuple[Context, list[tuple[str, str, int, int]]]:
        plan = self._plan()
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

    def _plan(self) -> Plan:
        """Made once, from the caller's order."""
        if self.document:
            return Plan.from_document(marshal.loads(self.document))
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
        self._serve()
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
        start.close(context)
        self.streams = Streams(self.loop, fds, terminal=self.terminal, log=self.log)
        self.log = None
        for client in self.clients:
            if client.pid == 0 and (client is self.foreground or client.streams is not None):
                self._listen(client, self.streams)
        self.children[self.pid] = self._died
        self._watch_health()

    def _watch_health(self) -> None:
        if not (settings := self.wishes.get("health")):
            return
        from pyctr.core.health import FILE
        from pyctr.core.runtime.health import Inside, Monitor

        assert self.manager is not None
        inside = Inside(self.pid, self.pidfd, self.manager, self.own, self._plan)
        path = f"{self._directory}/{FILE}"
        final = "" if self.wishes.get("auto_remove") else f"{self.wishes['bundle']}/{FILE}"
        self.health = Monitor(self.loop, self.children, inside, settings, path, final, self._health_changed)

    def _health_changed(self, status: str) -> None:
        self._event(f"health_status: {status}")

    def _listen(self, client: Client, streams: Streams) -> None:
        client.streams = streams
        streams.audience.append(client)

    def _keep_client(self) -> None:
        """The starting client stays as listener if it wants; in any case we notice when it goes."""
        channel, self.channel = self.channel, None
        assert channel is not None
        client = clients.Client(
            self.loop, channel.socket, self._request, self._left, foreground=bool(self.wishes.get("attach"))
        )
        self.clients.append(client)
        self.foreground = client
        if self.wishes.get("attach") and self.streams is not None:
            self._listen(client, self.streams)

    # what happens while it runs

    def _live(self) -> tuple[dict[str, Any], bool]:
        """Until this incarnation has ended and is on record; (its exit, whether to start again)."""
        settled = False
        while self.status is None:
            if not self.loop.turn(None if settled else time.monotonic() + _SETTLE) and not settled:
                settled = True
                _give_back_memory()
        return self._ended(self.status)

    def _watch_children(self) -> None:
        """SIGCHLD as bytes in a pipe: ours, and orphans of a container that shares the host's pid namespace."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda number, frame: None)
        self.loop.add(reader, READ, lambda events: self._reap(reader))
        os.write(writer, b"!")  # who died before this is reaped by the first turn

    def _reap(self, reader: int) -> None:
        try:
            while os.read(reader, 512):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if handler := self.children.pop(pid, None):
                handler(os.waitstatus_to_exitcode(status))

    def _died(self, code: int) -> None:
        self.status = code

    def _out_of_memory(self, kills: int) -> None:
        self._event("oom", kills=kills)

    def _left(self, client: Client) -> None:
        if client in self.clients:
            self.clients.remove(client)
        if client is self.foreground and self.wishes.get("bound") and self.status is None and self.manager is not None:
            self._try(self.manager.kill)

    def _serve(self) -> None:
        """Listen on shim.sock, by a path that fits whatever the length of the root's."""
        if not self._directory or self.listener is not None:
            return
        directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        try:
            os.unlink("shim.sock", dir_fd=directory)
        except FileNotFoundError:
            pass
        listener.bind(f"/proc/self/fd/{directory}/shim.sock")
        os.close(directory)
        listener.listen(16)
        self.listener = listener
        self.loop.add(listener.fileno(), READ, self._accept)

    def _accept(self, events: int) -> None:
        assert self.listener is not None
        try:
            fd, _ = self.listener._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                # who waits in line would wake us again and again
                self.loop.want(self.listener.fileno(), 0)
                self.loop.at(time.monotonic() + _RETRY, self._accept_again)
                return
            raise
        socket = _socket.socket(fileno=fd)
        if not sync.trusted(socket):
            socket.close()
            return
        self.clients.append(clients.Client(self.loop, socket, self._request, self._left))

    def _accept_again(self) -> None:
        if self.listener is not None:
            self.loop.want(self.listener.fileno(), READ)

    def _request(self, client: Client, kind: bytes, payload: bytes) -> None:
        if kind == sync.STDIN:
            if client.streams is not None and not client.streams.input(payload):
                client.listen(False)
        elif kind == sync.WINSIZE:
            if client.streams is not None:
                client.streams.resize(*sync.parse_winsize(payload))
        elif kind == sync.KILL:
            self._kill(client, payload[0])
        elif kind == sync.CLEAN:
            client.cleans = True
        elif kind == sync.STOP:
            self.no_restart = True
            client.send(sync.DONE)
        elif kind == sync.ATTACH:
            self._attach(client, marshal.loads(payload))
        elif kind == sync.EXEC:
            self._exec(client, marshal.loads(payload))
        elif kind == sync.HEALTH:
            self._check_health(client)
        else:
            client.close()

    def _check_health(self, client: Client) -> None:
        """One probe now: its code and what the status is then."""

        def answer(code: int | None, status: str) -> None:
            if code is None:
                client.send(sync.FAILED, marshal.dumps(("IllegalTransition", "the container ended", "")))
            else:
                client.send(sync.EXITED, marshal.dumps({"code": code, "status": status}))
            client.finish()

        if self.health is None:
            client.send(sync.FAILED, marshal.dumps(("UsageError", "the container has no health check", "--health-cmd")))
            client.finish()
        else:
            self.health.ask(answer)

    def _kill(self, client: Client, number: int) -> None:
        try:
            if client.pid:
                if client.pid in self.children:
                    os.kill(client.pid, number)
            elif self.status is None and self.pidfd >= 0:
                from pyctr.core.linux import namespaces

                namespaces.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass  # it was quicker
        client.send(sync.DONE)

    def _attach(self, client: Client, request: dict[str, Any]) -> None:
        if self.streams is None or self.status is not None:
            client.send(sync.FAILED, marshal.dumps(("IllegalTransition", "the container does not run now", "")))
            client.finish()
            return
        client.send(sync.RUNNING, marshal.dumps({"pid": self.pid, "tty": self.terminal}))
        self._listen(client, self.streams)

    def _exec(self, client: Client, request: dict[str, Any]) -> None:
        from pyctr.core.runtime import execute

        try:
            if self.status is not None or self.manager is None or self.pidfd < 0:
                raise start.Failed("IllegalTransition", "the container does not run now", "")
            if self.manager.frozen():
                raise start.Failed("IllegalTransition", "the container is paused", "unpause it first")
            plan = self._plan()
            try:
                context = execute.execute(plan, self.manager, self.pidfd, self.own, request)
            except (errors.PyctrError, OSError) as error:
                raise start.Failed(*init.describe(error, "exec")) from None
        except start.Failed as failed:
            client.send(sync.FAILED, marshal.dumps(failed.report))
            client.finish()
            return
        fds, context.streams = context.streams, [-1, -1, -1]
        pid = context.pid
        os.close(context.pidfd)
        start.close(context)
        streams = Streams(self.loop, fds, terminal=bool(request.get("tty")))
        client.pid = pid
        # an exec's output is the client's own stdout: it may slow its process down, which is not the container's
        client.foreground = True
        client.send(sync.RUNNING, marshal.dumps({"pid": pid, "tty": bool(request.get("tty"))}))
        if client.open and not request.get("detach"):
            self._listen(client, streams)

        def ended(code: int) -> None:
            streams.drain()
            client.send(sync.EXITED, marshal.dumps(_exit(code)))
            streams.leave(client)
            client.streams = None
            client.finish()
            if request.get("tty"):
                streams.close()
            else:
                # what it left running may still write: read on, for nobody
                streams.close_input()

        self.children[pid] = ended

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
        if "pid" not in self.own:
            # without a pid namespace of its own, others of it may have outlived the first process
            self._try(self.manager.kill)
        self.streams.drain()
        listeners = list(self.streams.audience)
        self.streams.close()
        self.streams = None
        os.close(self.pidfd)
        self.pidfd = -1
        exit = {**_exit(status), "oom_killed": bool(kills and status), "finished_at": time.time(), "error": ""}
        again = self._record(exit)
        self._event("die", exit_code=exit["code"], oom_killed=exit["oom_killed"])
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
        if self.listener is not None:
            self.loop.remove(self.listener.fileno())
            self.listener.close()
            self.listener = None
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

        Events(Paths(**paths)).record(action, self.wishes.get("id") or "", self.wishes.get("name") or "", **attributes)

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


def _exit(status: int) -> dict[str, Any]:
    return {"code": status if status >= 0 else 128 - status, "signal": max(0, -status)}


def _give_back_memory() -> None:
    import gc

    from pyctr.core.linux.libc import libc

    gc.collect()
    gc.freeze()
    try:
        libc.malloc_trim(0)
    except AttributeError:
        pass  # not glibc
