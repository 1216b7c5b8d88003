"""The container list as data: columns by width, the message of a container at rest, order and filter."""

from __future__ import annotations

import re

from pyctr.core.thresholds import USUAL, Thresholds
from pyctr.tui import format as f
from pyctr.tui.snapshot import ContainerRow
from pyctr.tui.table import Column, Layout, Look
from pyctr.tui.widgets.meter import judge, meter
from pyctr.tui.widgets.sparkline import sparkline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.tui.format import Line

MIDDLE, WIDE = 110, 128
"""Widths from which on more columns are there."""

STATE_STYLE = {"running": "good", "paused": "warn", "restarting": "bad", "dead": "bad"}


def state_style(row: ContainerRow) -> str:
    if row.failed:
        return "bad"
    return STATE_STYLE.get(row.status, "faint")


def _glyph(row: ContainerRow, width: int, look: Look) -> Line:
    return ((look.glyphs.state(row.status, failed=row.failed), state_style(row)),)


def _name(row: ContainerRow, width: int, look: Look) -> Line:
    style = "strong" if row.live or row.failed else "muted"
    return ((f.cut(f.neutral(row.name), width, look.glyphs.ellipsis), style),)


def _engine(row: ContainerRow, width: int, look: Look) -> Line:
    return ((f.cut(row.engine or "pyctr", width, look.glyphs.ellipsis), "muted" if row.engine else "faint"),)


def _image(row: ContainerRow, width: int, look: Look) -> Line:
    text = f.neutral(row.image).removeprefix("docker.io/library/").removeprefix("docker.io/")
    if f.width(text) > width and "/" in text:
        text = text.rpartition("/")[2]  # the repository says more than its registry
    return ((f.cut(text, width, look.glyphs.ellipsis), "muted" if row.live else "faint"),)


def _value(text: str, style: str = "text") -> Line:
    return ((text, "faint" if text in ("-", "-/-") else style),)


def _rest(text: str) -> str:
    """Zero is at rest."""
    return "faint" if text in ("0", "0.0", "0%", "0/0") else "text"


def _cpu(row: ContainerRow, width: int, look: Look) -> Line:
    text = f.percent(row.cpu)
    return _value(text, _rest(text))


def _cpu_of_limit(row: ContainerRow, width: int, look: Look) -> Line:
    text = f.whole_percent(row.cpu_of_limit)
    verdict = judge(row.throttled, warn=5, bad=25)
    return _value(text, "text" if verdict == "good" else verdict) if text != "0%" else _value(text, "faint")


def _spark(row: ContainerRow, width: int, look: Look) -> Line:
    if row.status == "paused":
        return ((f.fit("paused", width), "warn"),)  # a frozen one has nothing to plot, and a word for its state is due
    known = [value for value in row.spark if value is not None]
    # one scale for everybody would flatten the small ones, one per row would make noise look like work
    ceiling = max(100.0, *known) if known else 100.0
    if known and max(known) < 25:
        ceiling = 25.0
    return ((sparkline(row.spark[-width:], ceiling, look.glyphs), "spark"),)


def _memory(row: ContainerRow, width: int, look: Look) -> Line:
    return _value(f.size(row.memory))


def _memory_bar(row: ContainerRow, width: int, look: Look) -> Line:
    if row.memory_of_limit is None:
        return ((" " * (width - 1), "text"), ("-", "faint")) if row.live else ((" " * width, "text"),)
    number = f.fit(f.whole_percent(row.memory_of_limit), 4, "right")
    style = judge(row.memory_of_limit)
    return (
        *meter(row.memory_of_limit, width - 5, look.glyphs),
        (" ", "text"),
        (number, "text" if style == "good" else style),
    )


def _pids(row: ContainerRow, width: int, look: Look) -> Line:
    style = "text"
    if row.pids is not None and row.pids_limit:
        verdict = judge(row.pids * 100 / row.pids_limit)
        style = "text" if verdict == "good" else verdict
    return _value(f.count(row.pids), style)


def _net(row: ContainerRow, width: int, look: Look) -> Line:
    text = f.pair(row.net_rx, row.net_tx)
    return _value(text, _rest(text))


def _disk(row: ContainerRow, width: int, look: Look) -> Line:
    text = f.pair(row.io_read, row.io_write)
    return _value(text, _rest(text))


