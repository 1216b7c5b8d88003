"""The two lines on top: is anything wrong with this host, and which screen is this."""

from __future__ import annotations

from pyctr.tui import format as f
from pyctr.tui.format import Glyphs
from pyctr.tui.snapshot import Snapshot
from pyctr.tui.widgets.meter import judge, meter
from pyctr.tui.widgets.sparkline import sparkline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.tui.format import Line, Span


def counts(snapshot: Snapshot, glyphs: Glyphs) -> Line:
    """`14 ● 2 ‖ 3 ○ 1 ✗`; groups of none are left out."""
    groups = {"running": 0, "paused": 0, "rest": 0, "failed": 0}
    for row in snapshot.containers:
        if row.failed:
            groups["failed"] += 1
        elif row.live:
            groups[row.status] += 1
        else:
            groups["rest"] += 1
    spans: list[Span] = []
    for name, glyph, style in (
        ("running", glyphs.running, "good"),
        ("paused", glyphs.paused, "warn"),
        ("rest", glyphs.exited, "faint"),
        ("failed", glyphs.failed, "bad.strong"),
    ):
        if groups[name]:
            if spans:
                spans.append((" ", "text"))
            spans.append((f"{groups[name]}{glyph}", style))
    return tuple(spans)


def _psi(value: float | None) -> str:
    if value is None:
        return f.UNKNOWN
    return "0" if value < 0.05 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _judged(text: str, value: float | None, warn: float, bad: float) -> Span:
    verdict = judge(value, warn=warn, bad=bad)
    return (text, "text" if verdict == "good" else verdict)


def host_line(snapshot: Snapshot, width: int, glyphs: Glyphs) -> Line:
    """The first line of every screen."""
    host = snapshot.host
    if snapshot.past:
        return _past_line(snapshot, width, glyphs)
    wide = width >= 110
    name = f.cut(f.neutral(host.name), 16 if not wide else 28)
    left: list[Line] = []
    lead: list[Span] = [(" ", "text")]
    if wide:
        lead += [("pyctr", "title"), (f" {glyphs.dot} ", "faint")]
    lead.append((name, "strong"))
    left.append(tuple(lead))
    cpu = f.whole_percent(host.cpu)
    spans: list[Span] = [("cpu ", "faint")]
    if wide and host.cpu_spark:
        spans += [(sparkline(host.cpu_spark, 100.0, glyphs), "spark"), (" ", "text")]
    spans.append(_judged(f.fit(cpu, 4, "right") if wide else cpu, host.cpu, 80, 95))
    if wide and host.cpus:
        spans.append((f" of {host.cpus}", "faint"))
    left.append(tuple(spans))
    memory = f.whole_percent(host.memory_percent)
    spans = [("mem ", "faint")]
    if wide and host.memory_percent is not None:
        spans += [*meter(host.memory_percent, 10, glyphs), (" ", "text")]
    spans.append(_judged(memory, host.memory_percent, 80, 95))
    left.append(tuple(spans))
    values = ((host.psi_cpu, 20.0, 50.0), (host.psi_memory, 5.0, 20.0), (host.psi_io, 20.0, 50.0))
    spans = [("psi ", "faint")]
    for index, (label, (value, warn, bad)) in enumerate(zip(("cpu", "mem", "io"), values, strict=True)):
        if wide:
            spans += [(f"{label} " if index == 0 else f" {label} ", "faint")]
        elif index:
            spans.append(("/", "faint"))
        spans.append(_judged(_psi(value), value, warn, bad))
    left.append(tuple(spans))
    left.append((("load ", "faint"), (f.UNKNOWN if host.load is None else f"{host.load:.2f}", "text")))
    right: list[Span] = []
    if snapshot.recorded:
        # before everything else: nobody must take the past for the present
        right += [(f"recorded {f.stamp(snapshot.time)[: 16 if wide else 10]}", "bad.strong"), ("  ", "text")]
    elif snapshot.read_only:
        right += [("read-only", "warn"), ("  ", "text")]
    right += [*counts(snapshot, glyphs), ("  ", "text"), (f.clock(snapshot.time), "muted"), (" ", "text")]
    room = width - f.line_width(right)
    while len(left) > 2 and f.line_width(f.join(left, ("   " if wide else "  ", "text"))) > room - 1:
        left.pop()
    return (*f.fit_line(f.join(left, ("   " if wide else "  ", "text")), room), *right)


def _past_line(snapshot: Snapshot, width: int, glyphs: Glyphs) -> Line:
    """Nobody takes the past for the present."""
    left: list[Span] = [(f" THE PAST {f.stamp(snapshot.past)[:19]} ", "past"), ("  ", "text")]
    host = snapshot.host
    if host.memory_total is not None:
        left += [("cpu ", "faint"), _judged(f.whole_percent(host.cpu), host.cpu, 80, 95), ("  mem ", "faint")]
        left += [_judged(f.whole_percent(host.memory_percent), host.memory_percent, 80, 95), ("  psi ", "faint")]
        left.append(("/".join(_psi(value) for value in (host.psi_cpu, host.psi_memory, host.psi_io)), "text"))
        if width >= 110:
            left += [("  load ", "faint"), (f.UNKNOWN if host.load is None else f"{host.load:.2f}", "text")]
        left.append(("   ", "text"))
    left += [
        ("T", "key"),
        (" now   ", "muted"),
        (", .", "key"),
        (" step   ", "muted"),
        ("t", "key"),
        (" time", "muted"),
    ]
    right = (*counts(snapshot, glyphs), (" ", "text"))
    return (*f.fit_line(left, max(0, width - f.line_width(right))), *right)


def screen_line(
    screens: Sequence[tuple[str, str]], current: str, width: int, glyphs: Glyphs, filter_text: str = "", hint: str = ""
) -> Line:
    """The second line from 100 columns on: digits and names of the screens, the filter at the right."""
    spans: list[Span] = [(" ", "text")]
    for digit, title in screens:
        active = title == current
        spans += [
            (f"{digit} ", "key" if active else "faint"),
            (title, "tab.active" if active else "tab"),
            ("   ", "text"),
        ]
    right: list[Span] = []
    if filter_text:
        right += [("/ ", "key"), (f.neutral(filter_text), "accent"), ("  ", "text")]
    if hint:
        right += [(hint, "muted"), (" ", "text")]
    room = width - f.line_width(right)
    return (*f.fit_line(spans, max(0, room)), *right) if room > 0 else f.fit_line(spans, width)
