"""Who is sick: every container's measurements, health and recent past, judged."""

from __future__ import annotations

import os
from typing import NamedTuple

from pyctr.core import closelook, errors, health, heaviest, hosthistory, hostrecord, ring
from pyctr.core.cgroupstats import Sample
from pyctr.core.growth import Measured, later, measure, recorded, upper_of
from pyctr.core.growth import disk as disk_of
from pyctr.core.linux.procfs import zombies
from pyctr.core.onset import onset
from pyctr.core.past import pasts as remembered
from pyctr.core.triage import Death, Diagnosis, Machine, Past, Patient, diagnose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.events import Event
    from pyctr.tui.snapshot import ContainerRow
    from pyctr.tui.sources import Seen

AGAIN = 5.0
"""Seconds after which what one container has written is measured again, at the earliest."""
_FRESH = 60.0
"""Seconds for which what the recorder saw of a sleeping task is taken to go on."""
FLAPS = 10.0
"""Seconds for which a sign may be missing without having gone."""


class Case(NamedTuple):
    """A container that needs somebody, and why: the worst first."""

    id: str
    name: str
    status: str
    failed: bool
    diagnoses: tuple[Diagnosis, ...]
    engine: str = ""
    """Whose it is; "" for ours."""

    @property
    def worst(self) -> Diagnosis:
        return self.diagnoses[0]


class Ward(NamedTuple):
    """One look at all of them; what is below `quiet` is for the next look."""

    cases: tuple[Case, ...]
    quiet: int
    """Containers without a complaint."""
    mark: tuple[int, int] = (0, 0)
    pasts: dict[str, Past] = {}
    signs: dict[tuple[str, str], tuple[float, float]] = {}
    """(id, kind) -> since when it is there, 0 if it was there when we came, and when it was seen last"""
    strangers: dict[str, Told] = {}
    turns: dict[str, Turn] = {}


class Turn(NamedTuple):
    """What is dear to find out, and only of one container at each look."""

    time: float
    """Monotonic, seconds."""
    written: tuple[Measured, ...] = ()
    zombies: int = 0
    waiting: int = 0
    sleeps: dict[closelook.Sleep, float] = {}
    """Of tasks in state D, and when each was seen first."""
    waits: str = ""


class Told(NamedTuple):
    """What another engine's record said at the last look."""

    time: float
    restarts: int
    code: int
    """Of its last end that is known; 0 for none."""


def collect(engine: Engine, seen: Seen, before: object) -> object:
    old = before if isinstance(before, Ward) else None
    mark = old.mark if old else (0, 0)
    events: list[Event] = []
    try:
        events, mark = engine.events.appended(mark)
    except PermissionError:
        pass  # not root: the numbers are everybody's, the journal is not
    pasts = remembered(old.pasts if old else {}, events, seen.time, seen.bounds.window_seconds)
    host = seen.host
    machine = Machine(host.cpus, host.cpu) if host is not None else Machine()
    cases = []
    signs: dict[tuple[str, str], tuple[float, float]] = {}
    strangers: dict[str, Told] = {}
    ours = {container.id: container for container in seen.containers}
    turns = _turns(old.turns if old else {}, engine, ours, seen)
    for row in seen.rows.values():
        if row.busy or (row.id not in ours and not row.engine):
            continue  # somebody is at it, or it is gone
        if row.engine:
            told = old.strangers.get(row.id) if old else None
            pasts[row.id] = _strangers_past(pasts.get(row.id, Past()), row, told, seen)
            strangers[row.id] = Told(seen.time, row.restarts, row.exit_code or (told.code if told else 0))
        patient = _patient(ours.get(row.id), row, seen, pasts.get(row.id, Past()), turns.get(row.id, Turn(0.0)))
        found = diagnose(patient, machine, seen.time, seen.bounds)
        dated = []
        for diagnosis in found:
            since = diagnosis.since
            if not since:
                known = old.signs.get((row.id, diagnosis.kind)) if old else None
                if known is not None and seen.time - known[1] < FLAPS:
                    since = known[0]
                else:
                    # some signs take us several looks, and have been there all the while
                    since = _recorded(engine, row, patient, diagnosis.kind, machine, seen)
                    since = since or (seen.time if old is not None else 0.0)
                signs[row.id, diagnosis.kind] = (since, seen.time)
            dated.append(diagnosis._replace(since=since))
        if dated:
            cases.append(Case(row.id, row.name, row.status, row.failed, tuple(dated), row.engine))
    for sign, (since, last) in (old.signs if old else {}).items():
        if sign not in signs and seen.time - last < FLAPS:
            signs[sign] = (since, last)
    pasts = {id: past for id, past in pasts.items() if id in seen.rows or ":" not in id}
    cases.sort(key=lambda case: (-case.worst.rank, case.worst.since or seen.time, case.name))
    return Ward(tuple(cases), len(seen.rows) - len(cases), mark, pasts, signs, strangers, turns)


def _recorded(engine: Engine, row: ContainerRow, patient: Patient, kind: str, machine: Machine, seen: Seen) -> float:
    """Since when it was so when we came, as far as it is on record; else 0."""
    path = _ring(engine, row, seen)
    try:
        host = hosthistory.place(engine.paths)
        return onset(path, patient, kind, machine, seen.time, seen.bounds, host) if path else 0.0
    except OSError:
        return 0.0  # not ours to read


def _ring(engine: Engine, row: ContainerRow, seen: Seen) -> str:
    """What is on record of it; "" of another engine's where nothing is."""
    if not row.engine:
        return engine.paths.container(row.id, ring.FILE)
    return hostrecord.place(engine.paths, seen.groups[row.id]) if seen.groups.get(row.id) else ""


