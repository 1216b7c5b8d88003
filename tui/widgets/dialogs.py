"""Questions: confirm (Cancel is the default), choose from a list, type a line."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.geometry import Region
from textual.screen import ModalScreen
from textual.widgets import Input

from pyctr.tui import format as f
from pyctr.tui.widgets.lineinput import LineInput
from pyctr.tui.widgets.painted import PaintedLine, PaintedLines, look_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyctr.tui.format import Line, Span

CSS = """
    .dialog { width: 64; max-width: 94%; height: auto; max-height: 90%; background: $c-surface; border: round $c-border;
              border-title-color: $c-foreground; border-title-style: bold; padding: 0 1; }
    .dialog.-ascii { border: ascii $c-border; }
    .dialog PaintedLines { height: auto; max-height: 16; background: $c-surface; }
    .dialog PaintedLine { background: $c-surface; }
    .dialog.danger { border: round $c-bad; border-title-color: $c-bad; }
    .dialog Input { margin: 0 0 1 0; background: $c-raised; }
"""


class Buttons(PaintedLine, can_focus=True):
    """One line of answers; the first is Cancel and chosen. Left, right, Tab and initials choose, Enter answers."""

    BINDINGS = [
        Binding("left,shift+tab,h", "choose(-1)", show=False),
        Binding("right,tab,l", "choose(1)", show=False),
        Binding("enter", "answer", show=False),
    ]

    def __init__(self, answers: Sequence[tuple[str, str]], danger: bool) -> None:
        super().__init__()
        self.answers = [("", "Cancel"), *answers]
        self.chosen = 0
        self._danger = danger
        self.ground = "surface"
        self._spots: list[tuple[int, int]] = []

    def compose_line(self, width: int) -> Line:
        spans: list[Span] = []
        self._spots = []
        size = sum(len(text) + 6 for _, text in self.answers) - 2
        x = max(0, width - size)
        spans.append((" " * x, "text"))
        for index, (_, text) in enumerate(self.answers):
            active = index == self.chosen
            style = "button" if not active else "button.danger" if self._danger and index else "button.active"
            label = f"[ {text} ]" if active else f"  {text}  "
            self._spots.append((x, x + len(label)))
            spans += [(label, style), ("  ", "text")]
            x += len(label) + 2
        return tuple(spans)

    def action_choose(self, step: int) -> None:
        self.chosen = (self.chosen + step) % len(self.answers)
        self.update_line()

    def action_answer(self) -> None:
        self.answer(self.answers[self.chosen][0])

    def answer(self, name: str) -> None:
        """What an answer does."""
        self.screen.dismiss(name)

    def on_click(self, event: events.Click) -> None:
        for index, (start, end) in enumerate(self._spots):
            if start <= event.x < end:
                self.answer(self.answers[index][0])


class Confirm(ModalScreen[str]):
    """Dismisses with the name of the answer, "" for Cancel."""

    DEFAULT_CSS = f"Confirm {{ {CSS} }}"
    BINDINGS = [Binding("escape,q,n", "dismiss('')", show=False), Binding("ctrl+c", "dismiss('')", priority=True)]

    def __init__(
        self, title: str, lines: Sequence[Line], answers: Sequence[tuple[str, str]], *, danger: bool = False
    ) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._answers = answers
        self._danger = danger

    def compose(self) -> ComposeResult:
        text = PaintedLines()
        text.ground = "surface"
        text.can_focus = False
        buttons = Buttons(self._answers, self._danger)
        box = Vertical(text, buttons, classes="dialog" + (" danger" if self._danger else ""))
        box.set_class(look_of(self).glyphs.ascii, "-ascii")
        from textual.content import Content

        box.border_title = Content(f" {self._title} ")
        yield box

    def on_mount(self) -> None:
        self.query_one(PaintedLines).show([*self._lines, ()])
        self.query_one(PaintedLines).styles.height = min(16, len(self._lines) + 1)
        self.query_one(Buttons).focus()


class Choices(PaintedLines):
    """A list to choose one line from."""

    BINDINGS = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "move(-8)", show=False),
        Binding("pagedown", "move(8)", show=False),
        Binding("home", "move(-999)", show=False),
        Binding("end", "move(999)", show=False),
        Binding("enter", "answer", show=False),
    ]

    def __init__(self, choices: Sequence[tuple[str, str, str]], chosen: int = 0) -> None:
        super().__init__()
        self.choices = list(choices)
        self.ground = "surface"
        self.chosen = chosen

    def redraw(self) -> None:
        lines: list[Line] = []
        width = max(20, self.size.width or 56)
        column = max([16, *(min(f.width(f.neutral(label)), 44) for _, label, _ in self.choices)])
        for index, (_, label, hint) in enumerate(self.choices):
            active = index == self.chosen
            lines.append(
                (
                    (f" {f.fit(f.neutral(label), column)} ", "button.active" if active else "strong"),
                    (" ", "text"),
                    (f.cut(f.neutral(hint), max(0, width - column - 4)), "muted"),
                )
            )
        self.show(lines)

    def on_resize(self) -> None:
        self.redraw()

    def action_move(self, step: int) -> None:
        self.chosen = max(0, min(len(self.choices) - 1, self.chosen + step))
        self.redraw()
        self.scroll_to_region(Region(0, self.chosen, 1, 1), animate=False)

    def action_answer(self) -> None:
        self.screen.dismiss(self.choices[self.chosen][0])

    def on_click(self, event: events.Click) -> None:
        line = self.scroll_offset.y + event.y
        if line < len(self.choices):
            self.screen.dismiss(self.choices[line][0])


class Choose(ModalScreen[str]):
    """Dismisses with the key of the choice, "" for none. `choices` are (key, label, hint), `about` is said below."""

    DEFAULT_CSS = f"Choose {{ {CSS} }}"
    BINDINGS = [Binding("escape,q", "dismiss('')", show=False), Binding("ctrl+c", "dismiss('')", priority=True)]

    def __init__(
        self, title: str, choices: Sequence[tuple[str, str, str]], chosen: int = 0, about: Sequence[Line] = ()
    ) -> None:
        super().__init__()
        self._title = title
        self._choices = choices
        self._chosen = chosen
        self._about = about

    def compose(self) -> ComposeResult:
        from textual.content import Content

        box = Vertical(
            Choices(self._choices, self._chosen), *([PaintedLines()] if self._about else []), classes="dialog"
        )
        box.set_class(look_of(self).glyphs.ascii, "-ascii")
        box.border_title = Content(f" {self._title} ")
        yield box

    def on_mount(self) -> None:
        choices = self.query_one(Choices)
        choices.styles.height = min(16, len(self._choices))
        choices.redraw()
        choices.focus()
        if self._about:
            text = self.query(PaintedLines).last()
            text.ground = "surface"
            text.can_focus = False
            text.styles.height = min(16, len(self._about) + 1)
            text.show([(), *self._about])


class Ask(ModalScreen[str]):
    """One line of text. `check` gives a complaint or "". Dismisses with the text, "" for Cancel."""

    DEFAULT_CSS = f"Ask {{ {CSS} }}"
    BINDINGS = [Binding("escape", "dismiss('')", show=False), Binding("ctrl+c", "dismiss('')", priority=True)]

    def __init__(
        self, title: str, text: str = "", *, hint: str = "", check: Callable[[str], str] | None = None
    ) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._hint = hint
        self._check = check

    def compose(self) -> ComposeResult:
        from textual.content import Content

        field = LineInput(self._text, select_on_focus=False)
        field.cursor_blink = False
        box = Vertical(field, PaintedLines(), classes="dialog")
        box.set_class(look_of(self).glyphs.ascii, "-ascii")
        box.border_title = Content(f" {self._title} ")
        yield box

    def on_mount(self) -> None:
        lines = self.query_one(PaintedLines)
        lines.can_focus = False
        lines.ground = "surface"
        lines.styles.height = 1
        self._say(self._hint, "muted")
        self.query_one(Input).focus()

    def _say(self, text: str, style: str) -> None:
        self.query_one(PaintedLines).show([((f.neutral(text), style),)])

    def on_input_changed(self) -> None:
        self._say(self._hint, "muted")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        complaint = self._check(event.value) if self._check else ""
        if complaint:
            self._say(complaint, "bad")
        else:
            self.dismiss(event.value)
