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
from typing import NamedTuple

from pyctr.core import containers, errors
from pyctr.core.engine import Engine
from pyctr.core.paths import Paths
from pyctr.tui import format as f
from pyctr.tui.history import History
from pyctr.tui.snapshot import ContainerRow, Cost, Detail, HostRow, Snapshot
from pyctr.tui.sources import Seen, Sources
from pyctr.tui.watch import Watch
from pyctr.tui.widgets.sparkline import buckets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.tui.journal import Journal
    from pyctr.tui.sources import Scene

SPARK_CELLS = 8
SPANS = (60.0, 300.0, 900.0, 3600.0)
"""Seconds a chart may cover."""
EVERYBODY = 256
"""Up to so many live containers all are sampled at every tick; beyond, what is visible and a share of the rest."""

SHIMS = 10.0
"""Seconds after which a killed shim is noticed by the health it kept."""


class Clock:
    """Time, replaceable: a recorded host is looked at in its own hour."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()


class Focus(NamedTuple):
    """What is on the screen. Immutable: screens replace the poller's whole focus."""

    visible: tuple[str, ...] = ()
    """Ids of the rows that can be seen."""
    selected: str = ""
    tab: str = ""
    """The visible tab of the selected container's details; empty when none is."""
    span: float = 300.0
    """Seconds of history the charts show."""
    sources: tuple[str, ...] = ()
    """What the visible screen needs beyond the list, see tui/sources."""


class _Known:
    """A container as last read."""

    def __init__(self, container: containers.Container, stamp: tuple[int, int]) -> None:
        self.container = container
        self.stamp = stamp
        self.before: Any = None
        self.history = History()
        self.rates: Any = None
        self.image = ""
        self.ports: tuple[str, ...] = ()
        self.watch: Watch | None = None
        self.health = ""
        self.health_seen: tuple[int, ...] = ()
        """What it was read from: the file's identity, and when."""
        self.networked = True

    def end_watch(self) -> None:
        if self.watch is not None:
            self.watch.close()
            self.watch = None


class _View:
    """A tab's document as last collected, perhaps being collected anew."""

    def __init__(self) -> None:
        self.document: object = None
        self.error = ""
        self.taken = 0.0
        self.since = 0.0
        self.busy = False
        self.stamp = (0, 0)


