"""A container's start, and its end before another one, as a `worker` of its shim does them.

What the shim needs of it goes back as one document and its descriptors, see `hand_over`; until that has been sent,
nothing of the container is left when this process fails or is killed.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import marshal
import os
import select
import time

from pyctr.core import errors, fsutil
from pyctr.core.runtime import init, offices, oom, ops_cgroup, record, restart, service, start, sync, worker
from pyctr.core.runtime.plan import Plan, build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.cgroups.group import Manager
    from pyctr.core.runtime.context import Context
    from pyctr.core.runtime.worker import Reply

KEPT = ("attach", "auto_remove", "bound", "bundle", "health", "log", "restart", "run")
"""Wishes that a shim looks at while it only waits; for the others it reads the plan again."""
PIDFD, INPUT, OUTPUT, ERRORS, LOG, LISTENER, WATCH, NAMES, DOORS, SERVED = "p012lsondf"
"""What each of the descriptors of a hand-over is: a letter each, in their order."""


def first(client: int, launcher: int, watch: select.epoll, reply: Reply) -> None:
    """The first start: wait for the order of the client on this socket, carry it out, or tell it why not.

    `launcher` made our shim. The shim may sleep on `watch`, see `Shim.run`.
    """
    socket = _socket.socket(fileno=client)
    if not sync.trusted(socket):
        return
    channel = sync.Channel(socket)
    order = _receive(channel, launcher)
    if order is None:
        return
    lock = channel.descriptors[0] if channel.descriptors else -1
    begun: Incarnation | None = None
    try:
        config, wishes = marshal.loads(order)
        try:
            plan = build(config, wishes)
        except errors.PyctrError as error:
            raise start.Failed(*init.describe(error)) from None
        begun = Incarnation(plan, listening=False)
        try:
            if lock >= 0 or not begun.recorder.path:
                begun.recorder.running(begun.facts, None)
        except OSError as error:
            begun.undo()
            raise start.Failed(*init.describe(error, "recording the start")) from None
    except start.Failed as failed:
        _say(channel, sync.FAILED, failed.report)
        return
    told = [sync.document(sync.TRACE, line) for line in begun.trace]
    say = b"".join((*told, sync.document(sync.RUNNING, begun.facts)))
    if begun.hand_over(reply, document=True, say=say, client=client, watch=watch):
        try:
            socket.sendall(say, _socket.MSG_NOSIGNAL)
        except OSError:
            pass  # nobody wants to know any more
    event(plan.wishes, "start")
    # the next verb may come now, and its event after this one's
    if lock >= 0:
        os.close(lock)


def _receive(channel: sync.Channel, launcher: int) -> bytes | None:
    try:
        kind, payload = channel.receive()
    except EOFError:
        return None
    if kind == sync.STOP:
        # the launcher is not wanted any more
        os.kill(launcher, _signal.SIGTERM)
    return payload if kind == sync.PLAN else None


def again(document: bytes, exit: dict[str, Any], wanted: bool, reply: Reply) -> None:
    """A start by the restart policy, if it is still `wanted`: the hand-over, or {"failed"} with the last exit."""
    plan = Plan.from_document(marshal.loads(document))
    recorder = record.Recorder(plan.wishes.get("state") or "")
    lock = recorder.lock()
    state = recorder.read()
    if state is None or lock is None:
        reply({"failed": None})
        return
    if not wanted or state.get("desired") in ("stopped", "removing") or state.get("removing"):
        _quietly(lambda: recorder.ended(state, exit, restarting=False))
        reply({"failed": exit})
        return
    if network := state.get("network"):
        plan.relink(network)
    restarts = int(state.get("restarts") or 0) + 1
    try:
        begun = Incarnation(plan, listening=True)
        try:
            begun.recorder.running(begun.facts, restarts)
        except OSError as error:
            begun.undo()
            raise start.Failed(*init.describe(error, "recording the start")) from None
    except start.Failed as failed:
        kind, message, _ = failed.report
        reply({"failed": give_up(recorder, state, getattr(errors, kind, errors.RuntimeFailure).exit_code, message)})
        return
    begun.hand_over(reply, document=bool(network))
    event(plan.wishes, "start", restarts=restarts)
    lock.release()


def give_up(recorder: record.Recorder, state: dict[str, Any] | None, code: int, message: str) -> dict[str, Any]:
    """No further start: the end that is put on record."""
    exit = {"code": code, "signal": 0, "oom_killed": False, "finished_at": time.time(), "error": message}
    if state is not None:
        _quietly(lambda: recorder.ended(state, exit, restarting=False))
    return exit


class Incarnation:
    """What runs now. Raises start.Failed when it could not be started."""

    def __init__(self, plan: Plan, *, listening: bool) -> None:
        self.plan = plan
        self.wishes = wishes = plan.wishes
        self.recorder = record.Recorder(wishes.get("state") or "")
        self.facts: dict[str, Any] = {}
        """A `state.Process`."""
        self._listening = listening
        self._directory: str = wishes.get("run") or ""
        self._listener = self._log = -1
        self._watch: list[int] = []
        self._doors: list[_socket.socket] = []
        self._files = 0
        try:
            if self._directory:
                fsutil.make_private_directory(self._directory)
        except OSError as error:
            raise start.Failed(*init.describe(error, "making its directory")) from None
        try:
            self.context, self.trace = start.start(plan, meanwhile=self._meanwhile, sibling=True)
        except start.Failed:
            self._forget()
            raise
        self.facts["started_at"] = time.time()
        self.facts["started_monotonic"] = time.clock_gettime(time.CLOCK_BOOTTIME)

    def _meanwhile(self, context: Context) -> None:
        """What the running container will need of its shim; nobody uses it before the hand-over."""
        if self._directory and not self._listening:
            self._listener = service.listen(self._directory)
        if wish := self.wishes.get("log"):
            from pyctr.core.logs import LogWriter

            _quietly(lambda: fsutil.make_private_directory(os.path.dirname(wish["path"])))
            self._log = LogWriter(wish["path"]).fd
        if (self.wishes.get("network") or {}).get("ports"):
            from pyctr.core.runtime import doors

            self._files = doors.make_room(self.wishes["network"])
            self._doors = doors.opened(self.wishes["network"])
        assert context.manager is not None
        self._watch = oom.notifier(context.manager)
        self.facts = record.process(context.pid, os.getppid())
        self.recorder.read_ahead()

    def hand_over(
        self,
        reply: Reply,
        *,
        document: bool,
        say: bytes = b"",
        client: int = -1,
        watch: select.epoll | None = None,
    ) -> bool:
        """Everything to the shim, with the plan if it has not that one, and with frames to `say` to its client.

        Whether the shim sleeps on over this, until something happens on `watch`: then we are who says it, unless we are
        killed before that. Undone when the shim is not there any more.
        """
        context, plan = self.context, self.plan
        descriptors = [
            (PIDFD, context.pidfd),
            (INPUT, context.streams[0]),
            (OUTPUT, context.streams[1]),
            (ERRORS, context.streams[2]),
            (LOG, self._log),
            (LISTENER, self._listener),
            *((WATCH, fd) for fd in self._watch),
            (SERVED, context.served.pidfd if context.served is not None else -1),
            *((NAMES, socket.fileno()) for socket in context.names),
            *((DOORS, socket.fileno()) for socket in self._doors),
        ]
        vacant = bool(self.wishes.get("paths")) and offices.vacant(f"{self.wishes['paths']['run']}/{offices.STEWARD}")
        given = [(letter, fd) for letter, fd in descriptors if fd >= 0]
        value = {
            "pid": context.pid,
            "letters": "".join(letter for letter, _ in given),
            "own": plan.own,
            "place": plan.place,
            "server": context.served.pid if context.served is not None else 0,
            "terminal": plan.terminal,
            "document": marshal.dumps(plan.to_document()) if document else b"",
            "say": say,
            "began": time.monotonic(),
            "steward": vacant,
            "files": self._files,
            "wishes": {name: self.wishes[name] for name in KEPT if self.wishes.get(name)},
        }
        lazy = watch is not None and self._silent(given) and self._announce(watch, [("", client), *given])
        try:
            when = worker.NOW if not lazy else worker.SOON if vacant else worker.LATER
            reply(value, tuple(fd for _, fd in given), when=when)
        except OSError:
            self.undo()
            raise
        return lazy

    def _announce(self, watch: select.epoll, given: list[tuple[str, int]]) -> bool:
        """Put on `watch` what tells of the container; whether all of it could be."""
        try:
            for letter, fd in given:
                # a terminal's input is its output, too; a pipe's would be told to have room
                if letter != LOG and (letter != INPUT or self.plan.terminal) and fd not in self._watch[1:]:
                    watch.register(fd, oom.events(self._watch) if letter == WATCH else select.EPOLLIN)
        except OSError:
            return False  # too many watches of this user, or no memory: the shim finds out by itself
        return True

    def _silent(self, given: list[tuple[str, int]]) -> bool:
        """Whether its shim has nothing to do as long as nothing is heard of it: no client waits, no probe is due, no
        orphans of it and no program of its root are to be reaped, and all `given` come at once."""
        if len(given) > worker.BUNCH:
            return False
        asked = any(self.wishes.get(name) for name in ("attach", "bound", "health"))
        return not asked and "pid" in self.plan.own and all(letter != SERVED for letter, _ in given)

    def undo(self) -> None:
        """Nothing runs that no record tells of."""
        start.undo(self.context, self.plan.host)
        self._forget()

    def _forget(self) -> None:
        """What `_meanwhile` made; its descriptors go with us."""
        if not self._listening:
            remove_directory(self._directory)


def remove_directory(directory: str) -> None:
    """The container's volatile one, with the socket."""
    if not directory:
        return
    for remove, name in ((os.unlink, "/shim.sock"), (os.rmdir, "")):
        try:
            remove(directory + name)
        except OSError:
            pass  # somebody removing the container was quicker, or keeps more in there


