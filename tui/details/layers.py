"""The read-only layers it stands on, topmost first, and its own writable one."""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core import errors
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look

SHOWN = 200
"""Changed paths shown."""


class Layers(NamedTuple):
    driver: str
    writable: int | None
    """Bytes of the container's own layer."""
    changes: tuple[tuple[str, str], ...]
    changed: int
    steps: tuple[tuple[str, int, str], ...]
    """(instruction, bytes, diffID), the topmost first; without diffID no layer."""
    missing: str = ""
    """Why the image cannot be shown."""


def collect(engine: Engine, container: Container, before: object) -> object:
    from pyctr.core.images import history

    state = container.state
    image, missing = None, ""
    try:
        image = engine.images.resolve(state.image_id or state.image_name)
    except errors.PyctrError as error:
        missing = str(error)
    try:
        writable = engine.storage.usage(container.id)
    except OSError:
        writable = None
    try:
        changes = engine.storage.changes(container.id, image)
    except (OSError, errors.PyctrError):
        changes = []
    steps = history.history(image, engine.layers) if image is not None else []
    return Layers(
        str(state.rootfs.get("driver", "")),
        writable,
        tuple(changes[:SHOWN]),
        len(changes),
        tuple((step.instruction, step.size, step.layer.diff_id if step.layer else "") for step in reversed(steps)),
        missing,
    )


def render(document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look) -> list[Line]:
    from pyctr.tui.details import table

    if not isinstance(document, Layers):
        return []
    own = ((f.fit("own layer", 12), "accent"), (f.fit(f.size(document.writable), 6, "right"), "strong"))
    count = f"{document.changed} path{'s' if document.changed != 1 else ''} added, changed or deleted"
    lines: list[Line] = [(*own, (f"   {count}", "muted"), (f"   {document.driver}", "faint"))]
    if document.missing:
        lines += [(), ((f.neutral(document.missing), "warn"),)]
    else:
        rows = []
        total = sum(size for _, size, _ in document.steps)
        for instruction, size, diff_id in document.steps:
            rows.append(
                [
                    (diff_id.removeprefix("sha256:")[:12] or look.glyphs.dot, "faint"),
                    (f.size(size) if diff_id else "", "text"),
                    (f.neutral(instruction) or "(not recorded)", "text" if diff_id else "faint"),
                ]
            )
        lines.append(())
        lines += table([("LAYER", 12, "left"), ("SIZE", 6, "right"), ("INSTRUCTION", 0, "left")], rows, width)
        name = f.neutral(row.image)
        lines.append(
            ((f.fit("image", 12), "faint"), (f.fit(f.size(total), 8, "right"), "strong"), (f"  {name}", "muted"))
        )
    if document.changes:
        styles = {"A": ("+", "good"), "C": ("~", "warn"), "D": ("-", "bad")}
        lines.append(())
        for kind, path in document.changes:
            sign, style = styles.get(kind, (kind, "text"))
            lines.append(((f"{sign} ", style), (f.cut(f.neutral(path), width - 2), "text")))
        if document.changed > len(document.changes):
            lines.append(((f"and {document.changed - len(document.changes)} more", "faint"),))
    return lines
