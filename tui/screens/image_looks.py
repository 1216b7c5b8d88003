"""What the keys show of images: a file, two images compared, other kinds of changes, a pull."""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.images.layerfiles import ADDED, CHANGED, DELETED, SAME
from pyctr.tui import fileview, pulling
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.images.model import Image
    from pyctr.tui.app import PyctrApp
    from pyctr.tui.screens.base import BaseScreen as _Base
    from pyctr.tui.widgets.filepane import FilePane
    from pyctr.tui.widgets.grid import Grid
else:

    class _Base:
        pass


_KINDS = {"A": ADDED, "C": CHANGED, "D": DELETED}


class ImageLooks(_Base):
    """Part of a screen that has `tree_grid` (rows are TreeRow) and `pane`."""

    tree_grid: Grid
    pane: FilePane
    pull: pulling.Pull | None = None
    """The one that runs, or ran last."""

    @property
    def pyctr(self) -> PyctrApp:
        return self.app  # type: ignore[return-value]

    def _marked_images(self) -> list[Image]:
        return [row.node.image for row in self.tree_grid.marked if row.node.image is not None]

    def action_files_added(self) -> None:
        self.pane.toggle_kind(ADDED)

    def action_files_changed(self) -> None:
        self.pane.toggle_kind(CHANGED)

    def action_files_deleted(self) -> None:
        self.pane.toggle_kind(DELETED)

    def action_files_same(self) -> None:
        self.pane.toggle_kind(SAME)

    def action_files_whole(self) -> None:
        self.pane.toggle_whole()

    def action_sort_menu(self) -> None:
        """Files by size, or by name again."""
        self.pane.toggle_order()

    def action_view_file(self) -> None:
        self._open_file()

    def _open_file(self) -> None:
        """A directory is opened or closed, a file is shown."""
        row = self.pane.grid.current
        if row is None:
            return
        if row.folded is not None:
            (self.pane.unfold if row.folded else self.pane.fold)()
            return
        place = self.pane.file_place()
        if place is None:
            self.pyctr.say("only regular files can be shown")
            return
        from pyctr.core.images.viewing import view
        from pyctr.tui.widgets.page import Page

        try:
            found = view(*place)
        except (errors.PyctrError, OSError) as problem:
            self.pyctr.complain(f"cannot show {f.neutral(place[1])}", f.reason(problem))
            return
        page = Page(place[1])
        page.show(fileview.lines(found), fileview.about(found))
        self.app.push_screen(page)

    def action_compare_images(self) -> None:
        """The two that are marked, or two words about how to mark them."""
        images = self._marked_images()
        if len(images) != 2:
            self.pyctr.say("mark two images with space, then c compares them")
            return
        from pyctr.tui import comparing
        from pyctr.tui.widgets.page import Page

        kinds = {ADDED, CHANGED, DELETED}
        order = {"size": False}

        def show() -> None:
            lines = comparing.lines(comparison, frozenset(kinds), order["size"], page.room, self.pyctr.look)
            about = "" if comparison.done else f"{f.count(comparison.looked)} entries looked at"
            page.show(lines, about)

        def toggled(key: str) -> None:
            if key == "o":
                order["size"] = not order["size"]
            else:
                kinds.symmetric_difference_update({_KINDS[key]})
            show()

        def told() -> None:
            try:
                self.app.call_from_thread(show)
            except RuntimeError:
                pass  # the app has ended meanwhile

        names = " and ".join(f.neutral(image.familiar) for image in images)
        toggles = (("A", "added"), ("C", "changed"), ("D", "removed"), ("o", "by size"))
        comparison = comparing.Comparison(self.pyctr.poller.paths, images[0], images[1], told)
        page = Page(f"Compare {names}", toggles=toggles, toggled=toggled, left=comparison.stop)
        self.app.push_screen(page)
        comparison.start()

    def action_pull_image(self) -> None:
        """A form, or the pull that runs already."""
        if why := self.pyctr.snapshot.read_only:
            self.pyctr.complain("read-only", f"{why}: nothing is changed from here")
            return
        from pyctr.tui.widgets.pulldialog import PullDialog

        if self.pull is None or self.pull.state == pulling.READY:
            self.pull = pulling.Pull(self.pyctr.poller.paths, self._pull_told)
        self.app.push_screen(PullDialog(self.pull))

    def _pull_told(self) -> None:
        """Called in the pull's thread."""
        try:
            self.app.call_from_thread(self._show_pull)
        except RuntimeError:
            pass  # the app has ended meanwhile; what came is kept

    def _show_pull(self) -> None:
        from pyctr.tui.widgets.pulldialog import PullDialog

        pull = self.pull
        if pull is None:
            return
        dialog = next((one for one in self.app.screen_stack if isinstance(one, PullDialog) and one.pull is pull), None)
        if dialog is not None:
            dialog.show()
        if pull.running:
            return
        name = f.neutral(pull.name)
        if pull.state == pulling.READY:
            if dialog is not None:
                dialog.dismiss(None)
            self.pyctr.say(f"pulled {name}")
            self.pyctr.poller.sources.again("images")
            self.pyctr.poller.wake()
        elif pull.state == pulling.FAILED and dialog is None:
            hint = f"{f.neutral(pull.problem)}\n{f.neutral(pull.hint)}".strip()
            self.pyctr.complain(f"cannot pull {name}", hint)