def _up(row: ContainerRow, width: int, look: Look) -> Line:
    if row.live and row.started_at:
        return _value(f.duration(max(0.0, look.now - row.started_at)), "muted")
    if row.status == "restarting":
        return _value("-")
    moment = row.finished_at or row.created_at
    if not moment:
        return _value("-")
    text = f.duration(max(0.0, look.now - moment))
    return _value(text + " ago" if width >= 8 else text, "faint")


def _health(row: ContainerRow, width: int, look: Look) -> Line:
    if row.status == "restarting":
        return (("restarting" if width >= 10 else look.glyphs.restarting, "bad"),)
    if row.health == "healthy":
        return ((look.glyphs.ok if width < 9 else f"{look.glyphs.ok} healthy", "good"),)
    if row.health == "unhealthy":
        return ((look.glyphs.bad if width < 9 else "unhealthy", "bad"),)
    if row.health == "starting":
        return (("…" if width < 9 and not look.glyphs.ascii else "starting", "warn"),)
    return _value("-") if row.live else (("", "text"),)


def _restarts(row: ContainerRow, width: int, look: Look) -> Line:
    return _value(f.count(row.restarts), "faint" if not row.restarts else "warn")


def _descending(value: float | None) -> float:
    return -1.0 if value is None else float(value)


def columns(total: int, *, engines: bool = False) -> list[Column]:
    """What fits: everything from `WIDE` cells on, the essential eight at 80 columns. `engines`: not all are ours."""
    wide, middle = total >= WIDE + 12 * engines, total >= MIDDLE
    roomy = wide or (middle and not engines)
    chosen = [
        Column("glyph", "", 1, _glyph),
        Column("name", "NAME", 12, _name, grow=3, limit=30, gap=1, sort=lambda row: row.name.lower(), sort_key="N"),
    ]
    if engines:
        size = 11 if wide else 10 if middle else 6
        chosen.append(Column("engine", "ENGINE", size, _engine, gap=1, sort=lambda row: row.engine, sort_key="E"))
    if middle:
        chosen.append(Column("image", "IMAGE", 12, _image, grow=2, limit=28, sort=lambda row: row.image, sort_key="I"))
    chosen.append(
        Column(
            "cpu", "CPU%", 5, _cpu, align="right", sort=lambda row: _descending(row.cpu), descending=True, sort_key="C"
        )
    )
    if roomy or total >= 115:
        chosen.append(Column("oflimit", "% lim", 6, _cpu_of_limit, align="right", gap=1))
    chosen.append(Column("spark", "last 60s" if roomy else "60 s", 8 if roomy else 6, _spark, gap=1))
    chosen.append(
        Column(
            "memory",
            "MEM",
            5,
            _memory,
            align="right",
            sort=lambda row: _descending(row.memory),
            descending=True,
            sort_key="M",
        )
    )
    chosen.append(Column("bar", "of limit", 13 if roomy else 11, _memory_bar, gap=1))
    chosen.append(
        Column(
            "pids",
            "PIDS",
            4,
            _pids,
            align="right",
            sort=lambda row: _descending(row.pids),
            descending=True,
            sort_key="P",
            gap=1 + roomy,
        )
    )
    chosen.append(
        Column(
            "net",
            "NET ↓/↑",
            9,
            _net,
            align="right",
            sort=lambda row: _descending(row.net_rx) + _descending(row.net_tx),
            descending=True,
            gap=1 + middle,
        )
    )
    if middle:
        chosen.append(
            Column(
                "disk",
                "DISK r/w",
                9,
                _disk,
                align="right",
                sort=lambda row: _descending(row.io_read) + _descending(row.io_write),
                descending=True,
                sort_key="D",
            )
        )
    if wide:
        chosen.append(
            Column(
                "restarts",
                "RST",
                3,
                _restarts,
                align="right",
                sort=lambda row: row.restarts,
                descending=True,
            )
        )
    chosen.append(
        Column(
            "up",
            "UP",
            7 if wide else 4,
            _up,
            align="right",
            sort=lambda row: row.started_at or row.created_at,
            sort_key="U",
            gap=1 + middle,
        )
    )
    chosen.append(Column("health", "HEALTH" if wide else "", 10 if wide else 2, _health, gap=1))
    return chosen


def ascii_titles(chosen: list[Column]) -> list[Column]:
    for column in chosen:
        column.title = column.title.replace("↓", "v").replace("↑", "^")
    return chosen


