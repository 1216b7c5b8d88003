"""Containers measured once or twice, and judged: what `pyctr check` and `pyctr metrics` stand on."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from pyctr.core import cgroupstats, closelook, containers, growth, health, hostrecord, ring
from pyctr.core.engines.model import Foreign
from pyctr.core.errors import NotFound
from pyctr.core.linux.procfs import zombies
from pyctr.core.past import pasts
from pyctr.core.state import PAUSED, RUNNING
from pyctr.core.thresholds import USUAL, Thresholds
from pyctr.core.triage import Diagnosis, Disk, Machine, Past, Patient, diagnose

OURS = "pyctr"
_FRESH = 90.0
"""Seconds after which what the recorder saw of processes says nothing of now, and the size of a layer is not told."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pyctr.core.cgroupstats import Rates, Sample
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.engines.finder import Finder
    from pyctr.core.events import Event


class Vital(NamedTuple):
    """One container as it was found, ours or another engine's."""

    container: Container | Foreign
    status: str
    sample: Sample | None = None
    """Of one that lives."""
    rates: Rates | None = None
    """Since the look before; of the first look only what is no rate."""

    @property
    def live(self) -> bool:
        return self.status in (RUNNING, PAUSED)

    @property
    def engine(self) -> str:
        """Whose it is; "" for ours."""
        return self.container.engine if isinstance(self.container, Foreign) else ""

    @property
    def name(self) -> str:
        """As it is told from all others: `docker:web`."""
        return f"{self.engine}:{self.container.name}" if self.engine else self.container.name

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.container.labels) if isinstance(self.container, Foreign) else self.container.spec.labels

    @property
    def group(self) -> str:
        return self.container.group if isinstance(self.container, Foreign) else self.container.state.group

    @property
    def image(self) -> str:
        return self.container.image if isinstance(self.container, Foreign) else self.container.state.image_name

    @property
    def restarts(self) -> int:
        return self.container.restarts if isinstance(self.container, Foreign) else self.container.state.restarts

    @property
    def code(self) -> int | None:
        """Of its end, while it is over."""
        if isinstance(self.container, Foreign):
            return self.container.exit_code
        end = self.container.state.exit
        return end.code if end is not None and not self.live else None

    @property
    def started_at(self) -> float:
        """Epoch seconds, of one that lives; 0 where that is not known."""
        if isinstance(self.container, Foreign):
            return self.container.started_at if self.live else 0.0
        process = self.container.state.process
        return process.started_at if self.live and process is not None else 0.0

    @property
    def health(self) -> str:
        """What its probe says, of one that lives and has one; else ""."""
        if not self.live:
            return ""
        if isinstance(self.container, Foreign):
            return self.container.health
        if self.container.spec.health is None:
            return ""
        return str(health.load(self.container, self.status)["status"])


