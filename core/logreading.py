"""Reading a log of any form: its end, from a time on, all of it, and on as it grows."""

from __future__ import annotations

from pyctr.core import logfiles, logtail
from pyctr.core.logentries import CRI, Joiner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    from pyctr.core.logentries import Form, Line
    from pyctr.core.logfiles import LogFile

    class Source(Protocol):
        """Where the entries of a log come from."""

        def seek(self, tail: logtail.Tail | None, since: int | None, until: int | None) -> dict[str, int]:
            """Go to where the tail begins, or what was written at `since`, or before; per stream, the lines that come
            before the tail."""

        def written(self) -> Iterator[bytes]:
            """From there on what is there."""

        def growing(self, stop: int, current: Callable[[], None] | None) -> Iterator[bytes]:
            """What comes after it, as `read` does with `follow`."""

        def close(self) -> None: ...


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
    exactly the bytes that were written; a line longer than `logentries.LONGEST` comes in pieces. `since` and `until`
    are ns since the epoch, both inclusive; `tail` counts lines of what there was at `until`. With `follow` it goes on
    as the log grows (inotify(7)) until the descriptor `stop` becomes readable: a pidfd of the shim, or a pipe. `parts`
    gives unfinished lines as they come (prompts) instead of whole lines. `current` is called when a follower has had
    what there was at first. `form` is how entries are written. Raises OSError, and what the form's source does.
    """
    source: Source = form.source(path) if form.source is not None else Files(path, form)
    joiner = Joiner(form.parse, since, until)
    joiner.parts = parts and tail is None
    try:
        last = None if tail is None else logtail.Tail(tail, until, unfinished=not follow)
        joiner.surplus = source.seek(last, since, until)
        yield from _lines(source.written(), joiner)
        if follow and not joiner.over:
            if parts and tail is not None:
                begun = list(joiner.rest())
                yield from begun if tail else ()
            joiner.parts = parts
            joiner.surplus = {}
            yield from _lines(source.growing(stop, current), joiner)
        yield from joiner.rest()
    finally:
        source.close()


def _lines(entries: Iterable[bytes], joiner: Joiner) -> Iterator[Line]:
    for entry in entries:
        yield from joiner.feed(entry)
        if joiner.over:
            return


class Files:
    """The entries of a log in files. Raises OSError."""

    def __init__(self, path: str, form: Form) -> None:
        self._path = path
        self._form = form
        self._chain = logfiles.chain(path, form.flags, packed=form.packed)
        self._ends = [file.size for file in self._chain]
        """What is written from here on is for a follower: who writes fast enough would never be caught up with."""
        self._first = 0

    def seek(self, tail: logtail.Tail | None, since: int | None, until: int | None) -> dict[str, int]:
        if tail is not None:
            self._first, surplus = logtail.seek(self._chain, self._ends, tail, self._form)
            return surplus
        if since is not None:
            self._first = self._seek_time(since)
        return {}

    def written(self) -> Iterator[bytes]:
        for file, end in zip(self._chain[self._first :], self._ends[self._first :], strict=True):
            yield from file.entries(self._form.cut, end)

    def growing(self, stop: int, current: Callable[[], None] | None) -> Iterator[bytes]:
        from pyctr.core.logfollow import follow

        newest = self._chain.pop() if self._chain else None
        return follow(self._path, newest, stop, current, form=self._form)

    def close(self) -> None:
        for file in self._chain:
            file.close()

    def _seek_time(self, since: int) -> int:
        """Put the position at the first entry at or after `since`, or a little before; the index of its file."""
        chain, index = self._chain, 0
        for number in range(1, len(chain)):
            first = self._form.parse(_first(chain[number], self._form))
            if first is None or first[0] >= since:
                break
            index = number
        if chain and self._form.lines and not chain[index].packed:
            end = self._ends[index]
            chain[index].position, _ = logtail.bisect(chain[index], end, since - 1, self._form, unsure=True)
        return index


def _first(file: LogFile, form: Form) -> bytes:
    """The first entry of a file; b"" where there is none."""
    found = next(file.entries(form.cut), b"")
    file.position = 0
    return found
