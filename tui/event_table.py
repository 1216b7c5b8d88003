"""The journal as a list: when, what, to whom, and the rest in words."""

from __future__ import annotations

import re
import signal
from typing import NamedTuple

from pyctr.core.events import Event
from pyctr.tui import format as f
from pyctr.tui.table import Column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.tui.format import Line
    from pyctr.tui.table import Look

STYLES = {
    "start": "good",
    "create": "accent",
    "unpause": "good",
    "oom": "bad",
    "destroy": "warn",
    "pause": "warn",
    "kill": "warn",
    "stop": "warn",
}


class Happened(NamedTuple):
    """One event and its place in the journal, which names it."""

    number: int
    event: Event

    @property
    def key(self) -> str:
        return str(self.number)


def words(event: Event) -> tuple[str, str]:
    """(what the attributes say, style)"""
    known = dict(event.attributes)
    style = "muted"
    parts = []
    if event.type == "container" and event.action != "create":
        known.pop("image", "")  # said once
    if event.action in ("die", "exec_die") and "exitCode" in known:
        code = known.pop("exitCode")
        style = "muted" if code == "0" else "bad"
        parts.append(f"exited {code}")
    if event.action == "kill" and "signal" in known:
        parts.append(_signal(known.pop("signal")))
    if event.action == "rename" and "oldName" in known:
        parts.append(f"was {known.pop('oldName')}")
    parts += [value for plain in ("image", "command", "error") if (value := known.pop(plain, ""))]
    if (killed := known.pop("oom_killed", "False")) != "False":
        parts.append("out of memory" if killed == "True" else f"oom_killed {killed}")
    parts += [f"{key} {value}" for key, value in known.items() if value]
    return "  ".join(f.neutral(" ".join(part.split())) for part in parts), style


def _signal(number: str) -> str:
    try:
        return signal.Signals(int(number)).name
    except ValueError:
        return f"signal {number}"


def style_of(event: Event) -> str:
    if event.action.startswith("health_status: "):
        return "bad" if event.action.endswith(" unhealthy") else "good"
    if event.action == "die":
        return "muted" if event.attributes.get("exitCode") == "0" else "bad"
    return STYLES.get(event.action, "text")


class EventFilter:
    """`web` anywhere; `!web` inverts; `action:die`, `name:web`, `id:1f2e` look in one field; a regex works as one."""

    def __init__(self, text: str = "") -> None:
        self.text = text.strip()
        body = self.text
        self._invert = body.startswith("!")
        body = body.removeprefix("!")
        field, colon, rest = body.partition(":")
        self._field = field if colon and field in ("action", "name", "id", "type") else ""
        if self._field:
            body = rest
        self._nothing = not body
        try:
            self._pattern = re.compile(body, re.IGNORECASE)
        except re.error:
            self._pattern = re.compile(re.escape(body), re.IGNORECASE)

    def __bool__(self) -> bool:
        return not self._nothing

    def keeps(self, event: Event) -> bool:
        if self._nothing:
            return True
        texts = (
            (str(getattr(event, self._field)),)
            if self._field
            else (event.action, event.name, event.id[:12], event.type, words(event)[0])
        )
        return any(self._pattern.search(text) for text in texts) != self._invert


def _time(row: Happened, width: int, look: Look) -> Line:
    moment = row.event.time_ns / 1e9
    stamp = f.stamp(moment)
    today = f.stamp(look.now)[:10]
    if width < 12:
        return ((stamp[11:19], "muted"),) if stamp[:10] == today else ((f"{stamp[5:10]}", "faint"),)
    if stamp[:10] == today:
        return ((stamp[11:19], "muted"), (stamp[19:], "faint"))
    return ((stamp[5:10], "faint"), (stamp[10:16], "muted"))


def _action(row: Happened, width: int, look: Look) -> Line:
    action = row.event.action.removeprefix("health_status: ")  # "unhealthy" says it all
    return ((f.cut(f.neutral(action), width, look.glyphs.ellipsis), style_of(row.event)),)


def _name(row: Happened, width: int, look: Look) -> Line:
    name = row.event.name or row.event.id[:12]
    return ((f.cut(f.neutral(name), width, look.glyphs.ellipsis), "strong"),)


def _about(row: Happened, width: int, look: Look) -> Line:
    text, style = words(row.event)
    return ((f.cut(text, width, look.glyphs.ellipsis), style),)


def _id(row: Happened, width: int, look: Look) -> Line:
    return ((f.neutral(row.event.id[:12]), "faint"),)


def columns(width: int) -> list[Column]:
    chosen = [
        Column("time", "TIME", 12 if width >= 70 else 8, _time),
        Column("action", "EVENT", 10, _action),
        Column("name", "NAME", 12, _name, grow=1, limit=28),
    ]
    if width >= 100:
        chosen.append(Column("id", "ID", 12, _id))
    chosen.append(Column("about", "", 10, _about, grow=4, limit=200))
    return chosen
