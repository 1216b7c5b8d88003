"""Two images beside each other: computed in a thread in small steps, shown as lines while it goes on."""

from __future__ import annotations

import threading
import time

from pyctr.core import errors
from pyctr.core.engine import Engine
from pyctr.core.images import comparing
from pyctr.core.images.layerfiles import ADDED, CHANGED, DELETED
from pyctr.core.images.stack import Stack
from pyctr.tui import format as f
from pyctr.tui.file_table import SIGNS, STYLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.images.comparing import Difference, Setting
    from pyctr.core.images.model import Image
    from pyctr.core.paths import Paths
    from pyctr.tui.format import Line
    from pyctr.tui.table import Look

STEP = 1000
_INTERVAL = 0.3
MOST = 5000
"""Lines shown."""


class Comparison:
    """`told` is called in the thread."""

    def __init__(self, paths: Paths, one: Image, other: Image, told: Callable[[], None]) -> None:
        self.one, self.other = one, other
        self.settings: list[Setting] = comparing.settings(one, other)
        self.shared = comparing.shared_layers(one, other)
        self.found: list[Difference] = []
        self.looked = 0
        self.done = False
        self.problem = ""
        self._paths = paths
        self._told = told
        self._stopping = False

    def start(self) -> None:
        threading.Thread(target=self._run, name="compare images", daemon=True).start()

    def stop(self) -> None:
        """It ends with the step it is in."""
        self._stopping = True

    def _run(self) -> None:
        try:
            self._compare()
        except (OSError, errors.PyctrError) as error:
            self.problem = f.reason(error)
        self.done = True
        if not self._stopping:
            self._told()

    def _compare(self) -> None:
        engine = Engine(self._paths)
        stacks = []
        for image in (self.one, self.other):
            engine.layers.ensure(image)
            stack = Stack([engine.layers.path(layer.diff_id) for layer in image.layers])
            try:
                while not self._stopping and stack.step(STEP):
                    self.looked += STEP
            finally:
                stack.close()
            stacks.append(stack)
        spoken = time.monotonic()
        layers = len(self.one.layers) - 1, len(self.other.layers) - 1
        for item in comparing.files(stacks[0], layers[0], stacks[1], layers[1]):
            if self._stopping:
                return
            self.looked += 1
            if item is not None:
                self.found.append(item)
            if self.looked % STEP == 0 and time.monotonic() - spoken > _INTERVAL:
                spoken = time.monotonic()
                self._told()


def lines(comparison: Comparison, kinds: frozenset[str], by_size: bool, width: int, look: Look) -> list[Line]:
    """Settings, then files; what came or went with its whole directory is one line."""
    out: list[Line] = []
    names = [f.neutral(image.familiar) for image in (comparison.one, comparison.other)]
    out.append(((names[0], "strong"), (f" {look.glyphs.arrow} ", "faint"), (names[1], "strong")))
    counts = len(comparison.one.layers), len(comparison.other.layers)
    out.append(((f"{comparison.shared} of {counts[0]} and {counts[1]} layers are the same", "muted"),))
    if comparison.problem:
        return [*out, (), ((f.cut(f.neutral(comparison.problem), width), "bad"),)]
    found = list(comparison.found)
    totals: list[tuple[str, str]] = []
    for kind, word in ((ADDED, "added"), (CHANGED, "changed"), (DELETED, "removed")):
        some = [item for item in found if item.change == kind]
        grown = sum(item.grown for item in some)
        sign = "+" if grown >= 0 else "-"
        totals += [
            (f"{len(some)} {word}", STYLES[kind]),
            (f" {sign}{f.size(abs(grown))}   " if some else "   ", "muted"),
        ]
    out += [tuple(totals), ()]
    for setting in comparison.settings:
        kind = ADDED if not setting.before else CHANGED if setting.after else DELETED
        values = f" {look.glyphs.arrow} ".join(f.neutral(text) for text in (setting.before, setting.after) if text)
        name = f.neutral(setting.name)
        out.append(
            ((f"{SIGNS[kind]} {name}  ", STYLES[kind]), (f.cut(values, max(8, width - f.width(name) - 4)), "text"))
        )
    if comparison.settings:
        out.append(())
    rows = _rows(found, kinds)
    if by_size:
        rows.sort(key=lambda row: (-abs(row[2]), row[1]))
    for kind, path, grown, about in rows[:MOST]:
        size = (
            f"{'+' if grown > 0 else '-' if grown < 0 else ''}{f.size(abs(grown))}" if grown or kind == CHANGED else ""
        )
        room = max(10, width - 12 - f.width(about))
        name = f.cut(f.neutral(path), room, look.glyphs.ellipsis)
        out.append(((f"{size:>8} ", "muted"), (f"{SIGNS[kind]} {name}", STYLES[kind]), (f"  {about}", "faint")))
    if len(rows) > MOST:
        out.append(((f"and {len(rows) - MOST} more", "faint"),))
    if comparison.done and not found and not comparison.settings:
        out.append((("the two are the same", "muted"),))
    return out


def _rows(found: list[Difference], kinds: frozenset[str]) -> list[tuple[str, str, int, str]]:
    """(kind, path, bytes grown, about), by path."""
    whole = {
        item.path: item.change
        for item in found
        if item.change != CHANGED and (file := item.after or item.before) is not None and file.is_directory
    }
    sums: dict[str, list[int]] = {}
    rows: list[tuple[str, str, int, str]] = []
    for item in sorted(found, key=lambda item: item.path):
        if item.change not in kinds:
            continue
        top, above = "", item.path.rpartition("/")[0]
        while above:
            if whole.get(above) == item.change:
                top = above
            above = above.rpartition("/")[0]
        if top:
            total = sums.setdefault(top, [0, 0])
            total[0] += item.grown
            file = item.after or item.before
            total[1] += file is not None and not file.is_directory
            continue
        if item.path in whole:
            sums.setdefault(item.path, [0, 0])
        before, after = item.before, item.after
        about = ""
        if item.change == CHANGED and before is not None and after is not None:
            about = _about(
                before.size, after.size, before.mode, after.mode, (before.uid, before.gid), (after.uid, after.gid)
            )
        rows.append((item.change, item.path, item.grown, about))
    out = []
    for kind, path, grown, about in rows:
        if path in sums:
            size, count = sums[path]
            out.append((kind, f"{path}/", size, f"{count} file{'s' * (count != 1)}"))
        else:
            out.append((kind, path, grown, about))
    return out


def _about(before: int, after: int, mode: int, new: int, owner: tuple[int, int], other: tuple[int, int]) -> str:
    if before != after:
        return f"{f.size(before)}, then {f.size(after)}"
    if mode != new:
        return f"mode {mode & 0o7777:o}, then {new & 0o7777:o}"
    if owner != other:
        return f"{owner[0]}:{owner[1]}, then {other[0]}:{other[1]}"
    return "other bytes"
