"""The files of one node of the layer tree: who it is, its files as a tree that folds, where a path is from, waste."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from pyctr.core.images import tree
from pyctr.core.images.layerfiles import ADDED, CHANGED, DELETED, SAME
from pyctr.core.images.tree import CONTAINER, IMAGE
from pyctr.tui import file_table, layer_table
from pyctr.tui import format as f
from pyctr.tui.file_table import FileRow, Wish
from pyctr.tui.layerreader import Read, Reader, Wanted
from pyctr.tui.snapshot import Snapshot
from pyctr.tui.widgets.grid import Grid
from pyctr.tui.widgets.painted import PaintedLines, look_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.tui.format import Line, Span
    from pyctr.tui.layer_table import TreeRow

_WORDS = {ADDED: "added", CHANGED: "changed", DELETED: "deleted", SAME: "same"}
_KEYS = {ADDED: "A", CHANGED: "C", DELETED: "D", SAME: "U"}
_LINES_FOR_WASTE = 30
"""Height from which the wasted paths are told by name."""


class FilePane(Vertical):
    """`look_at` a node; what was read of it stays on the screen until the next one is read."""

    DEFAULT_CSS = """
        FilePane { height: 1fr; }
        FilePane #facts { height: auto; max-height: 8; padding: 0 1; overflow: hidden hidden; }
        FilePane #files { height: 1fr; }
        FilePane #waste { height: auto; max-height: 7; padding: 0 1; overflow: hidden hidden; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.reader = Reader(self._told)
        self.row: TreeRow | None = None
        self.titles: list[str] = []
        self.whole = False
        self._kinds = {False: frozenset({ADDED, CHANGED, DELETED}), True: frozenset({ADDED, CHANGED})}
        self.by_size = False
        self._only: frozenset[str] | None = None
        self._text = ""
        """What is looked for."""
        self._asked = ""
        self._read: Read | None = None
        self._wish: Wish | None = None
        """What the rows on the screen are of."""
        self._opened: set[str] = set()
        self._kept: dict[str, set[str]] = {}
        """Open directories of nodes that were left."""
        self._looked = 0

    def compose(self) -> ComposeResult:
        self.facts = PaintedLines(id="facts")
        self.grid = Grid(
            lambda width: file_table.columns(width, look_of(self)), lambda row: row.path, empty=self._empty, id="files"
        )
        self.about = PaintedLines(id="waste")
        for lines in (self.facts, self.about):
            lines.can_focus = False
        yield self.facts
        yield self.grid
        yield self.about

    @property
    def is_whole(self) -> bool:
        """An image is all of its layers together, whatever is chosen for layers."""
        return self.whole or (self.row is not None and self.row.node.kind == IMAGE)

    @property
    def kinds(self) -> frozenset[str]:
        return self._kinds[self.is_whole]

    def look_at(
        self, row: TreeRow | None, titles: Sequence[str], only: frozenset[str] | None = None, text: str = ""
    ) -> None:
        """Show this node; `titles` are those of its layers, the bottom one first."""
        before, self.row, self.titles = self.row, row, list(titles)
        self._text = text
        if row is None:
            self.reader.stop()
            self._asked, self._read = "", None
            self._draw()
            return
        directories = tuple(tree.directories(row.node))
        stamp = f"{row.key} {row.node.size if row.node.kind == CONTAINER else ''} {len(directories)} {self.is_whole}"
        changed = stamp != self._asked
        if changed:
            again = before is not None and before.key == row.key and row.node.kind == CONTAINER
            if before is None or before.key != row.key:
                if before is not None:
                    self._kept[before.key] = self._opened
                self._opened, self._looked = set(), 0
                self._read = self._wish = None
                self.grid.show([])
            self._asked = stamp
            self._only = only
            if directories:
                self.reader.want(Wanted(stamp, directories, self.is_whole, again))
            else:
                self.reader.stop()
                recorded = getattr(self.app, "snapshot", Snapshot()).recorded
                told = "its files stayed on their host" if recorded else "not unpacked: 'pyctr image files' unpacks it"
                self._read = Read(stamp, 0, True, problem=told)
        elif only != self._only:
            self._only = only
            self._rebuild(afresh=True)
        self._draw()

    def _told(self, read: Read) -> None:
        """Called in the reader's thread."""
        try:
            self.app.call_from_thread(self._take, read)
        except RuntimeError:
            pass  # the app has ended meanwhile

    def _take(self, read: Read) -> None:
        if read.key != self._asked or not self.is_mounted:
            return
        self._looked = read.looked
        if read.done:
            first = self._read is None
            self._read = read
            self._rebuild(afresh=first)
        self._draw()

    @property
    def _ready(self) -> bool:
        """What was read may be looked into: it is of this node, and no thread is at it."""
        return self._read is not None and self._read.key == self._asked and self.reader.idle

    def _rebuild(self, *, afresh: bool = False) -> None:
        """The rows anew; `afresh` with the directories open that begin so."""
        if not self._ready or self._read is None or self.row is None:
            return
        stack = self._read.stack
        if stack is None:
            self.grid.show([])
            return
        layer = len(tree.directories(self.row.node)) - 1
        self._wish = Wish(layer, self.is_whole, self.kinds, self.by_size, self._only)
        if afresh:
            kept = self._kept.get(self.row.key) if self._only is None else None
            self._opened = kept or file_table.first_open(stack, self._wish)
        self.grid.show(file_table.rows(stack, self._wish, self._opened))

    def _draw(self) -> None:
        look, row = look_of(self), self.row
        width = max(20, self.size.width - 2)
        if row is None:
            self.facts.show([])
            self.about.show([])
            return
        lines = [*layer_table.facts(row, width, look)]
        lines.append(self._state(width))
        self.facts.show(lines)
        self.facts.styles.height = min(8, len(lines))
        told = self._about(width)
        self.about.show(told)
        self.about.styles.height = len(told)

    def _state(self, width: int) -> Line:
        """Which files are shown, and which keys show others."""
        look = look_of(self)
        if self._read is None:
            so_far = f" {f.count(self._looked)} entries" if self._looked else ""
            return ((f"reading its files{look.glyphs.ellipsis}{so_far}", "faint"),)
        if self._read.problem:
            return ((f.cut(f.neutral(self._read.problem), width), "bad"),)
        if self._only is not None:
            return (("only those with ", "faint"), (f.cut(f.neutral(self._text), width - 16), "accent"))
        spans: list[Span] = []
        for kind in (ADDED, CHANGED, DELETED, *(() if self.is_whole else (SAME,))):
            on = kind in self.kinds
            spans += [(_KEYS[kind], "key" if on else "faint"), (f" {_WORDS[kind]}  ", "text" if on else "faint")]
        if row := self.row:
            view = "" if row.node.kind == IMAGE else "all to here" if self.whole else "this layer"
            spans += [("w", "key"), (f" {view}", "muted")] if view else []
        return f.fit_line(spans, width)

    def _about(self, width: int) -> list[Line]:
        """Where the path under the cursor is from, then what is wasted."""
        read = self._read
        if read is None or read.waste is None:
            return []
        look, waste = look_of(self), read.waste
        lines: list[Line] = []
        current: FileRow | None = self.grid.current
        if self.grid.has_focus and current is not None and self._ready:
            lines.append(file_table.story(current, self.titles, width, look))
        score = f"efficiency {100 * waste.efficiency:.0f}%"
        if not waste.hidden:
            return [*lines, ((score, "good"), (", nothing is hidden by a later layer", "faint"))]
        files = f"{f.count(len(waste.hidden))} file{'s' * (len(waste.hidden) != 1)}"
        text = f"{f.size(waste.hidden_size)} in {files} hidden by later layers"
        style = "warn" if waste.efficiency < 0.95 else "text"
        lines.append(((f.cut(f"waste {text}", max(10, width - len(score) - 2)), style), (f"  {score}", "muted")))
        if self.size.height >= _LINES_FOR_WASTE:
            for lost in waste.hidden[:4]:
                path = f.cut(f.neutral(lost.path), max(10, width - 20), look.glyphs.ellipsis)
                lines.append(((f"{f.size(lost.size):>7} ", "muted"), (path, "text"), (f"  in {lost.layers}", "faint")))
        return lines

    def _empty(self) -> Sequence[Line]:
        if self._read is None:
            return []
        if self._read.problem:
            return []
        if self.is_whole or self.kinds == self._kinds[False]:
            return [(("no files", "faint"),)]
        return [(("nothing of that kind", "faint"),)]

    def moved(self) -> None:
        """The cursor is on another file, or the focus came or went."""
        self._draw()

    def resized(self) -> None:
        self._draw()

    def toggle_kind(self, kind: str) -> None:
        if self.is_whole and kind == SAME:
            return
        self._kinds[self.is_whole] = self.kinds ^ {kind}
        self._rebuild()
        self._draw()

    def toggle_whole(self) -> None:
        self.whole = not self.whole
        self.look_at(self.row, self.titles, self._only, self._text)

    def toggle_order(self) -> None:
        self.by_size = not self.by_size
        self._rebuild()

    def fold(self) -> None:
        """Close the directory, or go to the one it is in."""
        row: FileRow | None = self.grid.current
        if row is None:
            return
        if row.folded is False:
            self._opened.discard(row.path)
            self._rebuild()
            return
        above = self.grid.rows[: self.grid.rows.index(row)]
        parent = next((other for other in reversed(above) if other.depth < row.depth), None)
        if parent is not None:
            self.grid.select(parent.path)

    def unfold(self) -> None:
        row: FileRow | None = self.grid.current
        if row is None:
            return
        if row.folded:
            self._opened.add(row.path)
            self._rebuild()
        elif row.folded is False:
            self.grid.move_by(1)

    def file_place(self) -> tuple[str, str] | None:
        """(directory of the layer, path) of the regular file under the cursor; one that is deleted as it last was."""
        row: FileRow | None = self.grid.current
        if row is None or self._wish is None or self._read is None or self._read.stack is None or not self._ready:
            return None
        record = row.entry.record(self._wish.layer)
        if record is not None and record.change == DELETED:
            record = row.entry.file(record.layer - 1)
        if record is None or not record.is_regular:
            return None
        return self._read.stack.directories[record.layer], record.path