def message(row: ContainerRow, look: Look, *, short: bool = False) -> Line:
    """What a container that is not running has to say instead of numbers."""
    now = look.now
    if row.busy:
        return ((f"{row.busy}{look.glyphs.ellipsis}", "accent"),)
    if row.status == "created":
        return (("created, never started", "faint"),)
    if row.status == "dead":
        return (("removal failed half-way, d tries again", "bad"),)
    ago = f", {f.duration(max(0.0, now - row.finished_at))} ago" if row.finished_at and not short else ""
    ran = f", ran {f.duration(row.ran)}" if row.ran is not None else ""
    times = f", restarted {row.restarts} time{'s' if row.restarts != 1 else ''}" if row.restarts else ""
    if row.status == "restarting":
        code = "OOM-killed" if row.oom_killed else f"exited {row.exit_code}" if row.exit_code is not None else "ended"
        return ((f"{code}{times}, waits to start again", "bad"),)
    if row.oom_killed:
        peak = f", limit {f.size(row.memory_limit)}" if row.memory_limit else ""
        return ((f"OOM-killed{peak}{ran}{ago}{times}", "bad"),)
    if row.exit_error:
        return ((f"failed: {f.neutral(row.exit_error)}", "bad"),)
    if row.exit_signal:
        text = f"killed by {signal_name(row.exit_signal)}{ran}{ago}{times}"
        return ((text, "bad" if row.failed else "faint"),)
    if row.exit_code is None:
        return (("stopped" + ago, "faint"),)
    return ((f"exited {row.exit_code}{ran}{ago}{times}", "bad" if row.failed else "faint"),)


def signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def note(row: ContainerRow, look: Look, layout: Layout) -> tuple[str, str, Line] | None:
    """The run of columns a message replaces, for `Layout.cells`."""
    if row.live and not row.busy:
        return None
    return "cpu", "disk" if layout.total >= MIDDLE else "net", message(row, look, short=layout.total < MIDDLE)


class Ordering:
    """By one column; `""` is the order of attention: failing, then live, then at rest, each by name."""

    def __init__(self, column: str = "", descending: bool = False) -> None:
        self.column = column
        self.descending = descending

    def pressed(self, column: Column) -> Ordering:
        """The order after the column's key: first its natural direction, then the other one."""
        if self.column == column.key:
            return Ordering(column.key, not self.descending)
        return Ordering(column.key, column.descending)

    def apply(self, rows: Sequence[ContainerRow], chosen: Sequence[Column]) -> list[ContainerRow]:
        out = sorted(rows, key=lambda row: row.name.lower())
        if not self.column:
            out.sort(key=lambda row: 0 if row.failed else 1 if row.live else 2)
            return out
        for column in chosen:
            if column.key == self.column and column.sort is not None:
                out.sort(key=column.sort, reverse=self.descending)
        return out


class Filter:
    """`web` anywhere in name, image or id; `!demo` inverts; `status:paused` one field; a valid regex works as one."""

    def __init__(self, text: str = "", *, faults: bool = False) -> None:
        self.text = text.strip()
        self.faults = faults
        """Only what needs somebody."""
        body = self.text
        self._invert = body.startswith("!")
        body = body.removeprefix("!")
        self._field = ""
        name, colon, rest = body.partition(":")
        if colon and name in ("status", "name", "image", "network", "id", "health", "engine", "pod"):
            self._field, body = name, rest
        try:
            self._pattern = re.compile(body, re.IGNORECASE)
        except re.error:
            self._pattern = re.compile(re.escape(body), re.IGNORECASE)
        self._empty = not body

    def __bool__(self) -> bool:
        return self.faults or not self._empty

    def keeps(self, row: ContainerRow, bounds: Thresholds = USUAL) -> bool:
        if self.faults and not sick(row, bounds):
            return False
        if self._empty:
            return True
        if self._field:
            found = bool(self._pattern.search(str(getattr(row, self._field))))
        else:
            found = any(self._pattern.search(text) for text in (row.name, row.image, row.short_id))
        return found != self._invert


def sick(row: ContainerRow, bounds: Thresholds) -> bool:
    """Failed, or alive and short of something."""
    if row.failed:
        return True
    return any(
        value is not None and value >= limit
        for value, limit in (
            (row.memory_of_limit, bounds.memory_percent),
            (row.throttled, bounds.throttled_percent),
            (row.psi_memory, bounds.host_memory_stall_percent),
            (row.psi_io, bounds.io_stall_percent),
        )
    )
