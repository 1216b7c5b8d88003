"""Reading a log of any form that is in files: its end, from a time on, all of it, and on as it grows."""

from __future__ import annotations

import os
from collections import deque

from pyctr.core import logfiles
from pyctr.core.logentries import CRI, ForwardsOnly, Joiner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyctr.core.logentries import Form, Line
    from pyctr.core.logfiles import LogFile


def read(
    path: str,
    tail: int | None = None,
    since: int | None = None,
    until: int | None = None,
    follow: bool = False,
    *,
    stop: int = -1,
    parts: bool = False,
    current: Callable[[], None] | None = None,
    form: Form = CRI,
) -> Iterator[Line]:
    """(timestamp in ns, stream, line) of every line, rotated files included.

    A line keeps its newline; one without is output that has not ended yet, so that joining a stream's lines gives
    exactly the bytes that were written. `since` and `until` are ns since the epoch, both inclusive; `tail` counts
    lines. With `follow` it goes on as the file grows (inotify(7)) until the descriptor `stop` becomes readable:
    a pidfd of the shim, or a pipe. `parts` gives unfinished lines as they come (prompts) instead of whole lines.
    `current` is called when a follower has had what there was at first. `form` is how entries are written.
    """
    chain = logfiles.chain(path, form.flags, packed=form.packed)
    joiner = Joiner(parts and tail is None, form)
    try:
        lines = _written(chain, joiner, tail, since)
        if tail is not None:
            kept = deque(lines, maxlen=tail)
            if not follow:
                kept.extend(joiner.rest())
            lines = iter(kept)
        for line in lines:
            if until is not None and line[0] > until:
                return
            yield line
        if follow:
            from pyctr.core.logfollow import follow as growing

            if parts and tail is not None:
                begun = list(joiner.rest())
                yield from begun if tail else ()
            joiner.parts = parts
            newest = chain.pop() if chain else None
            for entry in growing(path, newest, stop, current, form=form):
                for line in joiner.feed(entry):
                    if until is not None and line[0] > until:
                        return
                    if since is None or line[0] >= since:
                        yield line
        yield from joiner.rest()
    finally:
        for file in chain:
            file.close()


def _written(chain: list[LogFile], joiner: Joiner, tail: int | None, since: int | None) -> Iterator[Line]:
    """What is in the files now, with some lines more than the tail before it; leaves the positions at the end."""
    form = joiner.form
    first = 0
    if tail is not None:
        first = seek_back(chain, tail, form)
    elif since is not None:
        first = _seek_time(chain, since, form)
    for file in chain[first:]:
        for entry in file.entries(form.cut):
            for line in joiner.feed(entry):
                if since is None or line[0] >= since:
                    yield line


def seek_back(chain: list[LogFile], count: int, form: Form) -> int:
    """Put the positions where the last `count` lines begin, or before; the index of the first file that has of them."""
    # one more than wanted: it is where the line before them ends
    wanted = count + 1
    for index in range(len(chain) - 1, -1, -1):
        file, missing = chain[index], wanted
        try:
            for end, entry in form.backwards(file):
                wanted -= form.whole(entry)
                if wanted <= 0:
                    file.position = end
                    return index
        except ForwardsOnly:
            # the caller keeps the last ones
            wanted = missing - sum(map(form.whole, file.entries(form.cut)))
            file.position = 0
            if wanted <= 0:
                return index
    return 0


def _seek_time(chain: list[LogFile], since: int, form: Form) -> int:
    """Put the position before the first entry at or after `since`, or a little before that; the index of its file."""
    index = 0
    for number in range(1, len(chain)):
        first = form.parse(_first(chain[number], form))
        if first is None or first[0] >= since:
            break
        index = number
    if not chain or chain[index].packed or not form.lines:
        return index
    low, high = 0, chain[index].size
    while high - low > logfiles.BLOCK:
        middle = (low + high) // 2
        skip, _, rest = os.pread(chain[index].fd, logfiles.BLOCK, middle).partition(b"\n")
        entry = form.parse(rest.partition(b"\n")[0])
        if entry is None or entry[0] >= since:
            high = middle
        else:
            low = middle + len(skip) + 1
    chain[index].position = low
    return index


def _first(file: LogFile, form: Form) -> bytes:
    """The first entry of a file; b"" where there is none."""
    found = next(file.entries(form.cut), b"")
    file.position = 0
    return found
