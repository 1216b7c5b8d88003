"""Who talks to whom, looked at again and again by a thread while somebody wants to see it."""

from __future__ import annotations

import threading

from pyctr.core import errors
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyctr.core.engine import Engine
    from pyctr.core.nettalks import Talk
    from pyctr.tui.format import Line
    from pyctr.tui.table import Look

INTERVAL = 2.0
"""Seconds between two looks."""


class Talking:
    """`told` is called in the thread after every look."""

    def __init__(self, make: Callable[[], Engine], told: Callable[[], None]) -> None:
        """`make` gives an engine for this thread alone."""
        self._make = make
        self._told = told
        self._ended = threading.Event()
        self.talks: Sequence[Talk] | None = None
        """By name; None before the first look."""
        self.problem = ""

    def start(self) -> None:
        threading.Thread(target=self._run, name="talks", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.talks, self.problem = self._look(), ""
            except (errors.PyctrError, OSError) as error:
                self.problem = f.reason(error)
            self._told()
            self._ended.wait(INTERVAL)

    def _look(self) -> Sequence[Talk]:
        return look(self._make())


def look(engine: Engine) -> Sequence[Talk]:
    """Once, by name. Raises OSError, PyctrError."""
    from pyctr.core import containers, netgraph, nettalks

    known = containers.all(engine)
    if engine.recorded is not None:
        return nettalks.named(engine.recorded.talks(), netgraph.graph(engine, known))
    graph = netgraph.graph(engine, known)
    return nettalks.named(nettalks.talks(graph, known, engine.paths.proc), graph)


def lines(talking: Talking, width: int, look: Look) -> list[Line]:
    """A line for each pair and port: who called whom, how many connections, bytes there and back."""
    if talking.problem:
        return [((f.neutral(talking.problem), "bad"),)]
    if talking.talks is None:
        return [((f"looking at the connections{look.glyphs.ellipsis}", "faint"),)]
    if not talking.talks:
        return [(("nobody talks to anybody", "muted"),)]
    half = max(12, (width - 36) // 2)
    head = f"{f.fit('WHO', half)}    {f.fit('TO', half)} CONNECTIONS  {look.glyphs.up:>6} {look.glyphs.down:>6}"
    out: list[Line] = [((head, "faint"),)]
    for talk in talking.talks:
        target = f"{f.neutral(talk.target)}:{talk.port}" + ("" if talk.protocol == "tcp" else f"/{talk.protocol}")
        counts = [f.size(value) if value is not None else look.glyphs.dot for value in (talk.sent, talk.received)]
        out.append(
            (
                (f.fit(f.cut(f.neutral(talk.source), half), half), "text"),
                (f" {f.fit(look.glyphs.arrow, 2)} ", "faint"),
                (f.fit(f.cut(target, half), half), "text"),
                (f" {talk.connections:>11}", "muted"),
                (f"  {counts[0]:>6} {counts[1]:>6}", "text"),
            )
        )
    return out
