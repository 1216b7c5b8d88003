"""Since when a container has been sick of something, from what is on record: of what was so before anybody looked.

The rules are asked again, with what was recorded, back from now to where they say nothing.

    throttled memory near-limit io pids      its ring alone
    starved                                  its ring, and that of the machine at the same moments
    disk                                     the looks at its layer and log; what was left of the disk then is what is
                                             left now and what it has written since
    zombies                                  what was counted with its processes
"""

from __future__ import annotations

import os

from pyctr.core import heaviest, history, ring
from pyctr.core.triage import Disk, Past, diagnose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyctr.core.thresholds import Thresholds
    from pyctr.core.triage import Machine, Patient

KINDS = frozenset(("throttled", "memory", "near-limit", "io", "pids", "starved", "disk", "zombies"))
BACK = 3600.0
"""Seconds of the record that are looked at; what is older is known to be at least that old."""
_MISSES = 2
"""Records in a row that may say otherwise: a mean of five seconds comes and goes where one of ten is steady."""
_STEP = float(ring.TIERS[0][0])
_APART, _COMPARED = 10.0, 120.0
"""Seconds between two looks at a layer of which the difference is growth: at least, and at most."""


def onset(
    path: str, patient: Patient, kind: str, machine: Machine, now: float, bounds: Thresholds, host: str = ""
) -> float:
    """Epoch seconds; 0 where the record does not tell. `path` is its ring, `host` that of the machine.

    Raises OSError for one that may not be read.
    """
    if kind not in KINDS:
        return 0.0
    bare = patient._replace(rates=None, past=Past(), disk=None, zombies=0, waiting=0)
    if kind == "zombies":
        found = _zombies(path, bare, now)
    elif kind == "disk":
        found = _disk(path, bare, patient.disk, now)
    else:
        found = _rates(path, bare, machine, now, host if kind == "starved" else "")
    since, misses, last = 0.0, 0, now
    for begun, at, every, then, there in found:
        if last - at > history.PATIENCE * max(every, 30.0):
            break  # nobody recorded then
        last = at
        if any(one.kind == kind for one in diagnose(then, there or machine, at, bounds)):
            since, misses = begun, 0
        elif (misses := misses + 1) > _MISSES:
            break
    return since


_Look = tuple[float, float, float, "Patient", "Machine | None"]
"""(begin of what it tells of, when it was, seconds to the one before, the patient, the machine where it is known)"""


def _rates(path: str, bare: Patient, machine: Machine, now: float, host: str) -> Iterator[_Look]:
    busy: list[history.Moment] = list(reversed(history.read(host, now - BACK, now))) if host else []
    for moment in reversed(history.read(path, now - BACK, now)):
        there = None
        if host:
            while busy and busy[0].time > moment.time + _STEP:
                busy.pop(0)
            if not busy or busy[0].rates.cpu_percent_of_limit is None:
                return
            if moment.time - busy[0].time > history.PATIENCE * max(_STEP, moment.rates.interval):
                return  # what the machine did at that moment is not on record
            there = machine._replace(cpu=busy[0].rates.cpu_percent_of_limit)
        interval = moment.rates.interval
        yield moment.time - interval, moment.time, interval, bare._replace(rates=moment.rates), there
        if moment.gap:
            return


def _disk(path: str, bare: Patient, disk: Disk | None, now: float) -> Iterator[_Look]:
    looks = [
        (one.time, one.sample.layer, one.sample.log or 0)
        for one in ring.read(path, now - BACK, now)
        if one.sample.layer is not None
    ]
    if disk is None or not looks:
        return
    for number in range(len(looks) - 1, 0, -1):
        at, layer, log = looks[number]
        earlier = [one for one in looks[:number] if _APART <= at - one[0] <= _COMPARED] or [looks[number - 1]]
        begun, was_layer, was_log = earlier[-1]
        free = disk.free + disk.layer + disk.log - layer - log
        growth = (layer + log - was_layer - was_log) / (at - begun) if at > begun else None
        then = Disk(layer, log, free, disk.total, growth)
        yield begun, at, at - looks[number - 1][0], bare._replace(disk=then), None


def _zombies(path: str, bare: Patient, now: float) -> Iterator[_Look]:
    looks: Iterable[heaviest.Seen] = reversed(
        heaviest.read(f"{os.path.dirname(path)}/{heaviest.FILE}", now - BACK, now)
    )
    for seen in looks:
        # of what is longer ago than the finest tier reaches there are fewer
        step = next((step for step, slots in heaviest.FORMAT.tiers if now - seen.time < step * slots), 0)
        yield seen.time, seen.time, float(step), bare._replace(zombies=seen.zombies), None
