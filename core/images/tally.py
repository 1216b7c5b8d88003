"""What is below each directory of a stack, by kind of change: so that a tree of any size can be folded and filtered."""

from __future__ import annotations

from pyctr.core.images.layerfiles import ADDED, CHANGED, DELETED, SAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyctr.core.images.stack import Entry, Stack

KINDS = (ADDED, CHANGED, DELETED, SAME)
_PLACE = {kind: place for place, kind in enumerate(KINDS)}
_WIDTH = len(KINDS)


def kind(entry: Entry, layer: int, whole: bool) -> str | None:
    """What one layer does to an entry, or, with `whole`, all layers up to it together; None when it is not seen.

    A directory that a layer only repeats is the SAME: it has to, to bring what is in it.
    """
    record = entry.record(layer)
    if record is None:
        return None
    if whole:
        if record.change == DELETED or record.is_directory:
            return DELETED if record.change == DELETED else ADDED
        writes = sum(1 for one in entry.records if one.layer <= layer and one.change != DELETED)
        return CHANGED if writes > 1 else ADDED
    if record.layer < layer:
        return None if record.change == DELETED else SAME
    if record.change == CHANGED and record.is_directory:
        before = entry.file(layer - 1)
        if before is not None and (before.mode, before.uid, before.gid) == (record.mode, record.uid, record.gid):
            return SAME
    return record.change


def count(stack: Stack, layer: int, whole: bool) -> Iterator[None]:
    """Give every directory its tally, an entry at a time (between two `next` the tallies are half of each)."""
    order = [stack.root]
    for entry in order:
        for child in entry.children.values():
            yield
            if child.children:
                order.append(child)
            else:
                child.tally = None
    for entry in reversed(order):
        tally = [0] * (3 * _WIDTH)
        for child in entry.children.values():
            yield
            found = kind(child, layer, whole)
            if found is not None:
                place = _PLACE[found]
                tally[place] += 1
                record = child.record(layer)
                if record is not None and not record.is_directory and not (record.change == DELETED and child.children):
                    tally[_WIDTH + place] += 1
                    tally[2 * _WIDTH + place] += record.was if record.change == DELETED else record.size
            if child.tally is not None:
                for place, number in enumerate(child.tally):
                    tally[place] += number
        entry.tally = tally


def shown(entry: Entry, kinds: Iterable[str]) -> bool:
    """Is anything of these kinds below a counted directory?"""
    return entry.tally is not None and any(entry.tally[_PLACE[one]] for one in kinds)


def below(entry: Entry, kinds: Iterable[str]) -> tuple[int, int]:
    """(files, bytes) of these kinds below a counted directory; for deletions the bytes that they hide."""
    if entry.tally is None:
        return 0, 0
    places = [_PLACE[one] for one in kinds]
    return (
        sum(entry.tally[_WIDTH + place] for place in places),
        sum(entry.tally[2 * _WIDTH + place] for place in places),
    )
