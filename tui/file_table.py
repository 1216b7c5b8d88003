"""The files of a layer, an image or a container as rows of a grid: a tree that folds, filtered by kind of change. Pure:
no Textual here.

Only open directories are looked into, so a screen of rows costs the same whatever is below the closed ones.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from pyctr.core.images import tally
from pyctr.core.images.layerfiles import ADDED, CHANGED, DELETED, SAME, File
from pyctr.tui import format as f
from pyctr.tui.table import Column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pyctr.core.images.stack import Entry, Stack
    from pyctr.tui.format import Line, Span
    from pyctr.tui.table import Look

    Child = tuple[str, Entry, str, bool]
    """(name, entry, kind, is it a directory)."""

CROWD = 24
"""A directory with more entries than this begins closed."""
ENOUGH = 60
"""Rows after which no further directory begins open."""
SIGNS = {ADDED: "+", CHANGED: "~", DELETED: "-", SAME: " "}
STYLES = {ADDED: "good", CHANGED: "warn", DELETED: "bad", SAME: "muted"}


class Wish(NamedTuple):
    """What of a stack is shown."""

    layer: int
    whole: bool
    """What all layers up to it do together, and not only this one."""
    kinds: frozenset[str]
    by_size: bool = False
    only: frozenset[str] | None = None
    """Nothing but these paths, and what they are in."""


class FileRow(NamedTuple):
    """One visible path. `folded` is None for anything but a directory with something to show in it."""

    path: str
    name: str
    """With the directories that have nothing else in them."""
    depth: int
    kind: str
    entry: Entry
    file: File | None
    size: int
    files: int
    folded: bool | None


def rows(stack: Stack, wish: Wish, opened: Collection[str]) -> list[FileRow]:
    """The tree from top to bottom; `stack` was counted for the same layer and `whole`."""
    out: list[FileRow] = []
    inside = _ancestors(wish.only)

    def add(entry: Entry, path: str, depth: int) -> None:
        for name, child, kind, is_directory in _children(entry, path, wish, inside):
            row = _row(child, f"{path}/{name}", name, depth, kind, is_directory, wish, opened, inside)
            out.append(row)
            if row.folded is False:
                add(row.entry, row.path, depth + 1)

    add(stack.root, "", 0)
    return out


def first_open(stack: Stack, wish: Wish) -> set[str]:
    """Directories that begin open: as many as leave the whole readable at once, the upper ones first."""
    opened: set[str] = set()
    shown = 0
    inside = _ancestors(wish.only)
    todo = [(stack.root, "")]
    while todo:
        entry, path = todo.pop(0)
        room = min(CROWD, ENOUGH - shown) if path and wish.only is None else len(entry.children)
        found = list(islice(_shown(entry, path, wish, inside), room + 1))
        if len(found) > room:
            continue
        if path:
            opened.add(path)
        shown += len(found)
        for name, child, kind, is_directory in sorted(found, key=lambda item: item[0]):
            if is_directory:
                row = _row(child, f"{path}/{name}", name, 0, kind, True, wish, (), inside)
                if row.folded is not None:
                    todo.append((row.entry, row.path))
    return opened


def _ancestors(only: frozenset[str] | None) -> frozenset[str]:
    found: set[str] = set()
    for path in only or ():
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return frozenset(found)


def _shown(entry: Entry, path: str, wish: Wish, inside: frozenset[str]) -> Iterator[Child]:
    """What is shown in a directory, in no order, one by one: who asks for two does not pay for a hundred thousand."""
    layer, kinds = wish.layer, wish.kinds
    for name, child in entry.children.items():
        if wish.only is not None and f"{path}/{name}" not in inside:
            continue
        records = child.records
        if len(records) == 1 and records[0].layer <= layer:
            # most paths are of one layer
            is_directory = records[0].is_directory
            kind = ADDED if wish.whole or records[0].layer == layer else SAME
        else:
            found = tally.kind(child, layer, wish.whole)
            if found is None:
                continue
            kind, is_directory = found, _is_directory(child, layer)
        if wish.only is not None or kind in kinds or (child.children and tally.shown(child, kinds)):
            yield name, child, kind, is_directory


def _children(entry: Entry, path: str, wish: Wish, inside: frozenset[str]) -> list[Child]:
    """What is shown in a directory: directories first, or the biggest."""
    found = list(_shown(entry, path, wish, inside))
    if wish.by_size:
        found.sort(key=lambda item: (-_weight(item[1], wish, item[3])[1], item[0]))
    else:
        found.sort(key=lambda item: (not item[3], item[0]))
    return found


def _is_directory(entry: Entry, layer: int) -> bool:
    record = entry.record(layer)
    if record is not None and record.change == DELETED:
        record = entry.file(record.layer - 1)
    return record is not None and record.is_directory


def _weight(entry: Entry, wish: Wish, is_directory: bool) -> tuple[int, int]:
    """(files, bytes) shown below a directory; of a file itself, or what its deletion hides."""
    if is_directory:
        return tally.below(entry, wish.kinds)
    record = entry.record(wish.layer)
    return 1, 0 if record is None else record.was if record.change == DELETED else record.size


def _row(
    entry: Entry,
    path: str,
    name: str,
    depth: int,
    kind: str,
    is_directory: bool,
    wish: Wish,
    opened: Collection[str],
    inside: frozenset[str],
) -> FileRow:
    folded: bool | None = None
    if is_directory:
        found = list(islice(_shown(entry, path, wish, inside), 2))
        while len(found) == 1 and found[0][3] and kind in (SAME, found[0][2]):
            child, entry, kind, _ = found[0]
            name, path = f"{name}/{child}", f"{path}/{child}"
            found = list(islice(_shown(entry, path, wish, inside), 2))
        folded = path not in opened if found else None
        name += "/"
    files, size = _weight(entry, wish, is_directory)
    return FileRow(path, name, depth, kind, entry, entry.record(wish.layer), size, files, folded)


def columns(width: int, look: Look) -> list[Column]:
    return [
        Column("name", "FILES", 20, _name, grow=3, limit=400),
        Column("about", "", min(24, max(8, width // 4)), _about, grow=1, limit=44),
        Column("size", "SIZE", 6, _size, align="right"),
    ]


def _name(row: FileRow, width: int, look: Look) -> Line:
    indent = "  " * min(row.depth, max(0, width // 4 - 4))
    name = f.neutral(row.name)
    style = STYLES[row.kind]
    spans: list[Span] = [(indent, "text")]
    if name.endswith("/"):
        fold = "  " if row.folded is None else f"{look.glyphs.closed if row.folded else look.glyphs.open} "
        spans.append((fold, "faint"))
        sign = f"{SIGNS[row.kind]} " if row.kind != SAME else ""
        text = f.cut(sign + name, max(4, width - f.width(indent) - 2), look.glyphs.ellipsis)
        spans.append((text, "text" if row.kind in (SAME, ADDED) else style))
    else:
        # as far in as a directory beside it, whose sign comes after the mark of its fold
        spans.append(("  ", "text"))
        text = f"{SIGNS[row.kind]} {name}"
        spans.append((f.cut(text, max(4, width - f.width(indent) - 2), look.glyphs.ellipsis), style))
    return tuple(spans)


def _about(row: FileRow, width: int, look: Look) -> Line:
    file = row.file
    if row.name.endswith("/"):
        return ((f"{f.count(row.files)} file{'s' * (row.files != 1)}" if row.files else "", "faint"),)
    if row.kind == DELETED:
        return (("deleted", "faint"),)
    if file is not None and file.link:
        arrow = look.glyphs.arrow if not file.is_regular else "="
        return ((f.cut(f"{arrow} {f.neutral(file.link)}", width, look.glyphs.ellipsis), "faint"),)
    if file is not None and row.kind == CHANGED and file.was:
        return ((f"was {f.size(file.was)}", "faint"),)
    return ()


def _size(row: FileRow, width: int, look: Look) -> Line:
    if not row.size and (row.name.endswith("/") or (row.file is not None and not row.file.is_regular)):
        return ()
    return ((f.size(row.size), "faint" if row.kind == DELETED else "muted" if row.kind == SAME else "text"),)


def story(row: FileRow, titles: list[str], width: int, look: Look) -> Line:
    """Which layer gave the path, which changed or deleted it."""
    words = {ADDED: "from", CHANGED: "changed by", DELETED: "deleted by"}
    styles = {ADDED: "good", CHANGED: "warn", DELETED: "bad"}
    spans: list[Span] = []
    records = [record for record in row.entry.records if not (record.is_directory and record.change == CHANGED)]
    for record in records:
        title = titles[record.layer] if record.layer < len(titles) else ""
        if spans:
            spans.append((f" {look.glyphs.dot} ", "faint"))
        spans.append((f"{words[record.change]} ", styles[record.change]))
        room = max(12, width // max(1, len(records)) - 16)
        spans.append((f"{record.layer + 1} {f.cut(' '.join(f.neutral(title).split()), room)}", "text"))
    return f.fit_line(spans, width) if spans else ()
