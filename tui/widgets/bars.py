"""The lines around every screen: host, screens, the frame's title, the keys."""

from __future__ import annotations

from textual import events
from textual.message import Message

from pyctr.tui import format as f
from pyctr.tui import header, keys
from pyctr.tui.widgets.painted import PaintedLine, look_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyctr.tui.app import PyctrApp
    from pyctr.tui.format import Line, Span
    from pyctr.tui.snapshot import ContainerRow


def app_of(widget: PaintedLine) -> PyctrApp:
    return widget.app  # type: ignore[return-value]


class HostHeader(PaintedLine):
    """Is anything wrong with this host."""

    def compose_line(self, width: int) -> Line:
        app = app_of(self)
        return header.host_line(app.snapshot, width, app.look.glyphs)


class ScreenLine(PaintedLine):
    """Digits and names of the screens; the filter at the right. A click opens a screen."""

    def __init__(self, current: str, filter_text: Callable[[], str]) -> None:
        super().__init__()
        self._current = current
        self._filter_text = filter_text

    def compose_line(self, width: int) -> Line:
        app = app_of(self)
        titles = [(entry.digit, entry.title) for entry in app.screen_entries]
        return header.screen_line(titles, self._current, width, app.look.glyphs, self._filter_text())

    async def on_click(self, event: events.Click) -> None:
        x = 1
        for entry in app_of(self).screen_entries:
            size = len(entry.title) + 2
            if x <= event.x < x + size:
                await app_of(self).action_screen(entry.name)
                return
            x += size + 3


class FrameTitle(PaintedLine):
    """The upper border of a frame with words in it: a title, tabs that can be clicked, something at the right.

    Without the class `framed` (narrow terminals) only the words are drawn.
    """

    class TabClicked(Message):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.words: tuple[Span, ...] = ()
        self.shorter: tuple[tuple[Span, ...], ...] = ()
        """What may stand there instead of `words` so that more tabs fit, the longest first."""
        self.tabs: tuple[tuple[str, str], ...] = ()
        self.current = ""
        self.right: tuple[Span, ...] = ()
        self.lit = False
        """The frame has the focus."""
        self._spots: list[tuple[int, int, str]] = []

    def compose_line(self, width: int) -> Line:
        glyphs = look_of(self).glyphs
        framed = self.has_class("framed") or self.screen.has_class("-framed")
        border = "border.focus" if self.lit else "border"
        rule = ("-" if glyphs.ascii else "─") if framed else " "
        left, right = ("+", "+") if glyphs.ascii else ("╭", "╮")
        spans: list[Span] = [(left + rule if framed else " ", border)]
        tail: list[Span] = []
        if self.right:
            tail += [(" ", "text"), *self.right, (" ", "text")]
        tail.append((rule + right if framed else " ", border))
        inner: list[Span] = []
        self._spots = []
        choices = (self.words, *self.shorter)
        # if none leaves room for all tabs, one of middle length
        for words in (*choices, choices[len(choices) // 2]):
            inner = [(" " if framed else "", "text"), *words, (" ", "text")] if words else []
            if self.tabs and words:
                inner.append((rule + " ", border))
            x = f.line_width(spans) + f.line_width(inner)
            first, last = self._window(width - x - f.line_width(tail) - 1)
            if last - first == len(self.tabs):
                break
        if self.tabs:
            inner += self._drawn(first, last, x)
        fill = width - f.line_width(spans) - f.line_width(inner) - f.line_width(tail)
        if fill < 0:
            return f.fit_line((*spans, *inner), width)
        return (*spans, *inner, (rule * fill, border), *tail)

    def _window(self, room: int) -> tuple[int, int]:
        """The tabs that fit into so many cells, the current one among them: (first, one past last)."""
        sizes = [len(title) for _, title in self.tabs]
        first, last = 0, len(sizes)
        current = next((place for place, (name, _) in enumerate(self.tabs) if name == self.current), 0)
        while last - first > 1:
            marks = 2 * (first > 0) + 2 * (last < len(sizes))
            if sum(sizes[first:last]) + 3 * (last - first - 1) + marks <= room:
                break
            if current - first > last - 1 - current:
                first += 1
            else:
                last -= 1
        return first, last

    def _drawn(self, first: int, last: int, x: int) -> list[Span]:
        """These tabs from the cell `x` on; a mark stands for those on a side that have no room, and opens the next."""
        glyphs = look_of(self).glyphs
        spans: list[Span] = []
        if first:
            spans.append((f"{glyphs.before} ", "key"))
            self._spots.append((x, x + 1, self.tabs[first - 1][0]))
            x += 2
        for place, (name, title) in enumerate(self.tabs[first:last]):
            if place:
                spans.append((f" {glyphs.dot} ", "faint"))
                x += 3
            spans.append((title, "tab.active" if name == self.current else "tab"))
            self._spots.append((x, x + len(title), name))
            x += len(title)
        if last < len(self.tabs):
            spans.append((f" {glyphs.beyond}", "key"))
            self._spots.append((x + 1, x + 2, self.tabs[last][0]))
        return [*spans, (" ", "text")]

    def on_click(self, event: events.Click) -> None:
        for start, end, name in self._spots:
            if start <= event.x < end:
                self.post_message(self.TabClicked(name))


class Footer(PaintedLine):
    """Only the keys that do something here and now, most useful first; a click presses one."""

    def __init__(self) -> None:
        super().__init__()
        self.scopes: Sequence[str] = ("app", "list")
        self.row: ContainerRow | None = None
        self.deep = False
        """Escape leads back from here."""
        self.without: frozenset[str] = frozenset()
        """Actions that would do nothing just now, whatever the row."""
        self._spots: list[tuple[int, int, str]] = []

    def compose_line(self, width: int) -> Line:
        app = app_of(self)
        cost = app.snapshot.cost
        right = ""
        if width >= 100 and cost.cpu is not None:
            right = f"{cost.cpu:.0f}% cpu {f.size(cost.memory)} "
        spans: list[Span] = []
        self._spots = []
        x = 1
        actions = [
            action
            for action in keys.footer_actions(self.scopes, self.row, bool(app.snapshot.read_only))
            if action.name not in self.without
        ]
        if self.deep:
            actions.insert(0, keys.find("back"))
        gap = 2 if width >= 100 else 1
        fixed = [action for action in actions if action.footer >= 80]
        room = width - 1 - (len(right) + 1 if right else 0)
        need = sum(len(action.show) + len(keys.label(action, self.row)) + 1 + gap for action in fixed)
        for action in [*actions]:
            text = keys.label(action, self.row)
            size = len(action.show) + 1 + len(text)
            reserve = need if action not in fixed else 0
            if x + size + gap + reserve > room:
                continue
            if action in fixed:
                need -= size + gap
            if not spans:
                spans.append((" ", "text"))
            spans += [(action.show if not app.look.glyphs.ascii or action.show.isascii() else "enter", "key")]
            spans += [(f" {text}", "muted"), (" " * gap, "text")]
            self._spots.append((x, x + size, action.name))
            x += size + gap
        return (*f.fit_line(spans, width - len(right)), (right, "faint"))

    async def on_click(self, event: events.Click) -> None:
        for start, end, name in self._spots:
            if start <= event.x < end:
                target = self.app.focused or self.screen
                while target is not None and not hasattr(target, f"action_{name}"):
                    target = target.parent  # type: ignore[assignment]
                await self.app.run_action(name, default_namespace=target or self.app)
                return
