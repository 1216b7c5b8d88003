"""One connectivity check as the interactive face sees it: a thread, the steps so far, how it ended."""

from __future__ import annotations

import threading

from pyctr.core import errors
from pyctr.core.engine import Engine
from pyctr.tui import format as f
from pyctr.tui.preview import wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyctr.core.netcheck import Step
    from pyctr.core.paths import Paths
    from pyctr.tui.format import Line
    from pyctr.tui.table import Look


class Check:
    """From one container to targets, one after another. `told` is called in the check's thread after every step."""

    def __init__(self, paths: Paths, source: str, name: str, told: Callable[[], None]) -> None:
        self._paths = paths
        self._source = source
        self._told = told
        self.name = name
        """Of the container that it goes out from."""
        self.target = ""
        self.steps: list[Step] = []
        self.running = False
        self.problem = ""
        self.hint = ""

    def start(self, target: str) -> None:
        self.target, self.steps, self.problem, self.hint = target, [], "", ""
        self.running = True
        threading.Thread(target=self._run, name=f"check {target}", daemon=True).start()

    def _run(self) -> None:
        try:
            for step in self._walk():
                self.steps = [*self.steps, step]
                self._told()
        except (errors.PyctrError, OSError) as error:
            self.problem, self.hint = f.reason(error), getattr(error, "hint", "")
        self.running = False
        self._told()

    def _walk(self) -> Iterator[Step]:
        from pyctr.core import netcheck

        return netcheck.check(Engine(self._paths), self._source, self.target)


_INDENT = 14
"""Cells before a step's words."""


def lines(check: Check, width: int, look: Look) -> list[Line]:
    """A line for each step, more where its words are many, and where it stops."""
    glyphs = look.glyphs
    out: list[Line] = []
    for step in check.steps:
        mark, style = (glyphs.ok, "good") if step.good else (glyphs.bad, "bad")
        for number, words in enumerate(wrap(f.neutral(step.words), max(16, width - _INDENT))):
            head = ((f.fit(mark, 3), style), (f.fit(step.name, _INDENT - 3), "text"))
            out.append((*head, (words, "muted")) if not number else ((" " * _INDENT, "text"), (words, "muted")))
    target, name = f.neutral(check.target), f.neutral(check.name)
    said: list[tuple[str, str]] = []
    if check.running:
        said = [(f"on the way to {target}{glyphs.ellipsis}", "faint")]
    elif check.problem:
        said = [(f.neutral(check.problem), "bad"), (f.neutral(check.hint), "muted")]
    elif check.steps:
        out.append(())
        stop = next((step for step in check.steps if not step.good), None)
        if stop is None:
            said = [(f"{name} reaches {target}", "good")]
        else:
            said = [(f"{name} does not reach {target}: it stops at '{stop.name}'", "bad")]
    return out + [((line, style),) for text, style in said if text for line in wrap(text, width)]
