"""One process beside all shims of a host: it writes down what containers use (`flight`) and watches over the firewall
(`ruleguard`).

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
    from typing import Any, NoReturn

    from pyctr.core.runtime.flight import Flight
    from pyctr.core.runtime.ruleguard import RuleGuard

WAITS = 1.0
"""Seconds until there is one: many containers are over by then, and no start waits for what it loads."""
_EVERY = 5.0
_JOINED = 0.3
"""Seconds from a container's directory to its address, by far."""
_RETRY = 0.3
_TRIES = 8
"""Of an heir: what a killed one had forked for a moment's work has the lock until its end."""


def hire(paths: Callable[[], dict[str, str] | None]) -> None:
    """Make one, unless there is one by now; `paths` (a Paths) is asked in a process of its own. Raises OSError."""
    from pyctr.core.linux import process

    # it is nobody's child: no shim waits for its end, or counts it among its container's orphans
    process.subreaper(False)
    try:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return
    finally:
        process.subreaper()
    try:
        if os.fork() == 0:
            _detach()
            if known := paths():
                # a fresh interpreter has two thirds of what a shim's copy would have for itself
                _become(os.eventfd(1), known)
                _serve(Paths(**known))
    finally:
        os._exit(0)


def inherit(state: Any) -> int:
    """From `_become` on: `state` is a Paths as its dict, and what it has waited for."""
    values, waited = state
    os.close(waited)
    paths = Paths(**values)
    for _ in range(_TRIES):
        if _serve(paths) or not _anybody(paths):
            break
        time.sleep(_RETRY)
    return 0


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
    served = False
    while _anybody(paths) and (lock := offices.take(f"{paths.run}/{offices.STEWARD}")) >= 0:
        try:
            offices.fill(lock)
        except OSError:
            pass  # the disk is full: nobody can wait for our end
        steward = Steward(paths)
        steward.work()
        steward.close()
        served = True
        # who started a container until now found the lock taken: look again without it
        offices.leave_vacant(f"{paths.run}/{offices.STEWARD}")
        os.close(lock)
    return served


def _anybody(paths: Paths) -> bool:
    try:
        return bool(os.listdir(f"{paths.run}/containers"))
    except OSError:
        return False


class Steward:
    """At work."""

    def __init__(self, paths: Paths) -> None:
        self.loop = Loop()
        self.children = Children()
        self._paths = paths
        self._flight: Flight | None = None
        self._rules: RuleGuard | None = None
        self._heir: int | None = 0
        """None where one cannot be had."""
        self.children.watch(self.loop)
        self._watch()
        # before anything that takes time: there is an heir from the first moment on
        self._look()
        try:
            from pyctr.core.runtime.flight import Flight

            self._flight = Flight(self.loop, paths)
        except Exception:
            pass  # nothing can be measured here, or our files were replaced

    def work(self) -> None:
        """As long as there are containers."""
        while _anybody(self._paths):
            self.loop.turn()

    def _watch(self) -> None:
        """Hear of containers that come and go."""
        from pyctr.core.linux import inotify

        try:
            fd = inotify.init()
            inotify.add_watch(fd, f"{self._paths.run}/containers", inotify.IN_CREATE | inotify.IN_DELETE)
        except OSError:
            return  # too many watches: then it takes some seconds

        def changed(events: int) -> None:
            inotify.drain(fd)
            self.loop.at(time.monotonic() + _JOINED, self._look)

        self.loop.add(fd, READ, changed)

    def _look(self) -> None:
        self.loop.at(time.monotonic() + _EVERY, self._look)
        if self._heir is not None and self._heir not in self.children:
            self._appoint()
        try:
            networks = bool(os.listdir(f"{self._paths.run}/networks/ids"))
        except OSError:
            networks = False
        if networks and self._rules is None:
            from pyctr.core.runtime.ruleguard import RuleGuard

            try:
                self._rules = RuleGuard(self.loop, self.children, self._paths)
            except OSError:
                return  # this kernel tells nothing
        elif not networks and self._rules is not None:
            self._rules.close()
            self._rules = None

    def _appoint(self) -> None:
        """Have a process wait for our end."""
        here = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            return  # no memory for a process: in a moment, perhaps
        if pid == 0:
            _wait(here, self._paths)
        self._heir = pid
        self.children[pid] = self._heir_ended

    def _heir_ended(self, code: int) -> None:
        if code == 0:
            self._heir = None

    def close(self) -> None:
        """Nobody is there any more, so nobody needs an heir."""
        if self._flight is not None:
            self._flight.close()
        if self._heir is not None and self._heir in self.children:
            os.kill(self._heir, _signal.SIGKILL)


def _wait(steward: int, paths: Paths) -> NoReturn:
    """An heir's life until the steward's end; without "doze" it is none, a start will have to do."""
    from pyctr.core.linux import process

    try:
        process.close_range(3)
        os.setsid()
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        _become(_end(steward), vars(paths))
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


def _become(when: int, paths: dict[str, str]) -> None:
    """Be a steward in a new interpreter when that descriptor can be read. Returns where that is not possible."""
    from pyctr.core.runtime import doze

    watch = select.epoll()
    # as long as it is open, `watch` tells of it
    kept = fcntl.fcntl(when, fcntl.F_DUPFD_CLOEXEC, doze.FREE)
    watch.register(kept, select.EPOLLIN)
    doze.until(watch.fileno(), "pyctr-steward", "steward", (paths, kept), (kept,))
    watch.close()
    os.close(kept)