def _strangers_past(past: Past, row: ContainerRow, told: Told | None, seen: Seen) -> Past:
    """Of another engine's container: no journal tells of it, only its counters and its record since we look."""
    now, window, most = seen.time, seen.bounds.window_seconds, seen.bounds.deaths
    if row.oom_kills:
        past = past._replace(kills=(*past.kills, (now, row.oom_kills)))
    if told is not None and row.restarts > told.restarts and now - told.time < window:
        death = Death(now, row.exit_code or told.code, row.oom_killed)
        past = past._replace(deaths=(*past.deaths, *[death] * min(row.restarts - told.restarts, most)))
    return past._replace(
        kills=tuple(kill for kill in past.kills if kill[0] > now - window),
        deaths=tuple(death for death in past.deaths if death.time > now - window),
    )


def _turns(known: dict[str, Turn], engine: Engine, ours: dict[str, Container], seen: Seen) -> dict[str, Turn]:
    """With one more look at the living one whose turn is longest past."""
    living = [row for row in seen.rows.values() if row.live]
    known = {row.id: known[row.id] for row in living if row.id in known}
    row = min(living, key=lambda row: known[row.id].time if row.id in known else 0.0, default=None)
    last = known.get(row.id) if row is not None else None
    if row is None or (last is not None and seen.monotonic - last.time < AGAIN):
        return known
    container = ours.get(row.id)
    # with another driver than overlay there is no directory of what it has written
    upper, log = "", ""
    if container is not None:
        upper, log = container.path("upper"), container.path("log", "ctr.log")
    elif row.pid:
        upper = upper_of(row.pid, engine.paths.proc)
    written = last.written if last is not None else ()
    if engine.recorded is not None:
        written = _recalled(engine, _ring(engine, row, seen), seen.time)
    elif upper and (one := measure(upper, log, seen.monotonic)) is not None:
        written = later(written, one)
    children = _children(engine, row, seen) if row.pid else 0
    group = seen.groups.get(row.id, "")
    waiting, sleeps, waits = _waiting(engine, group, last, seen.monotonic)
    if waiting and (last is None or engine.recorded is not None):
        sleeps = _since_before(sleeps, _ring(engine, row, seen), seen)
    known[row.id] = Turn(seen.monotonic, written, children, waiting, sleeps, waits)
    return known


def _since_before(sleeps: dict[closelook.Sleep, float], path: str, seen: Seen) -> dict[closelook.Sleep, float]:
    """What the recorder has seen of them before anybody looked; a recorded host's tasks are not there to be asked."""
    try:
        looks = [one for one in ring.read(path, seen.time - _FRESH, seen.time) if one.sample.stuck] if path else []
    except OSError:
        looks = []  # not ours to read
    if not looks:
        return sleeps
    begun = seen.monotonic - (seen.time - looks[-1].time) - (looks[-1].sample.stuck or 0.0)
    return {sleep: min(since, begun) for sleep, since in sleeps.items()} or {(0, 0, 0): begun}


def _children(engine: Engine, row: ContainerRow, seen: Seen) -> int:
    """Of its first process, that were never waited for: no group has them, so that a recording has their number."""
    if engine.recorded is None:
        return zombies(row.pid, engine.paths.proc)
    path = _ring(engine, row, seen)
    try:
        found = heaviest.at(f"{os.path.dirname(path)}/{heaviest.FILE}", seen.time) if path else None
    except OSError:
        return 0  # not ours to read
    return found.zombies if found is not None else 0


def _recalled(engine: Engine, path: str, now: float) -> tuple[Measured, ...]:
    """What it had written, of a host whose files are not here."""
    disk = engine.recorded.disk() if engine.recorded is not None else None
    try:
        looks = recorded(path, now) if path and disk else ()
    except OSError:
        return ()
    return tuple(one._replace(free=disk[1], total=disk[0]) for one in looks) if disk else ()


def _waiting(
    engine: Engine, group: str, last: Turn | None, now: float
) -> tuple[int, dict[closelook.Sleep, float], str]:
    """How many tasks of a group are in state D, which, and where one of them waits."""
    if not group:
        return 0, {}, ""
    sample, proc = Sample(), engine.paths.proc
    try:
        pids = engine.group(group).pids()
        sleeps = closelook.fill(sample, pids, proc, last.sleeps if last is not None else {}, now)
    except (OSError, errors.PyctrError):
        return 0, {}, ""  # it has ended
    return sample.waiting or 0, sleeps, closelook.where(pids, proc) if sample.waiting else ""


def _patient(container: Container | None, row: ContainerRow, seen: Seen, past: Past, turn: Turn) -> Patient:
    streak, said = 0, ""
    if container is not None and row.health == health.UNHEALTHY and row.live:
        record = health.load(container, row.status)
        streak = int(record.get("streak") or 0)
        log = record.get("log") or ()
        said = " ".join(str(log[-1].get("output", "")).split()) if log else ""
    return Patient(
        row.status,
        seen.rates.get(row.id) if row.live else None,
        past,
        cpu_limit=row.cpu_limit,
        memory_limit=row.memory_limit,
        health=row.health,
        streak=streak,
        said=said,
        watched=container is None or not row.live or container.shim_alive,
        restart=row.restart_policy,
        wanted=row.wanted,
        code=row.exit_code,
        signal=row.exit_signal,
        error=row.exit_error,
        started=row.started_at,
        finished=row.finished_at,
        oom_killed=row.oom_killed,
        disk=disk_of(turn.written),
        zombies=turn.zombies,
        waiting=turn.waiting,
        stuck=seen.monotonic - min(turn.sleeps.values(), default=seen.monotonic),
        waits=turn.waits,
    )
