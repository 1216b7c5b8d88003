"""The list's rows: every container's record, state, health and counters, read in the poller's thread.

A record is read again only when its file changed, counters come from descriptors that stay open.
"""

from __future__ import annotations

import os

from pyctr.core import containers, errors
from pyctr.tui.history import History
from pyctr.tui.snapshot import ContainerRow, figures
from pyctr.tui.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.cgroupstats import Rates, Sampler
    from pyctr.core.engine import Engine

EVERYBODY = 256
"""Up to so many live containers all are sampled at every tick; beyond, what is visible and a share of the rest."""

SHIMS = 10.0
"""Seconds after which a killed shim is noticed by the health it kept."""


VISIBLE, SELECTED = 75.0, 3600.0
"""Seconds of its record that a row needs, and a container whose charts are shown."""


class Known:
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
        self.seeded = 0.0
        """Seconds before we looked of which the container's own record was read."""

    def end_watch(self) -> None:
        if self.watch is not None:
            self.watch.close()
            self.watch = None


class ContainerList:
    """All containers of one engine; `look` reads what changed, `known` has what each was last found to be."""

    def __init__(self, engine: Engine, now: Callable[[], float], sampler: Callable[[], Sampler]) -> None:
        self.known: dict[str, Known] = {}
        self.statuses: dict[str, str] = {}
        """id -> state, as last looked."""
        self.busy: dict[str, str] = {}
        """id -> verb being carried out, set by the acts."""
        self.broken = self.limited = ""
        """Why a record could not be read; why only a part is known."""
        self._engine = engine
        self._now = now
        self._sampler = sampler
        self._turn = 0

    def close(self) -> None:
        for known in self.known.values():
            known.end_watch()

    def look(self, moment: float, visible: tuple[str, ...]) -> tuple[ContainerRow, ...]:
        """Every container's row at the monotonic `moment`; those `visible` have fresh counters.

        OSError, PyctrError or ValueError where the list itself cannot be read.
        """
        self.broken = self.limited = ""
        seen: set[str] = set()
        try:
            ids = os.listdir(self._engine.paths.containers)
        except FileNotFoundError:
            ids = []
        except PermissionError:
            ids = []
            seen = self._outside()
        for id in ids:
            known = self._read(id)
            if known is not None:
                seen.add(id)
        for id in self.known.keys() - seen:
            gone = self.known.pop(id)
            gone.end_watch()
            self._sampler().forget(gone.container.state.group)
        live: list[tuple[Known, str]] = []
        rows: dict[str, str] = {}
        for id in seen:
            known = self.known[id]
            rows[id] = status = self._status(known)
            if status in ("running", "paused"):
                live.append((known, id))
            else:
                known.before = known.rates = None
        self._sample(live, moment, visible)
        self._seed(visible, moment)
        self.statuses = rows
        return tuple(self._row(self.known[id], status, moment) for id, status in rows.items())

    def _outside(self) -> set[str]:
        """Without the right to read the records: what cgroups and processes tell everybody."""
        from pyctr.tui import outside

        self.limited = outside.LIMITED

        def alive(id: str) -> bool:
            return id in self.known and self.known[id].container.alive

        seen = set()
        for id, state in outside.states(self._engine, self._now, alive):
            seen.add(id)
            if state is not None:
                if id in self.known:
                    self.known[id].end_watch()
                self.known[id] = known = Known(containers.Container(self._engine, state), (0, 0))
                known.networked = False
                known.image = state.image_name
        return seen

    def _status(self, known: Known) -> str:
        if known.watch is not None:
            if status := known.watch.status():
                return status
            known.end_watch()
        status = known.container.status
        if status in ("running", "paused"):
            known.watch = Watch.begin(known.container)
        return status

    def _read(self, id: str) -> Known | None:
        """The container, its record read again only if the file was replaced."""
        path = self._engine.paths.container(id, "state.json")
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        stamp = (status.st_ino, status.st_mtime_ns)
        known = self.known.get(id)
        if known is not None and known.stamp == stamp:
            return known
        try:
            state = containers.load_state(self._engine.paths, id)
        except errors.NotFound:
            return None
        except errors.StorageError as error:
            # one broken record is no reason to lose sight of the others
            self.broken = str(error)
            return known
        container = containers.Container(self._engine, state)
        if known is None:
            known = self.known[id] = Known(container, stamp)
        else:
            known.container, known.stamp = container, stamp
            known.before = None
            known.end_watch()
        known.networked = str(known.container.spec.network) not in ("none", "host")
        known.image = state.image_name or str(state.spec.get("image", ""))
        known.ports = tuple(_port(port) for port in _list(state.network.get("ports")))
        return known

    def _sample(self, live: list[tuple[Known, str]], moment: float, visible: tuple[str, ...]) -> None:
        if not live:
            return
        from pyctr.core import cgroupstats

        sampler = self._sampler()
        wanted = live
        if len(live) > EVERYBODY:
            self._turn += 1
            share = len(live) // EVERYBODY + 1
            wanted = [
                item for place, item in enumerate(live) if item[1] in visible or place % share == self._turn % share
            ]
        for known, _ in wanted:
            state = known.container.state
            # without an own network there are no counters that are its own
            pid = state.process.pid if state.process is not None and known.networked else None
            sample = sampler.sample(state.group, pid)
            if known.before is not None:
                if sample.monotonic - known.before.monotonic < 0.2:
                    continue  # too short to divide by; the sample before stays the base
                known.rates = cgroupstats.rates(known.before, sample)
            else:
                known.rates = cgroupstats.rates(sample, sample)
            known.before = sample
            got = known.rates
            known.history.add(moment, measured(got))

    def _seed(self, visible: tuple[str, ...], moment: float) -> None:
        """What is on record of the time before we looked: for a sparkline, or for the charts of the selected one."""
        for place, id in enumerate(visible):
            known = self.known.get(id)
            wanted = SELECTED if place == len(visible) - 1 else VISIBLE
            if known is None or known.seeded >= wanted:
                continue
            known.seeded = wanted
            from pyctr.core import history, ring

            now = self._now()
            try:
                record = history.read(known.container.path(ring.FILE), now - wanted, now)
            except OSError:
                continue  # not ours to read: the past begins when we looked
            known.history.seed([(moment - (now - past.time), measured(past.rates)) for past in record])

    def _row(self, known: Known, status: str, moment: float) -> ContainerRow:
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
            cpu_limit=before.cpu_limit if live and before is not None else None,
            **figures(got, memory, limit),
            spark=known.history.spark.values(moment) if live else (),
            busy=self.busy.get(state.id, ""),
        )

    def _health(self, known: Known, status: str, moment: float) -> str:
        """Read again when the shim has written it anew, and now and then: a shim may be killed."""
        container = known.container
        if container.spec.health is None or status not in ("running", "paused"):
            return ""
        from pyctr.core import health

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


def measured(got: Rates) -> dict[str, float | None]:
    """What a history keeps of it."""
    return {
        "cpu": got.cpu_percent,
        "memory": _first(got.memory_working_set, got.memory_current),
        "throttled": got.throttled_percent,
        "net_rx": got.net_rx,
        "net_tx": got.net_tx,
        "io_read": got.io_read,
        "io_write": got.io_write,
    }


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
