"""The charts of the overview: CPU, memory, network and disk of one container over a span of time."""

from __future__ import annotations

from pyctr.tui import format as f
from pyctr.tui.widgets.chart import area, nice_ceiling
from pyctr.tui.widgets.sparkline import buckets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look

    Points = tuple[tuple[float, float], ...]
    """(monotonic second, value), oldest first."""

_AXIS = 6
"""Cells left of the plot."""


class Charts:
    """Each chart is a title and an area below it, `width` cells wide and `height` lines high."""

    def __init__(self, row: ContainerRow, snapshot: Snapshot, look: Look) -> None:
        detail = snapshot.detail
        self.row = row
        self.now = snapshot.monotonic
        self.past = snapshot.past
        self.series = detail.series if detail is not None else {}
        self.span = detail.span if detail is not None else 300.0
        """Seconds."""
        self.look = look

    def cpu(self, width: int, height: int) -> list[Line]:
        points = self.series.get("cpu", ())
        limit = self.row.cpu_limit * 100 if self.row.cpu_limit else None
        peak = _peak(points)
        ceiling = max(nice_ceiling(peak), 1.0)
        if limit is not None and limit <= max(ceiling, 100.0) * 2:
            ceiling = max(limit * 1.15 if limit >= peak else peak, peak)
        elif peak > 40:
            ceiling = max(ceiling, 100.0)
        title = _title("CPU % of one core", f.percent(self.row.cpu), _limit(limit, "{:.0f}".format), width)
        # half of a low ceiling is no whole number
        label = "{:.0f}".format if ceiling >= 10 else "{:.2g}".format
        return [title, *self._area(points, width, height, ceiling, label, limit)]

    def memory(self, width: int, height: int) -> list[Line]:
        points = self.series.get("memory", ())
        limit = self.row.memory_limit
        peak = _peak(points)
        ceiling = limit * 1.1 if limit and peak > limit / 8 else nice_ceiling(peak * 1.1, binary=True)
        title = _title("Memory", f.size(self.row.memory), _limit(limit, f.size), width)
        return [title, *self._area(points, width, height, ceiling, f.size, limit)]

    def network(self, width: int, height: int) -> list[Line]:
        down, up = self.look.glyphs.down, self.look.glyphs.up
        now = f"{down}{f.size(self.row.net_rx)} {up}{f.size(self.row.net_tx)}"
        return self._rates("Network", ("net_rx", "net_tx"), now, width, height)

    def disk(self, width: int, height: int) -> list[Line]:
        now = f"r {f.size(self.row.io_read)} w {f.size(self.row.io_write)}"
        return self._rates("Disk", ("io_read", "io_write"), now, width, height)

    def _rates(self, name: str, metrics: tuple[str, str], now: str, width: int, height: int) -> list[Line]:
        """Both directions added up; the title tells them apart."""
        first, second = (self.series.get(metric, ()) for metric in metrics)
        other = dict(second)
        points = tuple((moment, value + other.get(moment, 0.0)) for moment, value in first)
        ceiling = nice_ceiling(max(_peak(points), 1024.0), binary=True)
        title = _title(f"{name} per second", now, "", width)
        return [title, *self._area(points, width, height, ceiling, f.size, style="chart.second")]

    def _area(
        self,
        points: Points,
        width: int,
        height: int,
        ceiling: float,
        label: Callable[[float], str],
        limit: float | None = None,
        style: str = "chart",
    ) -> list[Line]:
        return area(
            _columns(points, self.now, self.span, width - _AXIS),
            width=width,
            height=height - 1,
            ceiling=ceiling,
            limit=limit,
            label=label,
            span=self.span,
            glyphs=self.look.glyphs,
            style=style,
            end=f.clock(self.past) if self.past else "now",
        )


def _peak(points: Points) -> float:
    return max((value for _, value in points), default=0.0)


def _limit(limit: float | None, label: Callable[[float], str]) -> str:
    return f"limit {label(limit)}" if limit else "no limit"


def _title(name: str, value: str, limit: str, width: int) -> Line:
    left = ((name, "strong"), ("  ", "text"), (value, "accent"))
    return (*f.fit_line(left, max(0, width - len(limit))), (limit, "limit"))


def _columns(points: Points, now: float, span: float, plot: int) -> list[float | None]:
    """One value for each column; a column between two coarse points, which are ten seconds apart, is not a gap."""
    values = list(buckets(points, now, plot, span))
    last: float | None = None
    age = 0
    hold = max(1, int(12 / (span / plot)) + 1)
    for index, value in enumerate(values):
        if value is not None:
            last, age = value, 0
        elif last is not None and age < hold:
            values[index], age = last, age + 1
    return values
