"""What a removal destroys, looked up before it is asked for: sizes of logs and changes, anonymous volumes."""

from __future__ import annotations

import os
import time

from pyctr.core import fsutil
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.core.paths import Paths
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow
    from pyctr.tui.table import Look

PATIENCE = 0.05
"""Seconds the look may take: a dialog that opens at once and says "at least" beats an exact one that does not."""


class Losses:
    def __init__(self, paths: Paths, rows: Sequence[ContainerRow]) -> None:
        self._deadline = time.monotonic() + PATIENCE
        self.partial = False
        self.changes = 0
        self.logs = 0
        self.anonymous_volumes = 0
        self.named_volumes: list[str] = []
        for row in rows:
            self.changes += self._size(paths.container(row.id, "upper"))
            self.logs += self._size(paths.container(row.id, "log"))
            try:
                document = fsutil.read_json(paths.container(row.id, "state.json"))
            except (OSError, ValueError):
                continue
            for mount in document.get("spec", {}).get("mounts", ()):
                if mount.get("kind") == "volume":
                    if mount.get("source"):
                        self.named_volumes.append(str(mount["source"]))
                    else:
                        self.anonymous_volumes += 1

    def _size(self, path: str) -> int:
        """Bytes below a directory, hard links counted as often as they are there."""
        total = 0
        waiting = [path]
        while waiting:
            if time.monotonic() > self._deadline:
                self.partial = True
                return total
            try:
                with os.scandir(waiting.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        else:
                            total += entry.stat(follow_symlinks=False).st_size
            except OSError:
                continue  # not made yet, or gone meanwhile
        return total

    def lines(self, look: Look) -> list[Line]:
        more = "at least " if self.partial else ""
        text = f"Lost for good: {more}{f.size(self.changes)} of changes, logs ({f.size(self.logs)}), history."
        lines: list[Line] = [((text, "text"),)]
        kept = "Kept: images"
        if self.named_volumes:
            kept += f", named volumes {', '.join(sorted({f.neutral(name) for name in self.named_volumes}))}"
        if self.anonymous_volumes:
            plural = "s" if self.anonymous_volumes > 1 else ""
            kept += f", {self.anonymous_volumes} anonymous volume{plural} unless you say so"
        lines.append(((kept + ".", "muted"),))
        return lines
