"""The keys that work here, from the registry."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen

from pyctr.tui import format as f
from pyctr.tui import keys
from pyctr.tui.widgets.painted import PaintedLines, look_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.tui.format import Line, Span
    from pyctr.tui.screens import Entry


class HelpScreen(ModalScreen[None]):
    """Two columns of groups where there is room, one at 80 columns."""

    DEFAULT_CSS = """
    HelpScreen .dialog { width: 108; max-width: 96%; height: auto; max-height: 94%; background: $c-surface;
                         border: round $c-border; border-title-color: $c-foreground; padding: 0 1; }
    HelpScreen .dialog.-ascii { border: ascii $c-border; }
    HelpScreen PaintedLines { height: auto; background: $c-surface; }
    """
    BINDINGS = [
        Binding("escape,q,question_mark,f1,enter", "close", show=False),
        Binding("j", "down"),
        Binding("k", "up"),
    ]

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self._scopes = {*getattr(below, "SCOPES", ()), "app", "list", "logs"}

    def compose(self) -> ComposeResult:
        from textual.content import Content

        box = Vertical(PaintedLines(), classes="dialog")
        box.border_title = Content(" Keys ")
        box.set_class(look_of(self).glyphs.ascii, "-ascii")
        yield box

    def on_mount(self) -> None:
        groups: dict[str, list[Line]] = {}
        for action in keys.in_scopes(*self._scopes):
            spans: tuple[Span, ...] = (
                (f.fit(action.show if not look_of(self).glyphs.ascii else _ascii(action), 8, "right"), "key"),
                ("  ", "text"),
                (f.fit(action.label, 13), "strong"),
                (action.help, "muted"),
            )
            groups.setdefault(action.group, []).append(spans)
        entries: list[Entry] = self.app.screen_entries  # type: ignore[attr-defined]
        screens: list[Line] = [
            ((f.fit(entry.digit, 8, "right"), "key"), ("  ", "text"), (entry.title, "strong")) for entry in entries
        ]
        groups["Screens"] = screens
        blocks = [[((name, "title"),), *lines, ()] for name, lines in groups.items()]
        width = min(104, int(self.app.size.width * 0.96) - 4)
        total = sum(len(block) for block in blocks)
        lines: list[Line] = []
        if width >= 100:
            half = width // 2
            left: list[Line] = []
            right: list[Line] = []
            for block in blocks:
                (left if len(left) + len(block) <= total // 2 + 3 or not left else right).extend(block)
            for index in range(max(len(left), len(right))):
                one = left[index] if index < len(left) else ()
                two = right[index] if index < len(right) else ()
                lines.append((*f.fit_line(one, half), *f.fit_line(two, half)))
        else:
            for block in blocks:
                lines.extend(block)
        view = self.query_one(PaintedLines)
        view.ground = "surface"
        view.show([f.fit_line(line, width) for line in lines])
        view.styles.height = min(len(lines), int(self.app.size.height * 0.94) - 3)
        view.focus()

    def action_close(self) -> None:
        self.dismiss()

    def action_down(self) -> None:
        self.query_one(PaintedLines).scroll_relative(y=1, animate=False)

    def action_up(self) -> None:
        self.query_one(PaintedLines).scroll_relative(y=-1, animate=False)


def _ascii(action: keys.Action) -> str:
    return action.show if action.show.isascii() else action.keys.split(",")[0]
