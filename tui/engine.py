"""The poller: the only door from the screens to the core.

    screens ── Focus (what is visible) ──> Poller thread ── one Snapshot per tick ──> App.post_message
    screens ── verbs ──> own worker threads (tui/acts.py) ── wake() ──> the next tick is now

One thread reads everything; nothing here forks, changes namespaces or waits for a container. A record is read
again only when its file changed, counters come from descriptors that stay open.
"""

from __future__ import annotations

import os
import threading
import time

from pyctr.core import errors, redo
from pyctr.core.engine import Engine
from pyctr.core.engines.model import Log
from pyctr.core.paths import Paths
from pyctr.core.thresholds import USUAL, Thresholds
from pyctr.tui import format as f
from pyctr.tui.closer import Closer
from pyctr.tui.containerlist import ContainerList
from pyctr.tui.hostrow import HostReader
from pyctr.tui.others import Others
from pyctr.tui.snapshot import Cost, Focus, Snapshot
from pyctr.tui.sources import Seen, Sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pyctr.core.cgroupstats import Sampler
    from pyctr.tui.journal import Journal
    from pyctr.tui.past import Past
    from pyctr.tui.snapshot import ContainerRow, HostRow
    from pyctr.tui.sources import Scene

OURS = "pyctr"


class Clock:
    """Time, replaceable: a recorded host is looked at in its own hour."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()


class Poller:
    """`collect` makes a snapshot now, in the caller's thread; `start` does it once a tick in an own one."""

    live = True
    """It changes while one looks."""
    recorded = ""
    """When and where, of a host that was recorded."""

    def __init__(
        self,
        paths: Paths,
        *,
        clock: Clock | None = None,
        interval: float = 1.0,
        read_only: str = "",
        engines: Collection[str] = (OURS,),
        engine: Engine | None = None,
        bounds: Thresholds = USUAL,
    ) -> None:
        """`engines` are those whose containers are shown, as core/engines/lookup reads them."""
        self.paths = paths
        self.bounds = bounds
        self.engine = engine or Engine(paths)
        self.clock = clock or Clock()
        self.engine.monotonic = self.clock.monotonic
        redo.mend(paths)
        self.interval = interval
        self.read_only = read_only
        self.focus = Focus()
        self._sampler: Sampler | None = None
        self._list = ContainerList(self.engine, self.clock.time, self._sampling)
        self.busy = self._list.busy
        self._ours = OURS in engines
        self.others = Others(self.engine, [name for name in engines if name != OURS], self._sampling, self.wake)
        self._host = HostReader(paths.proc, self._sampling)
        self._closer = Closer(self.engine, self.clock.time, self.wake)
        self.sources = Sources(self.engine, self.clock.time, self.wake)
        self._last = Snapshot(loaded=False, read_only=read_only)
        self._cost_before: tuple[float, float, float] | None = None
        self.at: float | None = None
        """The moment that is shown, if not the present."""
        self._past: Past | None = None
        self._thread: threading.Thread | None = None
        self._wake_read = self._wake_write = -1
        self._stopping = False

    def start(self, post: Callable[[Snapshot], None]) -> None:
        """Tick until `stop`. `post` is called in the poller's thread and must not block."""
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.others.begin()
        self._thread = threading.Thread(target=self._run, args=(post,), name="poller", daemon=True)
        self._thread.start()

    def _run(self, post: Callable[[Snapshot], None]) -> None:
        import select

        # not select(2): with some hundred containers descriptors go beyond 1024
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if not self.read_only and os.path.isdir(f"{self.paths.run}/reverts"):
            from pyctr.core import reverts

            reverts.make_up(self.engine)
        while not self._stopping:
            began = time.monotonic()
            try:
                post(self.collect())
            except Exception as problem:
                # a mistake of ours: said on the screen, with the last good list, instead of a frozen picture
                post(self._last._replace(time=self.clock.time(), error=f"{type(problem).__name__}: {problem}"))
            rest = max(0.05, self.interval - (time.monotonic() - began))
            if poll.poll(rest * 1000):
                try:
                    os.read(self._wake_read, 4096)
                except BlockingIOError:
                    pass  # somebody else drained it

    def wake(self) -> None:
        """Look again at once: something was done, or something else is visible."""
        if self._wake_write >= 0:
            try:
                os.write(self._wake_write, b"x")
            except (BlockingIOError, OSError):
                pass  # already full of wishes, or stopping

    def stop(self) -> None:
        self._stopping = True
        self.others.stop()
        self.wake()
        if self._thread is not None:
            self._thread.join(2.0)
        for fd in (self._wake_read, self._wake_write):
            if fd >= 0:
                os.close(fd)
        self._wake_read = self._wake_write = -1
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None
        self._list.close()

    def look_at(self, focus: Focus) -> None:
        """Screens say what is visible; a new selection or tab is answered at once, scrolling at the next tick."""
        old, self.focus = self.focus, focus
        if (old.selected, old.tab, old.span, old.sources) != (focus.selected, focus.tab, focus.span, focus.sources):
            self.wake()

    def travel(self, at: float | None) -> None:
        """Show another moment from now on, seconds since the epoch; None for the present."""
        self.at = at if at is not None and at < self.clock.time() else None
        self.wake()

    def collect(self) -> Snapshot:
        """Never raises: what cannot be read is said in `Snapshot.error`, with the last good list kept."""
        if (at := self.at) is None:
            self._past = None
            return self._present()
        if self._past is None:
            from pyctr.tui.past import Past

            if not self._last.loaded:
                self._present()
            self._past = Past(self.engine, self.bounds)
        return self._past.look(at, self.focus, self._list.known, self.others.known, self._last.host)

    def _present(self) -> Snapshot:
        now, moment = self.clock.time(), self.clock.monotonic()
        error, good_at = "", self._last.good_at
        rows = tuple(row for row in self._last.containers if not row.engine)
        focus, threads = self.focus, self._thread is not None
        try:
            if self._ours:
                rows = self._list.look(moment, (*focus.visible, focus.selected))
            error, good_at = self._list.broken, now
        except (OSError, errors.PyctrError, ValueError) as problem:
            error = f.reason(problem)
        rows += self.others.look(moment)
        known = self._list.known.get(focus.selected) or self.others.known.get(focus.selected)
        host = self._host.look(moment)
        snapshot = Snapshot(
            time=now,
            monotonic=moment,
            containers=rows,
            host=host,
            detail=self._closer.look(focus, known, moment, threads=threads),
            read_only=self.read_only,
            recorded=self.recorded,
            error=error,
            limited=self._list.limited or self.others.limited,
            good_at=good_at,
            cost=self._cost(moment),
            scenes=self._look_around(focus, now, moment, rows, host, threads=threads),
        )
        self._last = snapshot
        return snapshot

    def log(self, id: str) -> Log:
        """Where the log of a row is."""
        stranger = self.others.known.get(id)
        if stranger is None:
            return Log("", self.paths.container(id, "log", "ctr.log"))
        log = stranger.container.log
        return log if log.form or log.why else log._replace(why="its engine's record cannot be read")

    def abandon(self) -> None:
        """The terminal is lost: whatever must not stay behind goes now, there may be no time later."""

    def make_engine(self) -> Engine:
        """Another one for another thread."""
        return Engine(self.paths)

    def journal(self, wake: Callable[[], None]) -> Journal:
        """A follower of everything that happens; the caller stops it."""
        from pyctr.tui.journal import Journal

        return Journal(self.engine.events, wake)

    def _look_around(
        self, focus: Focus, now: float, moment: float, rows: tuple[ContainerRow, ...], host: HostRow, *, threads: bool
    ) -> dict[str, Scene]:
        """What the visible screen shows besides containers."""
        if not focus.sources:
            return self.sources.look((), Seen(now, moment, (), {}), threads=False)
        known, statuses = self._list.known, self._list.statuses
        everybody = tuple(known[id].container for id in statuses if id in known)
        rates = {id: known[id].rates for id in statuses if id in known and known[id].rates is not None}
        rates |= {key: one.rates for key, one in self.others.known.items() if one.rates is not None}
        groups = {id: known[id].container.state.group for id in statuses if id in known}
        groups |= {key: one.container.group for key, one in self.others.known.items()}
        by_id = {row.id: row for row in rows}
        seen = Seen(now, moment, everybody, statuses, by_id, rates, host, self.bounds, groups)
        return self.sources.look(focus.sources, seen, threads=threads)

    def _sampling(self) -> Sampler:
        """The one reader of counters, made when first needed."""
        if self._sampler is None:
            from pyctr.core.cgroupstats import Sampler

            self._sampler = Sampler(self.engine.layout, self.paths.proc, clock=self.clock.monotonic)
        return self._sampler

    def _cost(self, moment: float) -> Cost:
        """This program's own share of a core, and its memory; nothing while no screen lives on."""
        if self._thread is None:
            return Cost()
        # both clocks read here and now: the sample's moment may be long past when a screen took its time
        now, used = time.monotonic(), time.process_time()
        before, self._cost_before = self._cost_before, (moment, now, used)
        if before is None or moment - before[0] < 0.2:
            self._cost_before = before or self._cost_before
            return self._last.cost
        cpu = (used - before[2]) * 100 / (now - before[1])
        try:
            with open("/proc/self/statm", "rb") as file:
                memory = int(file.read().split()[1]) * 4096.0
        except OSError:
            return Cost(cpu, None)
        return Cost(cpu, memory)


def why_read_only(paths: Paths) -> str:
    """Why this user may not change anything here; empty when he may."""
    if os.geteuid() != 0 and not os.environ.get("PYCTR_ROOTLESS"):
        return "not root"
    return ""
