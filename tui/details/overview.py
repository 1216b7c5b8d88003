"""Charts of CPU and memory, network and disk where there is room, and the line of facts below."""

from __future__ import annotations

from pyctr.tui import format as f
from pyctr.tui.container_table import message, state_style
from pyctr.tui.details.overview_charts import Charts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.engines.model import Foreign
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look

LAST_WORDS = 60
"""Lines of the log that the page of an ended container may show."""


def collect(engine: Engine, container: Container, before: object) -> object:
    """How long the last start took, what the last probe said, what will be taken back by itself, what a closer look at
    its processes and files finds, and the last words of one that has ended."""
    from pyctr.core import fsutil, reverts

    found: dict[str, object] = {}
    if coming := [one for one in reverts.all(engine.paths) if one.id == container.id]:
        found["coming"] = [(one.due, one.text.partition(": ")[2]) for one in coming]
    if container.pid:
        found |= closely(engine, container, before)
    try:
        found["took_us"] = fsutil.read_json(container.path("birth.json")).get("total_us")
    except OSError:
        return found  # never started
    if container.spec.health is not None:
        from pyctr.core import health

        found["health"] = health.load(container, container.status)
    ended = container.state.exit
    if ended is not None and not container.alive:
        found["ended"] = ended.finished_at
        known = isinstance(before, dict) and before.get("ended") == ended.finished_at
        found["words"] = before["words"] if known and isinstance(before, dict) else _last_words(container)
    return found


def closely(engine: Engine, container: Container | Foreign, before: object) -> dict[str, object]:
    from pyctr.core import errors, growth

    last = before.get("close") if isinstance(before, dict) else None
    try:
        return {"close": growth.closer(engine, container, last if isinstance(last, growth.Closer) else None)}
    except (OSError, errors.PyctrError):
        return {}  # it ends just now


def _last_words(container: Container) -> list[tuple[str, str]]:
    """(stream, line) of the end of its log."""
    from pyctr.core import logreading
    from pyctr.tui.logfollow import readable

    lines = logreading.read(container.path("log", "ctr.log"), tail=LAST_WORDS)
    return [(stream, readable(raw)) for _, stream, raw in lines]


