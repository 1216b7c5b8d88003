"""Images: one tree of all layers, what is built on them, and the files of the one under the cursor."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical

from pyctr.core.images.tree import CONTAINER
from pyctr.tui import format as f
from pyctr.tui import keys, layer_table
from pyctr.tui.finding import Search
from pyctr.tui.layer_table import TreeRow
from pyctr.tui.screens.image_looks import ImageLooks
from pyctr.tui.screens.image_verbs import ImageVerbs, unused
from pyctr.tui.screens.scene import SceneScreen
from pyctr.tui.snapshot import ContainerRow, Focus, Snapshot
from pyctr.tui.sources import WANTED
from pyctr.tui.sources.images import Shelf
from pyctr.tui.wakeup import Wakeup
from pyctr.tui.widgets.bars import FrameTitle
from pyctr.tui.widgets.filepane import FilePane
from pyctr.tui.widgets.grid import Grid, GridHeading
from pyctr.tui.widgets.prompt import Prompt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events

    from pyctr.tui.format import Line, Span

BOTH_WIDTH = 110
"""From this width on tree and files stand side by side; below, Enter opens the files."""


class ImagesScreen(ImageLooks, ImageVerbs, SceneScreen):
    """The tree at the left, the node's files at the right."""

    NAME = "images"
    HEADING = "Images"
    SCOPES = ("images", "list", "app")
    CSS_PATH = "images.tcss"
    BINDINGS = keys.bindings("images")

    def __init__(self) -> None:
        super().__init__()
        self._folded: set[str] = set()
        self._search: Search | None = None
        """The last thing looked for, until Escape."""

    def compose_body(self) -> ComposeResult:
        self.tree_grid = Grid(
            lambda width: layer_table.columns(width, self.pyctr.look), lambda row: row.key, empty=self._empty, id="tree"
        )
        self.pane = FilePane(id="pane")
        with Container(id="body"):
            with Vertical(id="tree-pane", classes="pane"):
                yield FrameTitle(id="tree-title")
                with Vertical(classes="frame"):
                    yield GridHeading(self.tree_grid)
                    yield self.tree_grid
            with Vertical(id="files-pane", classes="pane"):
                yield FrameTitle(id="files-title")
                with Vertical(classes="frame"):
                    yield self.pane
        yield Prompt(id="prompt")

    @property
    def files(self) -> Grid:
        return self.pane.grid

    def on_mount(self) -> None:
        self._arrange(self.app.size.width)
        self.show_snapshot(self.pyctr.snapshot)
        self.tree_grid.focus()

    def on_resize(self, event: events.Resize) -> None:
        self._arrange(event.size.width)
        self.call_after_refresh(self.pane.resized)

    def _arrange(self, width: int) -> None:
        self.set_class(width >= BOTH_WIDTH, "-both")
        self.set_class(width >= BOTH_WIDTH, "-framed")

    @property
    def _shelf(self) -> Shelf | None:
        document = self.scene.document
        return document if isinstance(document, Shelf) else None

    def _empty(self) -> Sequence[Line]:
        if self._shelf is None:
            return self.unread()
        if self._search is not None:
            looking = "" if self._search.found.done else f", still looking{self.pyctr.look.glyphs.ellipsis}"
            text = f"no layer has '{f.neutral(self._search.found.text)}'{looking}"
            return [((text, "strong"),), (), (("Esc", "key"), (" shows all again", "muted"))]
        return [
            (("no images yet", "strong"),),
            (),
            (("pyctr run localhost/base", "key"), (" makes the base image from this host's tools", "muted")),
        ]

    def show_snapshot(self, snapshot: Snapshot) -> None:
        if not self.ready:
            return
        self.pyctr.poller.look_at(Focus(sources=WANTED["images"]))
        self._show_tree()
        self._show_files()
        super().show_snapshot(snapshot)

    def _show_tree(self) -> None:
        shelf = self._shelf
        known = {row.id: row for row in self.pyctr.snapshot.containers}
        found = self._search.found if self._search is not None else None
        self.tree_grid.show(layer_table.rows(shelf.roots, self._folded, known, found) if shelf is not None else [])
        self.query_one(GridHeading).update_line()
        words: list[Span] = [("Images", "strong")]
        right: tuple[Span, ...] = ()
        if shelf is not None:
            words.append((f"  {shelf.images}", "faint"))
            right = ((f"{f.size(shelf.size)}", "text"), (f", {f.size(shelf.saved)} saved by sharing", "faint"))
            if found is not None:
                so_far = "" if found.done else " so far"
                right = ((f"{found.paths} paths in {len(found.files)} layers{so_far}", "accent"),)
            if self.scene.error:
                right = ((f.cut(f.neutral(self.scene.error), 50), "bad"),)
        self._title("#tree-title", words, right, self.tree_grid.has_focus)

    def _title(self, name: str, words: Sequence[Span], right: tuple[Span, ...], lit: bool) -> None:
        title = self.query_one(name, FrameTitle)
        title.words, title.right, title.lit = tuple(words), right, lit
        if title.parent is not None:
            title.parent.set_class(lit and self.has_class("-framed"), "lit")
        title.update_line()

    def _show_files(self) -> None:
        row: TreeRow | None = self.tree_grid.current
        if row is None or self._shelf is None:
            self._title("#files-title", [("Files", "strong")], (), self.files.has_focus)
            self.pane.look_at(None, ())
            return
        width = max(20, self.pane.size.width)
        name = f.cut(" ".join(f.neutral(row.node.title).split()), max(12, width // 2))
        right: list[Span] = [(f.size(row.node.size), "text")]
        chain = layer_table.chain(self._shelf.roots, row.node)
        if row.node.layer is not None:
            right.insert(0, (f"layer {len(chain)}  ", "faint"))
        elif row.node.growth >= 1:
            right.append((f", growing {f.size(row.node.growth)}/s", "warn"))
        self._title("#files-title", [(name, "strong")], tuple(right), self.files.has_focus)
        hits, text = None, ""
        if self._search is not None and (found := self._search.found.files.get(row.key)) is not None:
            hits, text = frozenset(file.path for file in found), self._search.found.text
        self.pane.look_at(row, [node.title for node in chain], hits, text)

    @on(Grid.Moved, "#tree")
    def _moved(self) -> None:
        self._show_files()
        self.refresh_keys()

    @on(Grid.Moved, "#files")
    def _moved_file(self) -> None:
        self.pane.moved()
        self.refresh_keys()

    @on(Grid.Chosen)
    async def _chosen(self) -> None:
        await self.action_open()

    def current_row(self) -> ContainerRow | None:
        row: TreeRow | None = self.tree_grid.current
        return row.container if row is not None else None

    def is_deep(self) -> bool:
        return self.files.has_focus or self.has_class("-drilled")

    def idle_actions(self) -> frozenset[str]:
        row: TreeRow | None = self.tree_grid.current
        deep = self.files.has_focus
        idle = {"next_tab", "previous_tab"}
        if row is None or row.node.image is None or deep:
            idle |= {"remove_image", "tag_image", "mark"}
        if len(self._marked_images()) != 2:
            idle.add("compare_images")
        if self._shelf is None or not unused(self._shelf.roots)[0] or deep:
            idle.add("prune_images")
        if deep:
            idle |= {"pull_image"}
        else:
            idle |= {"view_file", "files_added", "files_changed", "files_deleted", "files_same", "sort_menu"}
        if row is None or (deep and self.pane.grid.current is None):
            idle.add("open")
        return frozenset(idle)

    def on_descendant_focus(self) -> None:
        super().on_descendant_focus()
        self._show_tree()
        self._show_files()
        self.pane.moved()

    @property
    def walked(self) -> Grid:
        return self.files if self.files.has_focus else self.tree_grid

    def action_other_pane(self) -> None:
        if self.has_class("-both") or self.has_class("-drilled"):
            # at once: the next key may be there already
            self.set_focus(self.tree_grid if self.files.has_focus else self.files)

    def action_back(self) -> None:
        if not self.is_deep():
            if self._search is not None:
                self._find("")
            else:
                self.tree_grid.clear_marks()
        self.remove_class("-drilled")
        self.tree_grid.focus()

    def filter_text(self) -> str:
        return self._search.found.text if self._search is not None else ""

    def action_mark(self) -> None:
        """Images are marked to be compared."""
        row: TreeRow | None = self.tree_grid.current
        if row is not None and row.node.image is not None and not self.files.has_focus:
            self.tree_grid.toggle_mark()
            self.refresh_keys()

    def action_filter(self) -> None:
        """A path, in all layers; or what a layer, an image or a container is called."""
        self.query_one(Prompt).ask("/", self.filter_text(), done=self._find, back_to=self.tree_grid)

    def _find(self, text: str) -> None:
        if self._search is not None:
            self._search.stop()
        self._search = None
        if text and self._shelf is not None:
            self._search = Search(text, self._shelf.roots, Wakeup(self, self._show_found))
            self._search.start()
        self._show_tree()
        self._show_files()
        self.refresh_keys()

    def _show_found(self) -> None:
        self._show_tree()
        self._show_files()

    async def action_open(self) -> None:
        """A container opens on its own screen, a file is shown; anything else shows its files."""
        if self.files.has_focus:
            self._open_file()
            return
        row: TreeRow | None = self.tree_grid.current
        if row is None:
            return
        if row.node.kind == CONTAINER and row.container is not None:
            await self.pyctr.open_container(row.container.id, "layers")
            return
        if self.has_class("-both"):
            self.set_focus(self.files)
        else:
            self.add_class("-drilled")
            self.call_after_refresh(self.files.focus)

    def action_fold(self) -> None:
        if self.files.has_focus:
            self.pane.fold()
            return
        row: TreeRow | None = self.tree_grid.current
        if row is None:
            return
        if row.folded is False:
            self._folded.add(row.key)
            self._show_tree()
            return
        above = self.tree_grid.rows[: self.tree_grid.rows.index(row)]
        parent = next((other for other in reversed(above) if other.depth < row.depth), None)
        if parent is not None:
            self.tree_grid.select(parent.key)

    def action_unfold(self) -> None:
        if self.files.has_focus:
            self.pane.unfold()
            return
        row: TreeRow | None = self.tree_grid.current
        if row is None:
            return
        if row.folded:
            self._folded.discard(row.key)
            self._show_tree()
        elif row.folded is False:
            self.tree_grid.move_by(1)