class Poller:
    """`collect` makes a snapshot now, in the caller's thread; `start` does it once a tick in an own one."""

    def __init__(self, paths: Paths, *, clock: Clock | None = None, interval: float = 1.0, read_only: str = "") -> None:
        self.paths = paths
        self.engine = Engine(paths)
        self.clock = clock or Clock()
        self.interval = interval
        self.read_only = read_only
        self.focus = Focus()
        self.busy: dict[str, str] = {}
        """id -> verb being carried out, set by the acts."""
        self._known: dict[str, _Known] = {}
        self._sampler: Any = None
        self._host_before: Any = None
        self._host_history: list[tuple[float, float]] = []
        self._last = Snapshot(loaded=False, read_only=read_only)
        self._turn = 0
        self._cost_before: tuple[float, float, float] | None = None
        self._broken = self._limited = ""
        self._views: dict[tuple[str, str], _View] = {}
        self.sources = Sources(self.engine, self.clock.time, self.wake)
        self._statuses: dict[str, str] = {}
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake_read = self._wake_write = -1
        self._stopping = False

    def start(self, post: Callable[[Snapshot], None]) -> None:
        """Tick until `stop`. `post` is called in the poller's thread and must not block."""
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._run, args=(post,), name="poller", daemon=True)
        self._thread.start()

    def _run(self, post: Callable[[Snapshot], None]) -> None:
        import select

        # not select(2): with some hundred containers descriptors go beyond 1024
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
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
        for known in self._known.values():
            known.end_watch()

    def look_at(self, focus: Focus) -> None:
        """Screens say what is visible; a new selection or tab is answered at once, scrolling at the next tick."""
        old, self.focus = self.focus, focus
        if (old.selected, old.tab, old.span, old.sources) != (focus.selected, focus.tab, focus.span, focus.sources):
            self.wake()

    def collect(self) -> Snapshot:
        """Never raises: what cannot be read is said in `Snapshot.error`, with the last good list kept."""
        now, moment = self.clock.time(), self.clock.monotonic()
        error, rows, good_at = "", self._last.containers, self._last.good_at
        self._limited = ""
        self._broken = ""
        try:
            rows = self._containers(now, moment)
            error, good_at = self._broken, now
        except (OSError, errors.PyctrError, ValueError) as problem:
            error = f.reason(problem)
        snapshot = Snapshot(
            time=now,
            monotonic=moment,
            containers=rows,
            host=self._host(moment),
            detail=self._look_closer(now, moment),
            read_only=self.read_only,
            error=error,
            limited=self._limited,
            good_at=good_at,
            cost=self._cost(moment),
            scenes=self._look_around(now, moment),
        )
        self._last = snapshot
        return snapshot

    def _containers(self, now: float, moment: float) -> tuple[ContainerRow, ...]:
        seen: set[str] = set()
        try:
            ids = os.listdir(self.paths.containers)
        except FileNotFoundError:
            ids = []
        except PermissionError:
            ids = []
            seen = self._outside()
        for id in ids:
            known = self._read(id)
            if known is not None:
                seen.add(id)
        for id in self._known.keys() - seen:
            gone = self._known.pop(id)
            gone.end_watch()
            if self._sampler is not None:
                self._sampler.forget(gone.container.state.group)
        live: list[tuple[_Known, str]] = []
        rows: dict[str, str] = {}
        for id in seen:
            known = self._known[id]
            rows[id] = status = self._status(known)
            if status in ("running", "paused"):
                live.append((known, id))
            else:
                known.before = known.rates = None
        self._sample(live, moment)
        self._statuses = rows
        return tuple(self._row(self._known[id], status, moment) for id, status in rows.items())

    def _outside(self) -> set[str]:
        """Without the right to read the records: what cgroups and processes tell everybody."""
        outside = _module("pyctr.tui.outside")
        self._limited = outside.LIMITED

        def alive(id: str) -> bool:
            return id in self._known and self._known[id].container.alive

        seen = set()
        for id, state in outside.states(self.engine, self.clock.time, alive):
            seen.add(id)
            if state is not None:
                if id in self._known:
                    self._known[id].end_watch()
                self._known[id] = known = _Known(containers.Container(self.engine, state), (0, 0))
                known.networked = False
                known.image = state.image_name
        return seen

    def _status(self, known: _Known) -> str:
        if known.watch is not None:
            if status := known.watch.status():
                return status
            known.end_watch()
        status = known.container.status
        if status in ("running", "paused"):
            known.watch = Watch.begin(known.container)
        return status

    def _read(self, id: str) -> _Known | None:
        """The container, its record read again only if the file was replaced."""
        path = self.paths.container(id, "state.json")
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        stamp = (status.st_ino, status.st_mtime_ns)
        known = self._known.get(id)
        if known is not None and known.stamp == stamp:
            return known
        try:
            state = containers.load_state(self.paths, id)
        except errors.NotFound:
            return None
        except errors.StorageError as error:
            # one broken record is no reason to lose sight of the others
            self._broken = str(error)
            return known
        container = containers.Container(self.engine, state)
        if known is None:
            known = self._known[id] = _Known(container, stamp)
        else:
            known.container, known.stamp = container, stamp
            known.before = None
            known.end_watch()
        known.networked = str(known.container.spec.network) not in ("none", "host")
        known.image = state.image_name or str(state.spec.get("image", ""))
        known.ports = tuple(_port(port) for port in _list(state.network.get("ports")))
        return known

    def _sample(self, live: list[tuple[_Known, str]], moment: float) -> None:
        cgroupstats = _module("pyctr.core.cgroupstats")

        if self._sampler is None:
            self._sampler = cgroupstats.Sampler(self.engine.layout, self.paths.proc)
        wanted = live
        if len(live) > EVERYBODY:
            visible = {*self.focus.visible, self.focus.selected}
            self._turn += 1
            share = len(live) // EVERYBODY + 1
            wanted = [
                item for place, item in enumerate(live) if item[1] in visible or place % share == self._turn % share
            ]
        for known, _ in wanted:
            state = known.container.state
            # without an own network there are no counters that are its own
            pid = state.process.pid if state.process is not None and known.networked else None
            sample = self._sampler.sample(state.group, pid)
            if known.before is not None:
                if sample.monotonic - known.before.monotonic < 0.2:
                    continue  # too short to divide by; the sample before stays the base
                known.rates = cgroupstats.rates(known.before, sample)
            else:
                known.rates = cgroupstats.rates(sample, sample)
            known.before = sample
            got = known.rates
            known.history.add(
                moment,
                {
                    "cpu": got.cpu_percent,
                    "memory": _first(got.memory_working_set, got.memory_current),
                    "throttled": got.throttled_percent,
                    "net_rx": got.net_rx,
                    "net_tx": got.net_tx,
                    "io_read": got.io_read,
                    "io_write": got.io_write,
                },
            )

    def _row(self, known: _Known, status: str, moment: float) -> ContainerRow:
        state = known.container.state
        process, ended, spec = state.process, state.exit, known.container.spec
        live = status in ("running", "paused")
        got = known.rates if live else None
        memory = _first(got.memory_working_set, got.memory_current) if got else None
        before = known.before
        limit = before.memory_limit if before is not None else spec.limits.memory
        return ContainerRow(
            id=state.id,
            name=state.name,
            image=known.image,
            status=status,
            pid=process.pid if process is not None and live else 0,
            command=" ".join(" ".join(state.command).split()),
            created_at=state.created_at,
            started_at=process.started_at if process is not None else 0.0,
            finished_at=ended.finished_at if ended is not None and not live else 0.0,
            ran=(
                max(0.0, ended.finished_at - process.started_at)
                if ended is not None and process is not None and not live and ended.finished_at
                else None
            ),
            exit_code=ended.code if ended is not None and not live else None,
            exit_signal=ended.signal if ended is not None and not live else 0,
            exit_error=ended.error if ended is not None and not live else "",
            oom_killed=ended.oom_killed if ended is not None and not live else False,
            wanted=state.desired,
            restarts=state.restarts,
            restart_policy=spec.restart,
            health=self._health(known, status, moment),
            auto_remove=spec.auto_remove,
            tty=spec.tty,
            network=str(state.network.get("network") or state.network.get("mode") or spec.network),
            address=str(state.network.get("address") or ""),
            ports=known.ports,
            cpu=got.cpu_percent if got else None,
            cpu_limit=before.cpu_limit if live and before is not None else None,
            cpu_of_limit=got.cpu_percent_of_limit if got else None,
            throttled=got.throttled_percent if got else None,
            memory=memory,
            memory_limit=limit,
            memory_peak=got.memory_peak if got else None,
            memory_of_limit=memory * 100 / limit if memory is not None and limit else None,
            oom_kills=got.oom_kills if got else None,
            pids=got.pids if got else None,
            pids_limit=got.pids_limit if got else None,
            net_rx=got.net_rx if got else None,
            net_tx=got.net_tx if got else None,
            io_read=got.io_read if got else None,
            io_write=got.io_write if got else None,
            psi_cpu=got.psi_cpu if got else None,
            psi_memory=got.psi_memory if got else None,
            psi_io=got.psi_io if got else None,
            spark=known.history.spark.values(moment) if live else (),
            busy=self.busy.get(state.id, ""),
        )

    def _health(self, known: _Known, status: str, moment: float) -> str:
        """Read again when the shim has written it anew, and now and then: a shim may be killed."""
        container = known.container
        if container.spec.health is None or status not in ("running", "paused"):
            return ""
        health = _module("pyctr.core.health")
        try:
            found = os.stat(health.path(container, status))
            stamp = (found.st_ino, found.st_mtime_ns)
        except OSError:
            stamp = (0, 0)
        seen = (*stamp, int(moment // SHIMS))
        if known.health_seen != seen:
            word = str(health.load(container, status)["status"])
            known.health, known.health_seen = "" if word == health.NONE else word, seen
        return known.health

    def _host(self, moment: float) -> HostRow:
        cgroupstats = _module("pyctr.core.cgroupstats")

        try:
            if self._sampler is None:
                self._sampler = cgroupstats.Sampler(self.engine.layout, self.paths.proc)
            sample = self._sampler.sample_host()
        except (OSError, errors.PyctrError, ValueError):
            return self._last.host
        before = self._host_before or sample
        rates = cgroupstats.host_rates(before, sample)
        cpu = self._last.host.cpu
        if before is sample or sample.monotonic - before.monotonic >= 0.2:
            self._host_before, cpu = sample, rates.cpu_percent
            if cpu is not None:
                self._host_history.append((moment, cpu))
                del self._host_history[:-90]
        pressure = sample.psi or {}
        return HostRow(
            name=_hostname(self.paths.proc),
            cpus=sample.cpus,
            cpu=cpu,
            cpu_spark=buckets(self._host_history, moment, SPARK_CELLS),
            memory=sample.memory_used,
            memory_total=sample.memory_total,
            memory_percent=(
                sample.memory_used * 100 / sample.memory_total if sample.memory_used and sample.memory_total else None
            ),
            psi_cpu=pressure["cpu"][0] if "cpu" in pressure else None,
            psi_memory=pressure["memory"][0] if "memory" in pressure else None,
            psi_io=pressure["io"][0] if "io" in pressure else None,
            load=sample.load[0] if sample.load else None,
        )

    def journal(self, wake: Callable[[], None]) -> Journal:
        """A follower of everything that happens; the caller stops it."""
        from pyctr.tui.journal import Journal

        return Journal(self.engine.events, wake)

    def _look_around(self, now: float, moment: float) -> dict[str, Scene]:
        """What the visible screen shows besides containers."""
        if not self.focus.sources:
            return self.sources.look((), Seen(now, moment, (), {}), threads=False)
        everybody = tuple(self._known[id].container for id in self._statuses if id in self._known)
        seen = Seen(now, moment, everybody, self._statuses)
        return self.sources.look(self.focus.sources, seen, threads=self._thread is not None)

    def _look_closer(self, now: float, moment: float) -> Detail | None:
        """The document of the visible tab. One that fails keeps the last good one and says why and since when."""
        focus = self.focus
        known = self._known.get(focus.selected)
        if known is None or focus.tab in ("", "logs"):  # a log has a follower of its own
            return None
        key = (focus.selected, focus.tab)
        with self._guard:
            view = self._views.get(key)
            if view is None:
                # only what is on the screen is kept
                self._views = {key: (view := _View())}
            due = not view.busy and (now - view.taken >= _every(focus.tab) or view.stamp != known.stamp)
            if due:
                view.busy, view.since, view.stamp = True, now, known.stamp
        if due and self._thread is None:
            self._collect_view(view, focus.tab, known.container)
        elif due:
            # a sick disk or mount may hang a tab, never the list
            threading.Thread(
                target=self._collect_view, args=(view, focus.tab, known.container), name=f"tab {focus.tab}", daemon=True
            ).start()
        with self._guard:
            document, error, taken = view.document, view.error, view.taken
            if view.busy and now - view.since > 3.0:
                error = f"still reading after {now - view.since:.0f} s"
        series, span = {}, focus.span
        if focus.tab in ("overview", "network"):
            # no wide empty chart after the first look: the span grows with what is known, up to the one chosen
            age = moment - known.history.begin(moment)
            span = next((one for one in SPANS if age <= one <= focus.span), focus.span)
            series = {
                metric: known.history.points(metric, moment - span)
                for metric in ("cpu", "memory", "net_rx", "net_tx", "io_read", "io_write")
            }
        return Detail(focus.selected, focus.tab, document, series, error, taken, span)

    def _collect_view(self, view: _View, tab: str, container: containers.Container) -> None:
        from pyctr.tui import details

        document, error = view.document, ""
        try:
            document = details.find(tab).collect(self.engine, container, view.document)
        except (OSError, errors.PyctrError, ValueError, KeyError) as problem:
            error = f.reason(problem)
        with self._guard:
            first = view.document is None
            view.document, view.error, view.busy = document, error, False
            if not error:
                view.taken = self.clock.time()
        if first:
            self.wake()

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


def _module(name: str) -> Any:
    """Imported when first needed: a list of stopped containers needs no statistics."""
    from importlib import import_module

    return import_module(name)


def _every(tab: str) -> float:
    from pyctr.tui import details

    return details.find(tab).every


def _first(*values: float | None) -> float | None:
    for value in values:
        if value is not None:
            return value
    return None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _port(port: dict[str, Any]) -> str:
    """`8080→80`, `127.0.0.1:53→53/udp`."""
    host = port.get("host_ip") or ""
    where = f"{host}:" if host not in ("", "0.0.0.0", "::") else ""
    protocol = port.get("protocol", "tcp")
    return f"{where}{port.get('host_port')}→{port.get('container_port')}" + (
        "" if protocol == "tcp" else f"/{protocol}"
    )


def _hostname(proc: str) -> str:
    try:
        with open(f"{proc}/sys/kernel/hostname") as file:
            return file.read().strip()
    except OSError:
        return os.uname().nodename


def why_read_only(paths: Paths) -> str:
    """Why this user may not change anything here; empty when he may."""
    if os.geteuid() != 0 and not os.environ.get("PYCTR_ROOTLESS"):
        return "not root"
    return ""
