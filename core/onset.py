"""Since when a container has been sick of something, from its ring: of what was so before anybody looked.

The rules are asked again, with what was recorded, back from now to where they say nothing.
"""

from __future__ import annotations

from pyctr.core import history
from pyctr.core.triage import Past, diagnose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.thresholds import Thresholds
    from pyctr.core.triage import Machine, Patient

KINDS = frozenset(("throttled", "memory", "near-limit", "io", "pids"))
"""Which go by rates alone. Who is starved of CPU depends on the host, too."""
BACK = 3600.0
"""Seconds of the ring that are looked at; what is older is known to be at least that old."""
_MISSES = 2
"""Records in a row that may say otherwise: a mean of five seconds comes and goes where one of ten is steady."""


def onset(path: str, patient: Patient, kind: str, machine: Machine, now: float, bounds: Thresholds) -> float:
    """Epoch seconds; 0 where the ring does not tell. Raises OSError for one that may not be read."""
    if kind not in KINDS:
        return 0.0
    since, misses, last = 0.0, 0, now
    for moment in reversed(history.read(path, now - BACK, now)):
        if last - moment.time > history.PATIENCE * max(moment.rates.interval, 30.0):
            break  # nobody recorded then
        last = moment.time
        then = patient._replace(rates=moment.rates, past=Past(), disk=None, zombies=0, waiting=0)
        if any(one.kind == kind for one in diagnose(then, machine, moment.time, bounds)):
            since, misses = moment.time - moment.rates.interval, 0
        elif (misses := misses + 1) > _MISSES:
            break
        if moment.gap:
            break
    return since
