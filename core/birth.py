"""The birth certificate: what a start did, step by step, and how long each step took.

`birth.json` in the container's directory is the certificate of the latest start.
"""

from __future__ import annotations

import time

from pyctr.core import fsutil
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyctr.core.paths import Paths

STEPS = (
    "resolve image",
    "writable layer",
    "cgroup + limits",
    "namespaces",
    "network",
    "ports",
    "root filesystem",
    "privileges",
    "exec",
)


class Step(Record):
    """One step: its name, what it did in words, when it began after the start's begin, how long it took."""

    name: str
    text: str
    at_us: int
    took_us: int


class Certificate(Record):
    """The steps of one start, in the order they began."""

    nested = {"steps": Step}

    id: str
    name: str
    started_at: float
    """Seconds since the epoch of the first step."""
    total_us: int = 0
    steps: list[Step] = []


class Recorder:
    """Collects steps while they happen."""

    def __init__(self) -> None:
        self.started_at = time.time()
        self.begin_ns = time.monotonic_ns()
        self._mark = self.begin_ns
        self.steps: list[Step] = []

    def step(self, name: str, text: str) -> None:
        """Everything since the last `step` or `skip` was this one."""
        now = time.monotonic_ns()
        self.steps.append(Step(name=name, text=text, at_us=self._us(self._mark), took_us=(now - self._mark) // 1000))
        self._mark = now

    def skip(self) -> None:
        """What happened since the last step belongs to none."""
        self._mark = time.monotonic_ns()

    def add(self, trace: Iterable[tuple[str, str, int, int]], offset_us: int) -> None:
        """Steps another process measured: (name, text, started, took) in us, `offset_us` after our begin."""
        for name, text, started, took in trace:
            self.steps.append(Step(name=name, text=text, at_us=offset_us + started, took_us=took))

    def _us(self, moment_ns: int) -> int:
        return (moment_ns - self.begin_ns) // 1000

    def now_us(self) -> int:
        return self._us(time.monotonic_ns())

    def certificate(self, id: str, name: str) -> Certificate:
        steps = sorted(self.steps, key=lambda step: step.at_us)
        total = max((step.at_us + step.took_us for step in steps), default=0)
        return Certificate(id=id, name=name, started_at=self.started_at, total_us=total, steps=steps)


def save(paths: Paths, certificate: Certificate) -> None:
    fsutil.write_json(paths.container(certificate.id, "birth.json"), certificate.to_dict(), durable=False)


def load(paths: Paths, id: str) -> Certificate | None:
    """The certificate of the latest start; None before the first."""
    try:
        return Certificate.from_dict(fsutil.read_json(paths.container(id, "birth.json")))
    except (OSError, ValueError):
        return None
