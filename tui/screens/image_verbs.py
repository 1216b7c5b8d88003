"""What the keys do to images: another name, removal, removal of what nobody uses."""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.images.tree import CONTAINER, IMAGE, LAYER, Node
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.core.engine import Engine
    from pyctr.tui.app import PyctrApp
    from pyctr.tui.format import Line
    from pyctr.tui.layer_table import TreeRow
    from pyctr.tui.screens.base import BaseScreen as _Base
    from pyctr.tui.sources.images import Shelf
    from pyctr.tui.widgets.grid import Grid
else:

    class _Base:
        pass


def unused(roots: Sequence[Node]) -> tuple[list[Node], int]:
    """(images that no container has, bytes of layers that only they have)."""
    images = [node for root in roots for _, node in root.walk() if node.kind == IMAGE and node.image is not None]
    free = [node for node in images if not node.containers]
    going = {node.key for node in free}
    size = sum(
        layer.size
        for root in roots
        for _, layer in root.walk()
        if layer.kind == LAYER and all(node.key in going for _, node in layer.walk() if node.kind == IMAGE)
    )
    return free, size


def own_size(node: Node, roots: Sequence[Node]) -> int:
    """Bytes of the layers that go with this image, because no other has them."""
    layers = {tuple(layer.stack) for layer in node.image.layers} if node.image is not None else set()
    return sum(
        other.size
        for root in roots
        for _, other in root.walk()
        if other.layer is not None and other.images == 1 and tuple(other.layer.stack) in layers
    )


class ImageVerbs(_Base):
    """Part of a screen that has `tree_grid` (rows are TreeRow) and `_shelf`."""

    tree_grid: Grid

    @property
    def pyctr(self) -> PyctrApp:
        return self.app  # type: ignore[return-value]

    @property
    def _shelf(self) -> Shelf | None:
        raise NotImplementedError

    def _may_change(self) -> bool:
        if why := self.pyctr.snapshot.read_only:
            self.pyctr.complain("read-only", f"{why}: nothing is changed from here")
        return not why

    def _image(self) -> Node | None:
        """The image under the cursor, if it may be changed."""
        row: TreeRow | None = self.tree_grid.current
        if row is None or row.node.image is None or not self._may_change():
            return None
        return row.node

    def action_tag_image(self) -> None:
        node = self._image()
        if node is None or node.image is None:
            return
        from pyctr.core.images.reference import parse
        from pyctr.tui.widgets.dialogs import Ask

        reference = node.image.names[0] if node.image.names else node.image.id
        name = f.neutral(node.title)

        def check(text: str) -> str:
            try:
                return "a digest is no name: NAME:TAG" if parse(text).digest else ""
            except errors.PyctrError as error:
                return error.message

        def answered(new: str | None) -> None:
            if new:
                self.pyctr.acts.call(
                    f"call it {f.neutral(new)}",
                    lambda engine: engine.images.tag(reference, new),
                    done=f"{name} is also {f.neutral(new)}",
                    source="images",
                )

        self.app.push_screen(Ask(f"Another name for {f.cut(name, 40)}", hint="NAME:TAG", check=check), answered)

    def action_remove_image(self) -> None:
        node = self._image()
        if node is None or node.image is None:
            return
        from pyctr.tui.widgets.dialogs import Confirm

        image, name = node.image, f.neutral(node.title)
        lines: list[Line] = [((f.cut(name, 56), "strong"),), ()]
        if len(image.names) > 1:
            lines.append(((f"Only this name goes: {len(image.names) - 1} other names keep the image.", "text"),))
        else:
            own = own_size(node, self._shelf.roots if self._shelf is not None else ())
            lines.append((("Lost for good: ", "text"), (f"{f.size(own)} of layers nobody else has.", "bad")))
        users = [child for child in node.children if child.kind == CONTAINER]
        if users:
            names = ", ".join(f.neutral(child.title) for child in users)
            lines.append(((f.cut(f"In use by {names}: it will be refused.", 58), "warn"),))

        def answered(answer: str | None) -> None:
            if answer:
                reference = image.names[0] if image.names else image.id
                self.pyctr.acts.call(
                    f"remove {name}",
                    lambda engine: engine.images.remove(reference),
                    done=f"removed {name}",
                    source="images",
                )

        title = f"Remove {f.cut(name, 40)}?"
        self.app.push_screen(Confirm(title, lines, [("remove", "Remove")], danger=True), answered)

    def action_prune_images(self) -> None:
        if self._shelf is None or not self._may_change():
            return
        from pyctr.tui.widgets.dialogs import Confirm

        images, size = unused(self._shelf.roots)
        if not images:
            self.pyctr.say("every image has a container: nothing to prune")
            return
        count = f"{len(images)} image{'s' * (len(images) != 1)}"
        lines: list[Line] = [
            ((f.fit(f.neutral(node.title), 44), "strong"), (f"{f.size(node.size):>8}", "muted")) for node in images[:10]
        ]
        if len(images) > 10:
            lines.append(((f"and {len(images) - 10} more", "muted"),))
        lines += [(), (("Lost for good: ", "text"), (f"{f.size(size)}. ", "bad"), ("No container uses them.", "text"))]

        def prune(engine: Engine) -> None:
            for node in images:
                if node.image is not None:
                    for reference in node.image.names or [node.image.id]:
                        engine.images.remove(reference)

        def answered(answer: str | None) -> None:
            if answer:
                done = f"removed {count}, {f.size(size)} free"
                self.pyctr.acts.call("prune images", prune, done=done, source="images")

        self.app.push_screen(
            Confirm(f"Remove {count} that nobody uses?", lines, [("prune", "Remove")], danger=True), answered
        )
