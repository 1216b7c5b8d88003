"""The machine as a page of lines: what is wrong first, then what it does, then what it is. Pure."""

from __future__ import annotations

from pyctr.core.doctor import BAD, GOOD, WARNING, Finding
from pyctr.tui import format as f
from pyctr.tui.sources import Scene
from pyctr.tui.sources.machine import Core, Machine
from pyctr.tui.sources.space import Space
from pyctr.tui.widgets.chart import area
from pyctr.tui.widgets.meter import judge, meter
from pyctr.tui.widgets.sparkline import buckets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyctr.tui.format import Line, Span
    from pyctr.tui.table import Look

WIDE = 100
"""From here on two columns."""
SPANS = (60.0, 300.0)
MODES = {"v1": "v1", "v2": "v2", "hybrid": "v1 controllers, a v2 tree beside them"}
PRESSURE = {"cpu": (20.0, 50.0), "memory": (5.0, 20.0), "io": (20.0, 50.0)}
"""Percent of time waited that is worth a look, and that hurts."""


def page(scenes: Mapping[str, Scene], width: int, height: int, now: float, look: Look) -> list[Line]:
    """`now` is in seconds since the epoch, for the age of what cannot be read any more."""
    machine, space, findings = (scenes.get(name, Scene()) for name in ("machine", "space", "findings"))
    doctor = _doctor(findings, width, now, look)
    seen = findings.document
    ill = isinstance(seen, tuple) and any(finding.level != GOOD for finding in seen)
    above: list[Line] = [*doctor, ()] if ill else []
    above += _failed(machine, now)
    right = _space(space, now, look)
    if not isinstance(machine.document, Machine):
        return [*above, *right, *([] if ill else [(), *doctor])]
    below = [(), *_beside(_pressure(machine.document, look), right, width), (), *_facts(machine.document, width, look)]
    if not ill:
        below += [(), *doctor]
    work = _work(machine.document, width, 0, look)
    # what is left of the screen goes to the charts; where it is little they are left out
    charts = min(10, height - len(above) - len(work) - len(below) - 1)
    if width >= WIDE and charts >= 4:
        work = _work(machine.document, width, charts, look)
    return [*above, *work, *below]


def _failed(scene: Scene, now: float) -> list[Line]:
    if not scene.error:
        return []
    said = "cannot read this now"
    if scene.document is not None:
        said = f"as of {f.duration(max(0.0, now - scene.taken_at))} ago"
    return [((f"{said}: {f.neutral(scene.error)}", "bad"),)]


def _beside(left: Sequence[Line], right: Sequence[Line], width: int) -> list[Line]:
    """Two blocks, one below the other where there is no room."""
    if width < WIDE:
        return [*left, (), *right] if left and right else [*left, *right]
    half = (width - 4) // 2
    both: list[Line] = []
    for place in range(max(len(left), len(right))):
        one = left[place] if place < len(left) else ()
        two = right[place] if place < len(right) else ()
        both.append((*f.fit_line(one, half), ("    ", "text"), *f.fit_line(two, width - half - 4)))
    return both


def _work(machine: Machine, width: int, charts: int, look: Look) -> list[Line]:
    half = (width - 4) // 2 if width >= WIDE else width
    rest = width - half - 4 if width >= WIDE else width
    return _beside(_cpu(machine, half, charts, look), _memory(machine, rest, charts, look), width)


def _plot(points: tuple[tuple[float, float], ...], machine: Machine, width: int) -> tuple[list[float | None], float]:
    age = machine.taken - points[0][0] if points else 0.0
    span = next((one for one in SPANS if age <= one), SPANS[-1])
    columns = width - 6
    values = list(buckets(points, machine.taken, columns, span))
    hold = max(1, int(3 / (span / columns)) + 1)
    last, empty = None, 0
    for place, value in enumerate(values):
        if value is not None:
            last, empty = value, 0
        elif last is not None and empty < hold:
            values[place], empty = last, empty + 1
    return values, span


def _cpu(machine: Machine, width: int, charts: int, look: Look) -> list[Line]:
    glyphs = look.glyphs
    busy = [core.busy for core in machine.cores if core.busy is not None]
    mean = sum(busy) / len(busy) if busy else None
    title: list[Span] = [("CPU", "strong"), (f"  {f.whole_percent(mean)}", _style(mean, 80, 95))]
    count = machine.cpus if machine.cpus is not None else len(machine.cores)
    title.append((f" of {count} core{'' if count == 1 else 's'}", "faint"))
    for name, value in (("iowait", _mean(machine.cores, "iowait")), ("steal", _mean(machine.cores, "steal"))):
        if value is not None and value >= 1:
            title.append((f" {glyphs.dot} {name} {value:.0f}%", "warn" if value >= 10 else "muted"))
    lines: list[Line] = [tuple(title)]
    if charts:
        values, span = _plot(machine.cpu_points, machine, width)
        lines += area(
            values,
            width=width,
            height=charts,
            ceiling=100.0,
            limit=None,
            label=lambda value: f"{value:.0f}",
            span=span,
            glyphs=glyphs,
            end=_end(machine),
        )
        lines.append(())
    return lines + _cores(machine.cores, width, look)


