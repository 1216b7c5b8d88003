"""One process beside all shims of a host: it writes down what containers use (`flight`), watches over the firewall
(`ruleguard`), and settles what killed shims have left.

There is no daemon that could. A start that finds `<run>/steward` (flock(2)) free has its shim make one a second later;
it ends with the last container. It has an heir that waits for its end without an interpreter (`doze`) and becomes the
next one when it was killed. When both are killed the next start does it, and what lies between is a gap.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import fcntl
import os
import select
import time

from pyctr.core.paths import Paths
from pyctr.core.runtime import offices
from pyctr.core.runtime.children import Children
from pyctr.core.runtime.loop import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from pyctr.core.runtime.flight import Flight
    from pyctr.core.runtime.ruleguard import RuleGuard

    State = tuple[dict[str, str], int, float]
    """Of one that is to be: a Paths as its dict, what it waits for, when its predecessor began (time.monotonic)."""

WAITS = 1.0
"""Seconds until there is one: many containers are over by then, and no start waits for what it loads."""
_EVERY = 5.0
_JOINED = 0.3
"""Seconds from a container's directory to its address, by far."""
_RETRY = 0.3
_TRIES = 8
"""Of an heir: what a killed one had forked for a moment's work has the lock until its end."""
_TENURE = 5.0
"""Seconds from one steward to the next at least: what ended the one at once may end all of them."""
_LATER = 60.0
"""Seconds until an heir is tried again where none could be had: memory or descriptors may have been short."""


def hire(paths: Callable[[], dict[str, str] | None]) -> None:
    """Make one, unless there is one by now; `paths` (a Paths) is asked in a process of its own. Raises OSError."""
    from pyctr.core.linux import process

    # it is nobody's child: no shim waits for its end, or counts it among its container's orphans
    if adopts := process.is_subreaper():
        process.subreaper(False)
    try:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return
    finally:
        if adopts:
            process.subreaper()
    try:
        if os.fork() == 0:
            _detach()
            if known := paths():
                _load()
                # a fresh interpreter has two thirds of what a shim's copy would have for itself
                _become(os.eventfd(1), known, 0.0)
                _serve(Paths(**known))
    finally:
        os._exit(0)


def inherit(state: State) -> int:
    """From `_become` on."""
    values, waited, begun = state
    os.close(waited)
    paths = Paths(**values)
    time.sleep(max(0.0, begun + _TENURE - time.monotonic()))
    for _ in range(_TRIES):
        if _serve(paths) or not _anybody(paths):
            break
        time.sleep(_RETRY)
    return 0


def _load() -> None:
    """All that a steward needs, so that the snapshot which it and its heirs come from has it."""
    try:
        from pyctr.core.linux import inotify
        from pyctr.core.runtime import flight, ruleguard

        del inotify, flight, ruleguard
    except Exception:
        pass  # our files are being replaced: it loads them later, if it can


def _detach() -> None:
    from pyctr.core.linux import process

    # also what belongs to the shim's container: its log, its output, its socket
    process.close_range(3)
    os.setsid()
    _signal.set_wakeup_fd(-1)


def _serve(paths: Paths) -> bool:
    """Be the steward, until nobody is there any more; False if somebody else is."""
    from pyctr.core.linux import process

    process.set_name("pyctr-steward")
    process.set_dumpable(False)
    loop, children = Loop(), Children()
    children.watch(loop)
    office = f"{paths.run}/{offices.STEWARD}"
    served = False
    while _anybody(paths) and (lock := offices.take(office)) >= 0:
        try:
            offices.fill(lock)
        except OSError:
            pass  # the disk is full: nobody can wait for our end
        steward = Steward(loop, children, paths)
        while _anybody(paths) and offices.holds(lock, office):
            loop.turn()
        steward.close()
        served = True
        # who started a container until now found the lock taken: look again without it
        if offices.holds(lock, office):
            offices.leave_vacant(office)
        os.close(lock)
    return served


def _anybody(paths: Paths) -> bool:
    try:
        return bool(os.listdir(f"{paths.run}/containers"))
    except OSError:
        return False