def ended(plan: Plan, status: int, kills: int, wanted: bool) -> tuple[dict[str, Any], bool]:
    """Record the end of an incarnation, of which `kills` for want of memory are in the journal: (its exit, whether the
    policy starts it again, if it is `wanted`)."""
    wishes, manager = plan.wishes, ops_cgroup.manager(*plan.place)
    fresh = max(0, manager.oom_events().get("oom_kill", 0) - kills)
    if fresh:
        event(wishes, "oom", kills=kills + fresh)
    oom_killed = bool(kills + fresh and status)
    exit = {**record.exit_of(status), "oom_killed": oom_killed, "finished_at": time.time(), "error": ""}
    recorder = record.Recorder(wishes.get("state") or "")
    if status:
        _keep_death(recorder, manager, wishes, exit)
    again = _record(recorder, wishes, exit, wanted)
    event(wishes, "die", exitCode=exit["code"], oom_killed=oom_killed)
    _quietly(manager.remove)
    return exit, again


def _keep_death(recorder: record.Recorder, manager: Manager, wishes: dict[str, Any], exit: dict[str, Any]) -> None:
    """What tells of this end, before the group goes and somebody looks at the record."""
    try:
        state = recorder.read() if wishes.get("paths") else None
        if state is None:
            return
        from pyctr.core import deaths

        if deaths.worth_keeping(wishes, exit, str(state.get("desired") or "")):
            deaths.write(wishes, manager.layout, state, exit)
    except Exception:
        return  # the disk is full, or a file says what we do not understand: the end itself is to be on record