class Rounds:
    """Looks at everybody; two looks some time apart give rates."""

    def __init__(self, engine: Engine, bounds: Thresholds = USUAL, engines: Collection[str] = (OURS,)) -> None:
        """`engines` are those that everybody is of, as core/engines/lookup reads them."""
        self._engine = engine
        self._engines = engines
        self._finder: Finder | None = None
        self._bounds = bounds
        self._sampler = cgroupstats.Sampler(engine.layout, engine.paths.proc)
        self._before: dict[str, Sample] = {}
        self._sleeps: dict[str, dict[closelook.Sleep, float]] = {}
        self._host: cgroupstats.HostSample | None = None
        self._pasts: dict[str, Past] = {}
        self._mark = (0, 0)
        self.machine = Machine()

    def look(self, chosen: Iterable[str] = ()) -> list[Vital]:
        """Everybody, or those with these names or ids, by name. Raises NotFound, Ambiguous."""
        names = list(dict.fromkeys(chosen))
        found = [self._named(name) for name in names] if names else self._everybody()
        host = self._sampler.sample_host()
        if self._host is not None:
            self.machine = Machine(host.cpus, cgroupstats.host_rates(self._host, host).cpu_percent)
        self._host = host
        return sorted(map(self._vital, found), key=lambda one: (one.engine, one.container.name))

    def _everybody(self) -> list[Container | Foreign]:
        found: list[Container | Foreign] = []
        if OURS in self._engines:
            found += containers.all(self._engine)
        theirs = [name for name in self._engines if name != OURS]
        if theirs:
            # what holds a pod's namespaces and does nothing else is nobody's patient
            found += [one for one in self._others().look() if one.engine in theirs and not one.infra]
        return found

    def _named(self, name: str) -> Container | Foreign:
        try:
            return containers.find(self._engine, name)
        except NotFound as refused:
            from pyctr.core.engines import lookup

            try:
                return lookup.find(self._engine, name, self._others(name.startswith("systemd:")))
            except NotFound as neither:
                raise (neither if ":" in name else refused) from None

    def _others(self, services: bool = False) -> Finder:
        if self._finder is None:
            from pyctr.core.engines.finder import Finder

            services = services or "systemd" in self._engines
            self._finder = Finder(self._engine.paths, self._engine.layout, services=services)
        return self._finder

    def judge(self, vitals: Iterable[Vital], now: float) -> list[tuple[Vital, tuple[Diagnosis, ...]]]:
        """What is wrong with each, worst first; `now` in epoch seconds."""
        events: list[Event] = []
        try:
            events, self._mark = self._engine.events.appended(self._mark)
        except PermissionError:
            pass  # not root: the numbers are everybody's, the journal is not
        self._pasts = pasts(self._pasts, events, now, self._bounds.window_seconds)
        judged = []
        for vital in vitals:
            patient = self._patient(vital, self._pasts.get(vital.container.id, Past()))
            judged.append((vital, diagnose(patient, self.machine, now, self._bounds)))
        return judged

    def close(self) -> None:
        self._sampler.close()

    def _vital(self, container: Container | Foreign) -> Vital:
        vital = Vital(container, container.status)
        key = container.key if isinstance(container, Foreign) else container.id
        if not vital.live or not vital.group:
            self._before.pop(key, None)
            self._sleeps.pop(key, None)
            return vital
        if isinstance(container, Foreign):
            own = container.own_network
        else:
            # without an own network there are no counters that are its own
            own = str(container.spec.network) not in ("none", "host")
        sample = self._sampler.sample(vital.group, container.pid if own else None, fresh=True)
        if not sample.known:
            return vital
        self._look_closely(key, vital, sample)
        before = self._before.get(key, sample)
        self._before[key] = sample
        return vital._replace(sample=sample, rates=cgroupstats.rates(before, sample))

    def _look_closely(self, key: str, vital: Vital, sample: Sample) -> None:
        """Also at its processes, its log, and what the recorder last found of its layer."""
        pids, now = self._engine.group(vital.group).pids(), time.monotonic()
        self._sleeps[key] = closelook.fill(sample, pids, self._engine.paths.proc, self._sleeps.get(key, {}), now)
        record = self._record(vital)
        if isinstance(vital.container, Foreign):
            log = vital.container.log
            sample.log = closelook.logged(log.path) if log.path else None
        else:
            sample.log = closelook.logged(vital.container.path("log", "ctr.log"))
        now = time.time()
        try:
            looks = [one.sample.layer for one in ring.read(record, now - _FRESH, now) if one.sample.layer is not None]
        except OSError:
            return  # not ours to read
        sample.layer = looks[-1] if looks else None

    def _record(self, vital: Vital) -> str:
        """Its ring; "" of somebody who has none."""
        if isinstance(vital.container, Foreign):
            return hostrecord.place(self._engine.paths, vital.group) if vital.group else ""
        return vital.container.path(ring.FILE)

    def _patient(self, vital: Vital, past: Past) -> Patient:
        container = vital.container
        if isinstance(container, Foreign):
            return self._stranger(container, vital)
        record_of = self._record(vital)
        waiting, stuck, waits = self._looked(vital, record_of)
        state = container.state
        record = health.load(container, vital.status)
        log = record.get("log") or ()
        end = state.exit if not vital.live else None
        sample = vital.sample
        return Patient(
            vital.status,
            vital.rates,
            past,
            cpu_limit=sample.cpu_limit if sample is not None else None,
            memory_limit=sample.memory_limit if sample is not None else container.spec.limits.memory,
            health="" if record["status"] == health.NONE or not vital.live else str(record["status"]),
            streak=int(record.get("streak") or 0),
            said=" ".join(str(log[-1].get("output", "")).split()) if log else "",
            watched=not vital.live or container.shim_alive,
            restart=container.spec.restart,
            wanted=state.desired,
            code=end.code if end is not None else None,
            signal=end.signal if end is not None else 0,
            error=end.error if end is not None else "",
            started=vital.started_at,
            finished=end.finished_at if end is not None else 0.0,
            oom_killed=end.oom_killed if end is not None else False,
            disk=self._disk(container.path("upper"), container.path("log", "ctr.log"), record_of),
            zombies=zombies(pid, self._engine.paths.proc) if (pid := container.pid) else 0,
            waiting=waiting,
            stuck=stuck,
            waits=waits,
        )

    def _stranger(self, one: Foreign, vital: Vital) -> Patient:
        """No journal tells of it: kills and restarts of the past are its engine's to know."""
        sample, rates, proc = vital.sample, vital.rates, self._engine.paths.proc
        kills = rates.oom_kills if rates is not None else None
        record = self._record(vital)
        waiting, stuck, waits = self._looked(vital, record)
        return Patient(
            vital.status,
            rates,
            Past(kills=((time.time(), kills),)) if kills else Past(),
            cpu_limit=sample.cpu_limit if sample is not None else None,
            memory_limit=sample.memory_limit if sample is not None else one.memory_limit,
            health=vital.health,
            restart=one.restart_policy,
            wanted=one.wanted,
            code=vital.code,
            error=one.error if not vital.live else "",
            started=vital.started_at,
            finished=one.finished_at,
            oom_killed=one.oom_killed,
            disk=self._disk(growth.upper_of(one.pid, proc), "", record) if one.pid else None,
            zombies=zombies(one.pid, proc) if one.pid else 0,
            waiting=waiting,
            stuck=stuck,
            waits=waits,
        )

    def _disk(self, upper: str, log: str, record: str = "") -> Disk | None:
        """By what is on record of it. To walk every layer for one answer would cost more than it tells: that is done
        only where a disk is as good as full and nothing is on record."""
        try:
            there = os.statvfs(upper)
        except OSError:
            return None
        free, total = there.f_bavail * there.f_frsize, there.f_blocks * there.f_frsize
        try:
            looks = growth.recorded(record, time.time()) if record else ()
        except OSError:
            looks = ()  # not ours to read
        if looks:
            return growth.disk((*looks[:-1], looks[-1]._replace(free=free, total=total)))
        if free * 100 >= self._bounds.full_percent * total:
            return None
        measured = growth.measure(upper, log, time.monotonic())
        return growth.disk((measured,)) if measured is not None else None

    def _looked(self, vital: Vital, record: str) -> tuple[int, float, str]:
        """Its tasks in state D, for how long the longest waits, and where: the record tells of the time before."""
        sample, proc = vital.sample, self._engine.paths.proc
        if sample is None or not sample.waiting:
            return 0, 0.0, ""
        stuck = sample.stuck or 0.0
        now = time.time()
        try:
            looks = [one for one in ring.read(record, now - _FRESH, now) if one.sample.stuck is not None]
        except OSError:
            looks = []  # not ours to read
        if looks and looks[-1].sample.stuck:
            stuck = max(stuck, now - looks[-1].time + looks[-1].sample.stuck)
        return sample.waiting, stuck, closelook.where(self._engine.group(vital.group).pids(), proc)


def twice(
    engine: Engine,
    chosen: Iterable[str],
    apart: float,
    bounds: Thresholds = USUAL,
    engines: Collection[str] = (OURS,),
) -> list[tuple[Vital, tuple[Diagnosis, ...]]]:
    """Everybody judged by two looks some seconds apart. Raises NotFound, Ambiguous."""
    rounds = Rounds(engine, bounds, engines)
    try:
        names = list(chosen)
        first = rounds.look(names)
        if any(vital.live for vital in first):
            time.sleep(apart)  # a rate is a difference over time
            first = rounds.look(names)
        return rounds.judge(first, time.time())
    finally:
        rounds.close()