class Steward:
    """At work, whenever the loop turns."""

    def __init__(self, loop: Loop, children: Children, paths: Paths) -> None:
        self._loop = loop
        self._children = children
        self._paths = paths
        self._begun = time.monotonic()
        self._flight: Flight | None = None
        self._rules: RuleGuard | None = None
        self._heir = 0
        self._heirless = 0.0
        """When one is tried next where none can be had (time.monotonic)."""
        self._told = -1
        self._settled: dict[str, float] = {}
        """Containers that were settled lately, and when that may be tried again (time.monotonic)."""
        self._watch()
        # before anything that takes time: there is an heir from the first moment on
        self._appoint()
        move_in(paths)
        self._look()

    def _watch(self) -> None:
        """Hear of containers that come and go."""
        from pyctr.core.linux import inotify

        try:
            self._told = inotify.init()
            inotify.add_watch(self._told, f"{self._paths.run}/containers", inotify.IN_CREATE | inotify.IN_DELETE)
        except OSError:
            return  # too many watches: then it takes some seconds

        def changed(events: int) -> None:
            inotify.drain(self._told)
            self._loop.at(time.monotonic() + _JOINED, self._look)

        self._loop.add(self._told, READ, changed)

    def _look(self) -> None:
        now = time.monotonic()
        self._loop.at(now + _EVERY, self._look)
        if self._heir not in self._children and now >= self._heirless:
            self._appoint()
        for tend in (self._tend_flight, self._tend_rules):
            try:
                tend()
            except Exception:
                continue  # this kernel tells nothing, or our files are being replaced: the next look may do better

    def _tend_flight(self) -> None:
        if self._flight is None:
            from pyctr.core.runtime.flight import Flight

            self._flight = Flight(self._loop, self._paths, self._settle)

    def _tend_rules(self) -> None:
        try:
            networks = bool(os.listdir(f"{self._paths.run}/networks/ids"))
        except OSError:
            networks = False
        if networks:
            from pyctr.core.runtime.ruleguard import RuleGuard, come_home

            if come_home(self._paths):
                self._end_rules()
            if self._rules is None:
                self._rules = RuleGuard(self._loop, self._children, self._paths)
        else:
            self._end_rules()

    def _end_rules(self) -> None:
        if self._rules is not None:
            self._rules.close()
            self._rules = None

    def _settle(self, ids: list[str]) -> None:
        """Have the end of containers put on record that were killed together with their shims, and what is left of them
        removed: no next verb on them may ever come."""
        now = time.monotonic()
        due = [id for id in ids if self._settled.get(id, now) <= now]
        try:
            pid = os.fork() if due else -1
        except OSError:
            return  # no memory for a process: in an interval, perhaps
        if pid == 0:
            try:
                settle(self._paths, due)
            finally:
                os._exit(0)
        # somebody may be at work on it just now, or the disk is full
        self._settled = {id: now + _LATER if id in due else self._settled[id] for id in ids}

    def _appoint(self) -> None:
        """Have a process wait for our end."""
        here = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            return  # no memory for a process: in a moment, perhaps
        if pid == 0:
            _wait(here, self._paths, self._begun)
        self._heir = pid
        self._children[pid] = self._heir_ended

    def _heir_ended(self, code: int) -> None:
        if code == 0:
            self._heirless = time.monotonic() + _LATER

    def close(self) -> None:
        """Nobody is there any more, so nobody needs an heir."""
        self._loop.at(None, self._look)
        for work in (self._flight, self._rules):
            if work is not None:
                work.close()
        if self._told >= 0:
            self._loop.remove(self._told)
            os.close(self._told)
        if self._heir in self._children:
            os.kill(self._heir, _signal.SIGKILL)
        self._children.clear()
        move_out(self._paths)


def move_in(paths: Paths) -> None:
    """Leave the cgroups of who was the first to start a container, whose limits are not meant for us, and who may be
    ended with all that is in them: for pyctr's own parent, and of v2, where that takes no process, a group below it."""
    try:
        from pyctr.core.cgroups.files import put

        old, unified = _hierarchies(paths)
        for top in old:
            put(f"{top}/{paths.cgroup_parent}/tasks", "0")
        if unified:
            group = unified + _group(paths)
            try:
                os.mkdir(group)
            except FileExistsError:
                pass  # an heir's steward has made it, or the other way round
            put(f"{group}/cgroup.procs", "0")
    except Exception:
        pass  # it is not for us to write there, or our files are being replaced: we stay where we are


def move_out(paths: Paths) -> None:
    """Remove that group. Who is in one cannot, so our last moment is spent in pyctr's parent; where that
    hands controllers down and takes nobody, the group stays, empty, for the next one."""
    try:
        from pyctr.core.cgroups.files import put

        _, unified = _hierarchies(paths)
        if unified and os.path.isdir(group := unified + _group(paths)):
            put(f"{unified}/{paths.cgroup_parent}/cgroup.procs", "0")
            while True:
                try:
                    os.waitpid(-1, 0)  # the heir that was killed, a look that tells nobody any more
                except ChildProcessError:
                    break
            os.rmdir(group)
    except Exception:
        pass  # or a killed one has left somebody in it


def _hierarchies(paths: Paths) -> tuple[list[str], str]:
    """Those of v1 in which there is pyctr's parent; that of v2, "" without. Raises OSError, Unsupported."""
    from pyctr.core import cgroups

    layout = cgroups.detect(paths.cgroup_root)
    tops = {*layout.controllers.values()} - {layout.unified}
    return [top for top in tops if os.path.isdir(f"{top}/{paths.cgroup_parent}")], layout.unified


def _group(paths: Paths) -> str:
    """No container has such a name."""
    return f"/{paths.cgroup_parent}/@{offices.STEWARD}"


def settle(paths: Paths, ids: list[str]) -> None:
    """In a child."""
    from pyctr.core.linux import process

    # first of all: among what it inherited is the steward's lock
    process.close_range(3)
    from pyctr.core import errors, repair
    from pyctr.core.engine import Engine

    for id in ids:
        try:
            repair.finish(Engine(paths), id)
        except (OSError, errors.PyctrError):
            continue  # the next verb on it says why


def _wait(steward: int, paths: Paths, begun: float) -> NoReturn:
    """An heir's life until the steward's end; without "doze" it is none, a start will have to do."""
    from pyctr.core.linux import process

    try:
        process.close_range(3)
        os.setsid()
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        move_in(paths)
        _become(_end(steward), vars(paths), begun)
    finally:
        os._exit(0)


def _end(parent: int) -> int:
    """A descriptor that can be read when our parent has ended."""
    try:
        pidfd = os.pidfd_open(parent)
        if os.getppid() == parent:
            return pidfd
        os.close(pidfd)  # the number is somebody else's by now
    except ProcessLookupError:
        pass  # it was killed before we came here
    return os.eventfd(1)


def _become(when: int, paths: dict[str, str], begun: float) -> None:
    """Be a steward in a new interpreter when that descriptor can be read. Returns where that is not possible."""
    from pyctr.core.runtime import doze

    watch = select.epoll()
    # as long as it is open, `watch` tells of it
    kept = fcntl.fcntl(when, fcntl.F_DUPFD_CLOEXEC, doze.FREE)
    watch.register(kept, select.EPOLLIN)
    doze.until(watch.fileno(), "pyctr-steward", "steward", (paths, kept, begun), (kept,))
    watch.close()
    os.close(kept)
