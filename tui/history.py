"""What was measured: fine for three minutes, coarse for an hour, small in memory. Of the time before this program
looked it knows what the container's own record says (core/history)."""

from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

METRICS = ("cpu", "memory", "throttled", "net_rx", "net_tx", "io_read", "io_write")
FINE, COARSE, STEP = 180, 360, 10.0
_NOTHING = float("nan")


class _Ring:
    """Parallel arrays of moments and values, cut to half again their length now and then."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.moments = array("d")
        self.values = {metric: array("f") for metric in METRICS}

    def add(self, moment: float, values: dict[str, float | None]) -> None:
        self.moments.append(moment)
        for metric, ring in self.values.items():
            value = values.get(metric)
            ring.append(_NOTHING if value is None else value)
        if len(self.moments) > self.size * 3 // 2:
            extra = len(self.moments) - self.size
            del self.moments[:extra]
            for ring in self.values.values():
                del ring[:extra]


class Spark:
    """The cells of a sparkline, kept as means while values come, see widgets/sparkline.buckets."""

    def __init__(self, cells: int, span: float) -> None:
        self._cells = cells
        self._step = span / cells
        self._means: dict[int, tuple[float, int]] = {}

    def add(self, moment: float, value: float) -> None:
        index = int(moment // self._step)
        total, seen = self._means.get(index, (0.0, 0))
        self._means[index] = (total + value, seen + 1)
        if len(self._means) > 2 * self._cells:
            for old in [one for one in self._means if one <= index - self._cells]:
                del self._means[old]

    def values(self, now: float) -> tuple[float | None, ...]:
        last = int(now // self._step)
        out = []
        for index in range(last - self._cells + 1, last + 1):
            mean = self._means.get(index)
            out.append(None if mean is None else mean[0] / mean[1])
        return tuple(out)


class History:
    """One container's past."""

    def __init__(self) -> None:
        self.spark = Spark(8, 60.0)
        self._fine = _Ring(FINE)
        self._coarse = _Ring(COARSE)
        self._own = float("inf")
        self._bucket = -1
        self._sums: dict[str, float] = {}
        self._seen: dict[str, int] = {}

    def add(self, moment: float, values: dict[str, float | None]) -> None:
        self._own = min(self._own, moment)
        self._fine.add(moment, values)
        cpu = values.get("cpu")
        if cpu is not None:
            self.spark.add(moment, cpu)
        bucket = int(moment // STEP)
        if bucket != self._bucket:
            if self._seen:
                means: dict[str, float | None] = {name: self._sums[name] / seen for name, seen in self._seen.items()}
                self._coarse.add((self._bucket + 0.5) * STEP, means)
            self._bucket, self._sums, self._seen = bucket, {}, {}
        for name, value in values.items():
            if value is not None:
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._seen[name] = self._seen.get(name, 0) + 1

    def seed(self, record: Sequence[tuple[float, dict[str, float | None]]]) -> None:
        """What was on record before our own first value, oldest first. A longer record may follow a shorter one."""
        ring = _Ring(COARSE)
        for moment, values in record:
            if moment < self._own:
                ring.add(moment, values)
        self.spark = Spark(8, 60.0)
        for moments, cpu in ((ring.moments, ring.values["cpu"]), (self._fine.moments, self._fine.values["cpu"])):
            for moment, value in zip(moments, cpu, strict=True):
                if value == value:
                    self.spark.add(moment, value)
        for place, moment in enumerate(self._coarse.moments):
            if moment >= self._own:
                ring.add(moment, {name: values[place] for name, values in self._coarse.values.items()})
        self._coarse = ring

    def begin(self, now: float) -> float:
        """The first moment anything is known of."""
        return min([now, *self._coarse.moments[:1], *self._fine.moments[:1]])

    def points(self, metric: str, since: float) -> tuple[tuple[float, float], ...]:
        """(monotonic seconds, value) from `since` on, oldest first: coarse as far as fine does not reach."""
        fine = self._fine
        begin = fine.moments[0] if fine.moments else float("inf")
        out = []
        for ring, start, end in ((self._coarse, since, begin), (fine, since, float("inf"))):
            values = ring.values[metric]
            for index in range(len(ring.moments) - 1, -1, -1):
                moment = ring.moments[index]
                if moment < start:
                    break
                value = values[index]
                if moment < end and value == value:
                    out.append((moment, value))
        out.sort()
        return tuple(out)
