"""A container's log: the tail at once, then live; search, filter, wrap, timestamps. Nothing in it is obeyed."""

from __future__ import annotations

import os
import re
import time
from bisect import bisect_left, bisect_right

from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from pyctr.tui import format as f
from pyctr.tui import keys, pattern
from pyctr.tui.logfollow import RANGES, ROOM, Entry
from pyctr.tui.widgets.painted import look_of, strip, theme_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyctr.tui.format import Line, Span

NOTHING = "no output yet"
KEPT = 50_000
"""Lines kept, as long as they have no more than `ROOM` characters; older ones go."""

ORIGIN = 16
"""Most cells for the name of the container a line is from."""


class LogView(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines of a log, only the visible ones rendered."""

    DEFAULT_CSS = "LogView { scrollbar-size: 1 1; overflow-x: hidden; }"
    SCOPES = ("logs", "app")
    BINDINGS = [
        *keys.bindings("logs"),
        Binding("up,k", "log_scroll(-1)", show=False),
        Binding("down,j", "log_scroll(1)", show=False),
        Binding("pageup,ctrl+u", "log_scroll_page(-1)", show=False),
        Binding("pagedown,ctrl+d", "log_scroll_page(1)", show=False),
        Binding("home,g", "log_top", show=False),
        Binding("end,G", "log_end", show=False),
        Binding("left", "log_shift(-8)", show=False),
        Binding("right", "log_shift(8)", show=False),
    ]

    class RangeChanged(Message):
        """Another part of the log is wanted: whoever feeds this starts again."""

    class Changed(Message):
        """Follow, wrap, a filter or the match changed: whoever shows these looks again."""

    class PromptWanted(Message):
        """The screen should ask for a search or a filter."""

        def __init__(self, view: LogView, what: str) -> None:
            super().__init__()
            self.view = view
            self.what = what

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.entries: list[Entry] = []
        self._characters = 0
        """Of them all."""
        self.following = True
        self.wrap = False
        self.times = False
        self.range = 0
        """Index into `RANGES`."""
        self.pattern: re.Pattern[str] | None = None
        self.only: re.Pattern[str] | None = None
        self._shown: list[int] = []
        """Indices into `entries` that pass the filter."""
        self._starts: list[int] = []
        """With wrap: the first screen row of each shown entry."""
        self._height = 0
        self._current = -1
        """The shown entry of the current match."""
        self._shift = 0
        self._origins = 0
        """Cells of the column with the containers' names; 0 when it is one log."""
        self.empty_text = NOTHING

    def clear(self) -> None:
        self.entries, self._shown, self._starts, self._height, self._current = [], [], [], 0, -1
        self._characters = 0
        self.following = not RANGES[self.range].head
        self.scroll_to(y=0, animate=False, immediate=True)
        self._origins = 0
        self._resize_content()

    def append(self, entries: Iterable[Entry]) -> None:
        """New lines at the end."""
        added = list(entries)
        if not added:
            return
        widest = max(f.width(entry.origin) for entry in added)
        if widest > self._origins and self._origins < ORIGIN:
            self._origins = min(widest, ORIGIN)
            if self.wrap:
                self._index()
        self._characters += sum(len(entry.text) for entry in added)
        first = len(self.entries)
        if added[0].origin:
            # several logs as one: in the order of time, as far as what is known goes
            added.sort(key=lambda entry: entry.time_ns)
            first = bisect_right(self.entries, added[0].time_ns, key=lambda entry: entry.time_ns)
            added = sorted(self.entries[first:] + added, key=lambda entry: entry.time_ns)
            del self.entries[first:]
            self._forget_from(first)
        self.entries.extend(added)
        if len(self.entries) > KEPT + KEPT // 10 or self._characters > ROOM + ROOM // 10:
            gone = 0
            while len(self.entries) - gone > KEPT or self._characters > ROOM:
                self._characters -= len(self.entries[gone].text)
                gone += 1
            del self.entries[:gone]
            self._index()
        else:
            self._index_from(first)
        self._resize_content()
        self._keep_following()

    def _forget_from(self, first: int) -> None:
        """The index of entries from `first` on is to be made anew."""
        place = bisect_left(self._shown, first)
        if self.wrap:
            self._height = self._starts[place] if place < len(self._starts) else self._height
            del self._starts[place:]
        else:
            self._height = place
        del self._shown[place:]

    def _index(self) -> None:
        self._shown, self._starts, self._height = [], [], 0
        self._index_from(0)

    def _index_from(self, first: int) -> None:
        for number in range(first, len(self.entries)):
            entry = self.entries[number]
            if self.only is not None and entry.stream != "lost" and not self.only.search(entry.text):
                continue
            self._shown.append(number)
            if self.wrap:
                self._starts.append(self._height)
            self._height += len(self._pieces(entry)) if self.wrap else 1

    def _room(self) -> int:
        width = self.container_size.width or self.size.width or 80
        return max(8, width - 2 - (13 if self.times else 0) - (self._origins + 1 if self._origins else 0) - 1)

    def _pieces(self, entry: Entry) -> list[str]:
        """A wrapped entry."""
        room, text = self._room(), entry.text
        if f.width(text) <= room:
            return [text]
        if text.isascii():
            return [text[start : start + room] for start in range(0, len(text), room)]
        out, piece, used = [], "", 0
        for char in text:
            size = f.width(char)
            if used + size > room:
                out.append(piece)
                piece, used = "", 0
            piece += char
            used += size
        out.append(piece)
        return out

    def _resize_content(self) -> None:
        size = Size(0, self._height)
        if size != self.virtual_size:
            self.virtual_size = size
        self.refresh()

    def on_resize(self) -> None:
        if self.wrap:
            self._index()
        self._resize_content()
        self._keep_following()

    def watch_show_vertical_scrollbar(self, shown: bool) -> None:
        """Textual tells a scroll bar the position only while it is shown, and it comes after the first lines."""
        if shown:
            self.vertical_scrollbar.position = self.scroll_y

    def _keep_following(self) -> None:
        self._to_the_end()
        # a layout under way still clamps to the height of before
        self.call_after_refresh(self._to_the_end)

    def _to_the_end(self) -> None:
        if self.following:
            self.scroll_to(y=max(0, self._height - self.size.height), animate=False, force=True)

    def restyle(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        row = self.scroll_offset.y + y
        theme = theme_of(self)
        if row >= self._height:
            if not self.entries and y == min(1, self.size.height - 1):
                return strip(((f"  {self.empty_text}", "faint"),), theme, width)
            return strip((), theme, width)
        place = bisect_right(self._starts, row) - 1 if self.wrap else row
        entry = self.entries[self._shown[place]]
        part = row - self._starts[place] if self.wrap else 0
        spans: list[Span] = []
        glyphs = look_of(self).glyphs
        if entry.stream == "lost":
            text = f" {entry.text} "
            side = ("-" if glyphs.ascii else "╌") * max(2, (width - len(text)) // 2)
            return strip(((side, "warn"), (text, "warn"), (side, "warn")), theme, width)
        spans.append((("|" if glyphs.ascii else "▎") if entry.stream == "stderr" else " ", "stream.err"))
        spans.append((" ", "text"))
        if self.times:
            stamp = time.strftime("%H:%M:%S", time.localtime(entry.time_ns // 1_000_000_000))
            millis = entry.time_ns // 1_000_000 % 1000
            spans.append((f"{stamp}.{millis:03d} " if part == 0 else " " * 13, "faint"))
        if self._origins:
            spans.append((f.fit(entry.origin if part == 0 else "", self._origins) + " ", "accent"))
        text = self._pieces(entry)[part] if self.wrap else entry.text
        if not self.wrap and self._shift:
            text = text[self._shift :]
        spans.extend(self._highlight(text, place == self._current))
        return strip(spans, theme, width)

    def _highlight(self, text: str, current: bool) -> Line:
        if self.pattern is None:
            return ((text, "text"),)
        spans: list[Span] = []
        end = 0
        for match in self.pattern.finditer(text):
            if match.end() == match.start():
                break
            spans += [(text[end : match.start()], "text"), (match.group(), "match.current" if current else "match")]
            end = match.end()
        spans.append((text[end:], "text"))
        return tuple(spans)

    def describe(self) -> str:
        """`follow · wrap · 3 of 12` for the frame."""
        words = []
        if self.pattern is not None:
            hits = [place for place, number in enumerate(self._shown) if self.pattern.search(self.entries[number].text)]
            place = hits.index(self._current) + 1 if self._current in hits else 0
            words.append(f"{place} of {len(hits)} matches" if hits else "no match")
        if self.only is not None:
            words.append(f"only {self.only.pattern}")
        if self.wrap:
            words.append("wrap")
        if self.range:
            words.append(RANGES[self.range].name)
        if not RANGES[self.range].head:
            words.append("following" if self.following else "paused here")
        return f" {look_of(self).glyphs.dot} ".join(words)

    def search(self, text: str) -> None:
        """Highlight, and go to the last match."""
        self.pattern = pattern.compile(text)
        self._current = -1
        if self.pattern is not None:
            self._go(-1, len(self._shown))
        self.refresh()
        self.post_message(self.Changed())

    def show_only(self, text: str) -> None:
        self.only = pattern.compile(text)
        self._current = -1
        self._index()
        self._resize_content()
        if self.following:
            self.action_log_end()
        self.post_message(self.Changed())

    def _go(self, step: int, start: int) -> None:
        if self.pattern is None or not self._shown:
            return
        size = len(self._shown)
        for distance in range(1, size + 1):
            place = (start + step * distance) % size if start < size else (size - distance) % size
            if self.pattern.search(self.entries[self._shown[place]].text):
                self._current = place
                row = self._starts[place] if self.wrap else place
                self._unfollow()
                self.scroll_to(y=max(0, row - self.size.height // 2), animate=False, force=True)
                break
        self.refresh()
        self.post_message(self.Changed())

    def _unfollow(self) -> None:
        if self.following:
            self.following = False
            self.post_message(self.Changed())

    def action_log_next(self) -> None:
        self._go(1, self._current)

    def action_log_previous(self) -> None:
        self._go(-1, self._current)

    def action_log_search(self) -> None:
        self.post_message(self.PromptWanted(self, "search"))

    def action_log_filter(self) -> None:
        self.post_message(self.PromptWanted(self, "filter"))

    def action_log_follow(self) -> None:
        if self.following:
            self._unfollow()
        else:
            self.action_log_end()

    def action_log_range(self, number: int = -1) -> None:
        """Another part of the log; without a number the next one."""
        self.range = number if 0 <= number < len(RANGES) else (self.range + 1) % len(RANGES)
        self.post_message(self.RangeChanged())
        self.post_message(self.Changed())

    def action_log_copy(self) -> None:
        """The lines in sight, whole, by the terminal's own clipboard (OSC 52)."""
        top = self.scroll_offset.y
        rows = range(top, min(top + self.size.height, self._height))
        places = sorted({bisect_right(self._starts, row) - 1 if self.wrap else row for row in rows})
        lines = [self.entries[self._shown[place]] for place in places]
        self.app.copy_to_clipboard("".join(f"{entry.text}\n" for entry in lines))
        self.app.notify(f"copied {len(lines)} line{'s' * (len(lines) != 1)}", markup=False, timeout=4)

    def action_log_wrap(self) -> None:
        self.wrap = not self.wrap
        self._shift = 0
        self._index()
        self._resize_content()
        if self.following:
            self.action_log_end()
        self.post_message(self.Changed())

    def action_log_times(self) -> None:
        self.times = not self.times
        if self.wrap:
            self._index()
        self._resize_content()

    def action_log_scroll(self, lines: int) -> None:
        if lines < 0:
            self._unfollow()
        target = max(0, min(self._height - self.size.height, self.scroll_offset.y + lines))
        self.scroll_to(y=target, animate=False, force=True)

    def action_log_scroll_page(self, direction: int) -> None:
        self.action_log_scroll(direction * max(1, self.size.height - 1))

    def action_log_top(self) -> None:
        self._unfollow()
        self.scroll_to(y=0, animate=False, force=True)

    def action_log_end(self) -> None:
        self.following = True
        self.scroll_to(y=max(0, self._height - self.size.height), animate=False, force=True)
        self.post_message(self.Changed())

    def action_log_shift(self, cells: int) -> None:
        if not self.wrap:
            self._shift = max(0, self._shift + cells)
            self.refresh()

    def on_mouse_scroll_up(self) -> None:
        self._unfollow()

    def action_log_save(self) -> None:
        """Write what passes the filter beside the user."""
        name = time.strftime("pyctr-log-%Y%m%d-%H%M%S.txt")
        try:
            with open(name, "w", encoding="utf-8", opener=_private) as file:
                for number in self._shown:
                    entry = self.entries[number]
                    origin = f"{entry.origin} " if entry.origin else ""
                    file.write(f"{f.stamp(entry.time_ns / 1e9)} {origin}{entry.stream} {entry.text}\n")
        except OSError as error:
            self.app.notify(str(error), title="cannot save the log", severity="error", markup=False)
            return
        self.app.notify(f"{len(self._shown)} lines in {os.path.abspath(name)}", markup=False)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
