"""All containers of one engine measured once or twice, and judged: what `pyctr check` and `pyctr metrics` stand on."""

from __future__ import annotations

import time
from typing import NamedTuple

from pyctr.core import cgroupstats, containers, health
from pyctr.core.past import pasts
from pyctr.core.state import PAUSED, RUNNING
from pyctr.core.thresholds import USUAL, Thresholds
from pyctr.core.triage import Diagnosis, Machine, Past, Patient, diagnose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyctr.core.cgroupstats import Rates, Sample
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.events import Event


class Vital(NamedTuple):
    """One container as it was found."""

    container: Container
    status: str
    sample: Sample | None = None
    """Of one that lives."""
    rates: Rates | None = None
    """Since the look before; of the first look only what is no rate."""

    @property
    def live(self) -> bool:
        return self.status in (RUNNING, PAUSED)


class Rounds:
    """Looks at everybody; two looks some time apart give rates."""

    def __init__(self, engine: Engine, bounds: Thresholds = USUAL) -> None:
        self._engine = engine
        self._bounds = bounds
        self._sampler = cgroupstats.Sampler(engine.layout, engine.paths.proc)
        self._before: dict[str, Sample] = {}
        self._host: cgroupstats.HostSample | None = None
        self._pasts: dict[str, Past] = {}
        self._mark = (0, 0)
        self.machine = Machine()

    def look(self, chosen: Iterable[str] = ()) -> list[Vital]:
        """Everybody, or those with these names or ids, by name. Raises NotFound, Ambiguous."""
        names = list(dict.fromkeys(chosen))
        found = [containers.find(self._engine, name) for name in names] if names else containers.all(self._engine)
        host = self._sampler.sample_host()
        if self._host is not None:
            self.machine = Machine(host.cpus, cgroupstats.host_rates(self._host, host).cpu_percent)
        self._host = host
        return [self._vital(container) for container in sorted(found, key=lambda one: one.name)]

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

    def _vital(self, container: Container) -> Vital:
        status = container.status
        if status not in (RUNNING, PAUSED):
            self._before.pop(container.id, None)
            return Vital(container, status)
        network = str(container.spec.network)
        # without an own network there are no counters that are its own
        pid = container.pid if network not in ("none", "host") else None
        sample = self._sampler.sample(container.state.group, pid, fresh=True)
        if not sample.known:
            return Vital(container, status)
        before = self._before.get(container.id, sample)
        self._before[container.id] = sample
        return Vital(container, status, sample, cgroupstats.rates(before, sample))

    def _patient(self, vital: Vital, past: Past) -> Patient:
        container, state = vital.container, vital.container.state
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
            finished=end.finished_at if end is not None else 0.0,
            oom_killed=end.oom_killed if end is not None else False,
        )


def twice(
    engine: Engine, chosen: Iterable[str], apart: float, bounds: Thresholds = USUAL
) -> list[tuple[Vital, tuple[Diagnosis, ...]]]:
    """Everybody judged by two looks some seconds apart. Raises NotFound, Ambiguous."""
    rounds = Rounds(engine, bounds)
    try:
        names = list(chosen)
        first = rounds.look(names)
        if any(vital.live for vital in first):
            time.sleep(apart)  # a rate is a difference over time
            first = rounds.look(names)
        return rounds.judge(first, time.time())
    finally:
        rounds.close()
