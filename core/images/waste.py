"""What an image carries for nothing.

Two measures of the same thing. `hidden` is exact: bytes of every file that a later layer replaces or deletes.
`efficiency` is what dive prints (its dive/filetree/efficiency.go and image.go), so that figures can be held against
each other: of every path that is a leaf in some layer it takes the sizes in all layers that have it; the score is the
sum of the smallest over the sum of all, wasted are all bytes of the paths that two layers or more have. A deleted file
counts as a size of 0, a deleted directory as one more path of the size it had. dive does not understand opaque
directories; here they are deletions of what they hide.
"""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core.images.layerfiles import DELETED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyctr.core.images.layerfiles import File
    from pyctr.core.images.stack import Entry, Stack


class Lost(NamedTuple):
    """One path that is in more than one layer."""

    path: str
    size: int
    """Bytes."""
    layers: int
    """How many layers have it, deletions included."""


class Waste:
    """Both measures of the layers up to one; complete when `step` has returned False."""

    def __init__(self, stack: Stack, layer: int) -> None:
        self.hidden: list[Lost] = []
        """Biggest first once complete."""
        self.inefficient: list[Lost] = []
        """dive's list: every path of two layers or more with all its bytes."""
        self._least = 0
        self._discovered = 0
        self._work = self._count(stack, layer)

    @property
    def hidden_size(self) -> int:
        return sum(lost.size for lost in self.hidden)

    @property
    def wasted(self) -> int:
        """dive's "potential wasted space", bytes."""
        return sum(lost.size for lost in self.inefficient)

    @property
    def efficiency(self) -> float:
        """dive's score: 1.0 is an image that has every path once."""
        return self._least / self._discovered if self._discovered else 1.0

    def step(self, entries: int) -> bool:
        return all(next(self._work, self) is not self for _ in range(entries))

    def _count(self, stack: Stack, layer: int) -> Iterator[None]:
        for path, entry in stack.entries():
            yield
            records = [record for record in entry.records if record.layer <= layer]
            if not records:
                continue
            gone = sum(record.size for record in records[:-1])
            if gone:
                self.hidden.append(Lost(path, gone, len(records)))
            self._dive(path, entry, [record for record in records if record.leaf and not record.implied])
        for found in (self.hidden, self.inefficient):
            found.sort(key=lambda lost: (-lost.size, lost.path))

    def _dive(self, path: str, entry: Entry, leaves: list[File]) -> None:
        if not leaves:
            return
        sizes = [_size(entry, record) for record in leaves]
        self._least += min(sizes)
        self._discovered += sum(sizes)
        if len(leaves) > 1:
            self.inefficient.append(Lost(path, sum(sizes), len(leaves)))


def _size(entry: Entry, record: File) -> int:
    if record.change != DELETED:
        return record.size
    before = entry.file(record.layer - 1)
    return record.was if before is not None and before.is_directory else 0


def measure(stack: Stack, layer: int) -> Waste:
    """All at once."""
    waste = Waste(stack, layer)
    while waste.step(1 << 20):
        pass
    return waste