def _record(recorder: record.Recorder, wishes: dict[str, Any], exit: dict[str, Any], wanted: bool) -> bool:
    """Write the end down; whether the policy wants it started again."""
    lock = recorder.lock()
    try:
        state = recorder.read()
        if state is None:
            return False
        rule = str((state.get("spec") or {}).get("restart") or wishes.get("restart") or "no")
        again = wanted and restart.Policy().again(rule, state, exit["code"])
        recorder.ended(state, exit, restarting=again)
        return again
    except OSError:
        return False  # disk full: the next pyctr finds the process gone and says that the code is unknown
    finally:
        if lock is not None:
            lock.release()


def event(wishes: dict[str, Any], action: str, **attributes: Any) -> None:
    """Into the journal of the engine, if it is one that asked."""
    paths = wishes.get("paths")
    if not paths:
        return
    from pyctr.core.events import Events
    from pyctr.core.paths import Paths

    about: dict[str, Any] = {"image": wishes.get("image") or "", "labels": wishes.get("labels")}
    Events(Paths(**paths)).record(action, wishes.get("id") or "", wishes.get("name") or "", **about, **attributes)


def _say(channel: sync.Channel, kind: bytes, value: Any) -> None:
    """To the client that asked for the start; it may be gone."""
    try:
        channel.send(sync.document(kind, value))
    except OSError:
        pass  # nobody wants to know any more


def _quietly(act: Callable[[], None]) -> None:
    try:
        act()
    except (OSError, errors.PyctrError):
        pass  # the next pyctr finds what is left
