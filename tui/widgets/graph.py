"""The network as rails (tui/rails.py): a cursor goes between containers, and the picture scrolls along."""

from __future__ import annotations

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from pyctr.tui import format as f
from pyctr.tui import rails
from pyctr.tui.widgets.painted import PaintedLines, look_of, strip, theme_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyctr.tui.format import Line
    from pyctr.tui.rails import Spot
    from pyctr.tui.snapshot import ContainerRow
    from pyctr.tui.sources.networks import Rails


def nearest(spots: Sequence[Spot], here: Spot, across: int, along: int) -> Spot:
    """The next spot left or right in the same line, or in the next line up or down the one closest above or below."""
    if across:
        beside = [one for one in spots if one.y == here.y and (one.x - here.x) * across > 0]
        if beside:
            return min(beside, key=lambda one: abs(one.x - here.x))
        # at the end of a line the reading goes on in the next
        place = spots.index(here) + across
        return spots[place] if 0 <= place < len(spots) else here
    lines = [one.y for one in spots if (one.y - here.y) * along > 0]
    if not lines:
        return here
    line = min(lines) if along > 0 else max(lines)
    return min((one for one in spots if one.y == line), key=lambda one: (abs(one.x - here.x), one.x))


class NetworkGraph(PaintedLines):
    """`show_view` takes what the poller saw; `empty` gives the lines when there is nothing to draw."""

    class Moved(Message):
        """The cursor is on another container now."""

        def __init__(self, graph: NetworkGraph, id: str) -> None:
            super().__init__()
            self.graph = graph
            self.id = id

        @property
        def control(self) -> NetworkGraph:
            return self.graph

    class Chosen(Moved):
        """A double click on a container."""

    def __init__(self, *, empty: Callable[[], Sequence[Line]], id: str | None = None) -> None:
        super().__init__(id=id)
        self._empty = empty
        self._view: Rails | None = None
        self._rows: Mapping[str, ContainerRow] = {}
        self._spots: tuple[Spot, ...] = ()
        self._hidden: frozenset[str] = frozenset()
        self.cursor = ""
        self._spot: Spot | None = None

    def show_view(self, view: Rails | None, rows: Mapping[str, ContainerRow]) -> None:
        self._view, self._rows = view, rows
        self._draw()

    def _draw(self) -> None:
        width, height = self.container_size.width - 1, self.size.height
        if width < 10:
            return
        if self._view is None or not (self._view.graph.nodes or self._view.graph.networks):
            self._spots, self._spot = (), None
            lines = self._empty()
            above: list[Line] = [()] * max(0, (height - len(lines)) // 3)
            centred = [((" " * max(0, (width - f.line_width(line)) // 2), "text"), *line) for line in lines]
            self.show([*above, *centred])
            return
        self._hidden = rails.quiet(self._view)
        picture = rails.layout(self._view, width, look_of(self), rows=self._rows, hidden=self._hidden)
        old, self._spots = self._spot, picture.spots
        self.show(picture.lines)
        self._place(old)

    @property
    def hidden(self) -> frozenset[str]:
        """Who is only counted."""
        return self._hidden

    def _place(self, old: Spot | None) -> None:
        """Find the cursor again after a new picture: on its container, or on the one that took its place."""
        if not self._spots:
            self._spot = None
            return
        mine = [spot for spot in self._spots if spot.id == self.cursor]
        if old is not None and old in mine:
            self._spot = old
            return
        spots = mine or self._spots
        if old is not None:
            self._spot = min(spots, key=lambda spot: (abs(spot.y - old.y), abs(spot.x - old.x)))
        else:
            self._spot = spots[0]
        if self._spot.id != self.cursor:
            self.cursor = self._spot.id
            self.post_message(self.Moved(self, self.cursor))
        self.refresh()
        self._keep_in_view()

    def select(self, id: str) -> None:
        """Put the cursor on a container; one that is not drawn leaves it where it was."""
        spot = next((spot for spot in self._spots if spot.id == id), None)
        if spot is not None:
            self._go(spot)
        elif not self._spots:
            self.cursor = id

    def move(self, across: int, along: int) -> None:
        if self._spot is not None:
            self._go(nearest(self._spots, self._spot, across, along))
            if along < 0 and self._spot.y == self._spots[0].y:
                self.scroll_to(0, 0, animate=False, force=True)

    def first(self) -> None:
        if self._spots:
            self._go(self._spots[0])
            self.scroll_to(0, 0, animate=False, force=True)

    def last(self) -> None:
        if self._spots:
            self._go(self._spots[-1])

    def page(self, direction: int) -> None:
        for _ in range(max(1, self.size.height // 6)):
            self.move(0, direction)

    def _go(self, spot: Spot) -> None:
        if spot == self._spot:
            return
        before, self._spot = self._spot, spot
        for one in (before, spot):
            if one is not None:
                x, y = one.x - 1 - self.scroll_offset.x, one.y - self.scroll_offset.y
                self.refresh(Region(x, y, one.width + 2, 1))
        self._keep_in_view()
        if spot.id != self.cursor:
            self.cursor = spot.id
            self.post_message(self.Moved(self, spot.id))

    def _keep_in_view(self) -> None:
        """With its rail above and its address below."""
        spot = self._spot
        if spot is not None and self.size.height:
            area = Region(0, max(0, spot.y - 2), 1, min(5, self.size.height))
            self.scroll_to_region(area, animate=False, force=True)

    def on_resize(self) -> None:
        self._draw()
        self._keep_in_view()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        x, top = self.scroll_offset
        spot = self._spot
        if spot is None or top + y != spot.y or top + y >= len(self.lines):
            return super().render_line(y)
        theme, width = theme_of(self), self.size.width
        line = f.fit_line(self.lines[top + y], max(x + width, spot.x + spot.width + 1))
        plain = strip(line, theme, f.line_width(line))
        over = strip(line, theme, f.line_width(line), "cursor" if self.has_focus else "cursor.idle")
        start, end = max(0, spot.x - 1), spot.x + spot.width + 1
        joined = Strip.join([plain.crop(0, start), over.crop(start, end), plain.crop(end, f.line_width(line))])
        return joined.crop(x, x + width)

    def on_click(self, event: events.Click) -> None:
        x, y = event.x + self.scroll_offset.x, event.y + self.scroll_offset.y
        hit = [spot for spot in self._spots if -3 <= y - spot.y <= 1 and -6 <= x - spot.x < max(14, spot.width)]
        if not hit:
            return
        spot = min(hit, key=lambda spot: (spot.y != y, abs(spot.x - x)))
        self.focus()
        self._go(spot)
        if event.chain == 2:
            self.post_message(self.Chosen(self, spot.id))