def _end(machine: Machine) -> str:
    return f.clock(machine.past) if machine.past else "now"


def _mean(cores: tuple[Core, ...], name: str) -> float | None:
    values = [value for core in cores if (value := getattr(core, name)) is not None]
    return sum(values) / len(values) if values else None


def _cores(cores: tuple[Core, ...], width: int, look: Look) -> list[Line]:
    """A bar per core, in as many columns as there is room; of very many cores only numbers."""
    each = 26 if len(cores) <= 32 else 10
    columns = max(1, min(len(cores) or 1, (width + 2) // (each + 2)))
    if len(cores) <= 4:
        columns = min(columns, 2)
    size = (width + 2) // columns - 2
    deep = -(-len(cores) // columns)
    lines: list[Line] = []
    for row in range(deep):
        spans: list[Span] = []
        for column in range(columns):
            place = column * deep + row
            if place >= len(cores):
                break
            core = cores[place]
            if spans:
                spans.append(("  ", "text"))
            spans.append((f.fit(core.name.removeprefix("cpu"), 3, "right"), "faint"))
            number = f.fit(f.percent(core.busy), 5, "right")
            if each > 10:
                spans += [(" ", "text"), *meter(core.busy, size - 10, look.glyphs, warn=80, bad=95), (" ", "text")]
            spans.append((number, _style(core.busy, 80, 95)))
        lines.append(tuple(spans))
    return lines


def _memory(machine: Machine, width: int, charts: int, look: Look) -> list[Line]:
    memory = machine.memory
    total, available = memory.get("MemTotal"), memory.get("MemAvailable")
    used = total - available if total is not None and available is not None else None
    percent = used * 100 / total if used is not None and total else None
    title: Line = (
        ("Memory", "strong"),
        (f"  {f.size(used)}", _style(percent, 80, 95)),
        (f" of {f.size(total)}", "faint"),
    )
    lines: list[Line] = [title]
    if charts and total:
        values, span = _plot(machine.memory_points, machine, width)
        lines += area(
            values,
            width=width,
            height=charts,
            ceiling=float(total),
            limit=None,
            label=f.size,
            span=span,
            glyphs=look.glyphs,
            style="chart.second",
            end=_end(machine),
        )
        lines.append(())
    bar = max(8, min(40, width - 26))
    lines.append(_bar("memory", percent, f"{f.size(available)} available", bar, look))
    if machine.past:
        return lines
    swap, free = memory.get("SwapTotal"), memory.get("SwapFree")
    if swap:
        taken = swap - free if free is not None else None
        share = taken * 100 / swap if taken is not None else None
        lines.append(_bar("swap", share, f"{f.size(taken)} of {f.size(swap)}", bar, look))
    else:
        lines.append((("swap   ", "faint"), ("none", "muted")))
    cache = memory.get("Cached", 0) + memory.get("SReclaimable", 0) - memory.get("Shmem", 0)
    pieces = [("cache", cache), ("shared", memory.get("Shmem")), ("dirty", memory.get("Dirty"))]
    spans: list[Span] = []
    for name, value in pieces:
        if spans:
            spans.append((f" {look.glyphs.dot} ", "faint"))
        spans += [(f"{name} ", "faint"), (f.size(value), "text")]
    lines.append(tuple(spans))
    return lines


def _bar(name: str, percent: float | None, text: str, size: int, look: Look) -> Line:
    return (
        (f.fit(name, 7), "faint"),
        *meter(percent, size, look.glyphs, warn=80, bad=95),
        (f" {text}", "muted"),
    )


def _pressure(machine: Machine, look: Look) -> list[Line]:
    """Percent of the time in which something (some) or everything (full) waited."""
    title: Line = (("Pressure", "strong"), ("  percent of time that work waited", "faint"))
    if not machine.pressure:
        return [title, (("this kernel does not say (PSI is off)", "muted"),)]
    heads = ("10 s", "1 min", "5 min")
    heading: list[Span] = [(" " * 8, "heading")]
    heading += [(f.fit(head, 7, "right"), "heading") for head in heads]
    heading.append(("   all of it", "heading"))
    lines: list[Line] = [title, tuple(heading)]
    for kind in ("cpu", "memory", "io"):
        found = machine.pressure.get(kind)
        if found is None:
            continue
        warn, bad = PRESSURE[kind]
        spans: list[Span] = [(f.fit(kind, 8), "muted")]
        spans += [(f.fit(f"{value:.1f}", 7, "right"), _style(value, warn, bad)) for value in found.get("some", ())]
        full = found.get("full")
        text = f"{full[0]:.1f}" if full is not None and kind != "cpu" else "-"
        spans.append(
            (f.fit(text, 12, "right"), _style(full[0], warn / 2, bad / 2) if full and text != "-" else "faint")
        )
        lines.append(tuple(spans))
    return lines


def _space(scene: Scene, now: float, look: Look) -> list[Line]:
    title: list[Span] = [("Disk", "strong")]
    space = scene.document
    if not isinstance(space, Space):
        if scene.error:
            return [tuple(title), *_failed(scene, now)]
        return [tuple(title), ((f"counting{look.glyphs.ellipsis}", "faint"),)]
    title.append((f"  {f.cut(f.neutral(space.place), 40)}", "faint"))
    lines: list[Line] = [tuple(title), *_failed(scene, now)]
    if space.total is None:
        return [*lines, (("nothing there yet", "muted"),)]
    if space.available is not None and space.total:
        percent = (space.total - space.available) * 100 / space.total
        lines.append(_bar("full", percent, f"{f.size(space.available)} free", 20, look))
    for kind in space.kinds:
        spans: list[Span] = [
            (f.fit(kind.name, 16), "muted"),
            (f.fit(f.size(kind.size), 6, "right"), "text" if kind.size else "faint"),
            (f.fit(f"{kind.used} of {kind.number} in use", 18, "right"), "faint"),
        ]
        if kind.free:
            spans.append((f"   {f.size(kind.free)} to win", "accent"))
        lines.append(tuple(spans))
    return lines


def _facts(machine: Machine, width: int, look: Look) -> list[Line]:
    pieces: list[tuple[str, str]] = []
    if not machine.past:
        pieces.append(("kernel", machine.kernel))
        pieces.append(("cgroups", MODES.get(machine.cgroups, machine.cgroups)))
    if machine.load is not None:
        pieces.append(("load", " ".join(f"{value:.2f}" for value in machine.load)))
    if machine.tasks is not None:
        pieces.append(("tasks", f"{machine.tasks[0]} running of {machine.tasks[1]}"))
    pieces.append(("up", f.duration(machine.uptime)))
    lines: list[Line] = []
    line: list[Span] = []
    for name, value in pieces:
        spans: list[Span] = [(f"{name} ", "faint"), (f.neutral(value), "text")]
        if line and f.line_width(line) + 3 + f.line_width(spans) > width:
            lines.append(tuple(line))
            line = []
        if line:
            line.append((f" {look.glyphs.dot} ", "faint"))
        line += spans
    lines.append(tuple(line))
    return lines


def _doctor(scene: Scene, width: int, now: float, look: Look) -> list[Line]:
    findings = scene.document
    title: list[Span] = [("Doctor", "strong")]
    if not isinstance(findings, tuple):
        if scene.error:
            return [tuple(title), *_failed(scene, now)]
        return [tuple(title), ((f"examining{look.glyphs.ellipsis}", "faint"),)]
    found: list[Finding] = sorted(findings, key=lambda finding: (BAD, WARNING, GOOD).index(finding.level))
    counts = {level: sum(finding.level == level for finding in found) for level in (BAD, WARNING)}
    if counts[BAD]:
        title.append((f"  {counts[BAD]} in the way", "bad"))
    if counts[WARNING]:
        title.append((f"  {counts[WARNING]} to know", "warn"))
    if not any(counts.values()):
        title.append(("  this host can do all of it", "good"))
    lines: list[Line] = [tuple(title), *_failed(scene, now)]
    glyphs = look.glyphs
    marks = {BAD: (glyphs.bad, "bad"), WARNING: ("!", "warn"), GOOD: (glyphs.ok, "good")}
    cells: list[Line] = []
    for finding in found:
        mark, style = marks[finding.level]
        lead: list[Span] = [(f.fit(mark, 3), style), (f.fit(finding.topic, 12), "muted")]
        text = f.neutral(finding.text)
        if finding.level == GOOD:
            cells.append((*lead, (f.cut(text, (width - 4) // 2 - 15 if width >= WIDE else width - 15), "text")))
            continue
        lines.append((*lead, (f.cut(text, width - 15), "strong")))
        if finding.hint:
            hint = f.cut(f.neutral(finding.hint), width - 17)
            lines.append(((" " * 15 + glyphs.arrow + " ", "faint"), (hint, "accent")))
    half = (len(cells) + 1) // 2 if width >= WIDE else len(cells)
    return [*lines, *_beside(cells[:half], cells[half:], width)]


def _style(value: float | None, warn: float, bad: float) -> str:
    if value is None:
        return "faint"
    verdict = judge(value, warn=warn, bad=bad)
    return "text" if verdict == "good" else verdict