def render(document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look) -> list[Line]:
    lines: list[Line] = []
    facts = _facts(document, row, snapshot.monotonic, width, look)
    if not row.live:
        lines.append(
            (
                (look.glyphs.state(row.status, failed=row.failed) + " ", "bad" if row.failed else "faint"),
                *message(row, look),
            )
        )
        lines.append(())
        return lines + facts + _words(document, width, height - len(lines) - len(facts), look)
    charts = Charts(row, snapshot, look)
    room = height - len(facts) - 1
    wide = width >= 84
    two = room >= (14 if wide else 26)
    each = min(room // (2 if two else 1) // (1 if wide else 2), 16)
    if each < 4:
        return [*lines, *charts.cpu(width, max(3, min(room, 6))), *facts]
    half = (width - 3) // 2 if wide else width
    rest = width - 3 - half if wide else width
    blocks = [(charts.cpu(half, each), charts.memory(rest, each))]
    if two:
        blocks.append((charts.network(half, each), charts.disk(rest, each)))
    for left, right in blocks:
        if wide:
            for one, other in zip(left, right, strict=True):
                lines.append((*f.fit_line(one, half), ("   ", "text"), *f.fit_line(other, rest)))
        else:
            lines += [*left, *right]
    lines.append(())
    return lines + facts


def _close(close: object) -> list[tuple[str, str, str]]:
    """What was found by looking at every process, and at what it has written."""
    from pyctr.core import growth

    if not isinstance(close, growth.Closer):
        return []
    found, pieces = close.sample, []
    if found.processes is not None:
        threads = f", {f.count(found.threads)} threads" if (found.threads or 0) > found.processes else ""
        pieces.append(("processes", f"{f.count(found.processes)}{threads}", "text"))
    if found.open_files is not None:
        pieces.append(("open files", f.count(found.open_files), "text"))
    if found.waiting:
        long = f" for {f.duration(found.stuck)}" if found.stuck and found.stuck >= 1 else ""
        pieces.append(("in state D", f"{found.waiting}{long}", "warn"))
    for name, size in (("layer", found.layer), ("log", found.log)):
        if size is not None:
            pieces.append((name, f.size(size), "text"))
    if close.growth is not None and close.growth >= 1:
        pieces.append(("growing", f"{f.size(close.growth * 60)}/min", "text"))
    return pieces


def _last_probe(health: object) -> str:
    """` (code 1 3 times: no answer on port 80)`: why it is not healthy."""
    if not isinstance(health, dict) or not health["log"] or health["log"][-1]["code"] == 0:
        return ""
    last = health["log"][-1]
    times = f" {health['streak']} times" if health["streak"] > 1 else ""
    code = f"code {last['code']}" if last["code"] >= 0 else "no result"
    said = f.neutral(" ".join(str(last["output"]).split()))
    return f" ({code}{times}{f': {said}' if said else ''})"


def _words(document: object, width: int, room: int, look: Look) -> list[Line]:
    """As many of the last lines as there is room for."""
    words = document.get("words") if isinstance(document, dict) else None
    if not words or room < 3:
        return []
    edge = "|" if look.glyphs.ascii else "▎"
    return [
        (),
        (("last lines", "strong"),),
        *(
            ((edge if stream == "stderr" else " ", "stream.err"), (" ", "text"), (f.cut(text, width - 2), "muted"))
            for stream, text in words[2 - room :]
        ),
    ]


def _facts(document: object, row: ContainerRow, monotonic: float, width: int, look: Look) -> list[Line]:
    """`throttled 12% of periods · psi cpu 8.4 · ports …`, folded between facts."""
    known = document if isinstance(document, dict) else {}
    took = known.get("took_us")
    pieces: list[tuple[str, str, str]] = []
    if row.live:
        pieces.append(("state", row.status, state_style(row)))
        for due, then in known.get("coming", ()):
            pieces.append(("by itself", f"{then} in {f.duration(max(0.0, due - monotonic))}", "accent"))
        if row.health:
            style = {"healthy": "good", "unhealthy": "bad"}.get(row.health, "warn")
            pieces.append(("health", row.health + _last_probe(known.get("health")), style))
        if row.throttled is not None:
            style = "warn" if row.throttled >= 5 else "text"
            pieces.append(("throttled", f"{row.throttled:.0f}% of periods", style))
        if row.psi_cpu is not None:
            pieces.append(
                ("psi", f"cpu {row.psi_cpu:.1f} mem {row.psi_memory or 0:.1f} io {row.psi_io or 0:.1f}", "text")
            )
        if row.memory_peak:
            pieces.append(("peak", f.size(row.memory_peak), "text"))
        if row.oom_kills:
            pieces.append(("OOM kills", str(row.oom_kills), "bad"))
        if row.pids_limit:
            pieces.append(("pids", f"{f.count(row.pids)} of {f.count(row.pids_limit)}", "text"))
        if row.forks_refused:
            pieces.append(("refused forks", str(row.forks_refused), "bad"))
        if row.refaults:
            pieces.append(("refaults", f"{f.count(row.refaults)}/s", "warn"))
        pieces += _close(known.get("close"))
    if row.ports:
        ports = ", ".join(row.ports)
        pieces.append(("ports", ports.replace("→", look.glyphs.arrow), "accent"))
    if row.engine:
        pieces.append(("engine", row.engine, "accent"))
    if row.pod:
        pieces.append(("pod", f.neutral(row.pod), "text"))
    if row.network or row.address or not row.engine:
        pieces.append(("net", f"{row.network} {row.address}".strip(), "text"))
    policy = f" ({row.restart_policy})" if row.restart_policy != "no" else ""
    pieces.append(("restarts", f"{row.restarts}{policy}", "warn" if row.restarts else "text"))
    if took:
        pieces.append(("started in", f.milliseconds(took), "text"))
    if row.pid:
        pieces.append(("pid", str(row.pid), "text"))
    pieces.append(("id", row.short_id, "faint"))
    pieces.append(("command", f.neutral(row.command), "muted"))
    lines: list[Line] = []
    line: list[tuple[str, str]] = []
    for key, value, style in pieces:
        spans = [(f"{key} ", "faint"), (f.cut(value, max(10, width - len(key) - 2)), style)]
        if line and f.line_width(line) + 3 + f.line_width(spans) > width:
            lines.append(tuple(line))
            line = []
        if line:
            line.append((f" {look.glyphs.dot} ", "faint"))
        line.extend(spans)
    if line:
        lines.append(tuple(line))
    return lines
