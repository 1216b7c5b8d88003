"""One pull from a registry as the interactive face sees it: a thread, what is known of each layer, how it ended.

A cut or failed pull is begun again with `start`; what came is kept by the core and taken up.
"""

from __future__ import annotations

import threading
import time

from pyctr.core import errors
from pyctr.core.engine import Engine
from pyctr.core.images.progress import DONE, DOWNLOADING, EXISTS, NOTE, UNPACKING, WAITING, Progress
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.images.transport import Cancel
    from pyctr.core.paths import Paths
    from pyctr.tui.format import Line
    from pyctr.tui.table import Look

IDLE, RUNNING, STOPPED, FAILED, READY = "idle", "running", "stopped", "failed", "ready"
WORDS = {WAITING: "waiting", EXISTS: "is here", DOWNLOADING: "downloading", UNPACKING: "unpacking", DONE: "done"}
_INTERVAL = 0.1
"""Seconds between two words to the screen."""


class Pull:
    """`told` is called in the pull's thread, at most ten times a second and at the end."""

    def __init__(self, paths: Paths, told: Callable[[], None]) -> None:
        self._paths = paths
        self._told = told
        self._cancel: Cancel | None = None
        self._next = 0.0
        self.name = ""
        self.platform = ""
        self.state = IDLE
        self.layers: dict[str, Progress] = {}
        """What was last heard of each, in the manifest's order."""
        self.note = ""
        self.problem = ""
        self.hint = ""

    @property
    def running(self) -> bool:
        return self.state == RUNNING

    def start(self, name: str, platform: str = "") -> None:
        from pyctr.core.images.transport import Cancel

        self.name, self.platform = name, platform
        self.layers, self.note, self.problem, self.hint = {}, "", "", ""
        self.state = RUNNING
        self._cancel = Cancel()
        threading.Thread(target=self._run, args=(self._cancel,), name=f"pull {name}", daemon=True).start()

    def stop(self) -> None:
        """The thread ends soon and says so."""
        if self._cancel is not None:
            self.note = "stopping"
            self._cancel.set()

    def _run(self, cancel: Cancel) -> None:
        from pyctr.core.images.pull import pull
        from pyctr.core.images.transport import Cancelled

        engine = Engine(self._paths)
        try:
            found = pull(
                engine.images, engine.layers, self.name, platform=self.platform, progress=self._hear, cancel=cancel
            )
            engine.events.record("pull", found.id, self.name, type="image")
            self.state = READY
        except Cancelled:
            self.state = STOPPED
        except (errors.PyctrError, OSError) as error:
            self.problem, self.hint = f.reason(error), getattr(error, "hint", "")
            self.state = STOPPED if cancel.wanted else FAILED
        self.note = ""
        self._told()

    def _hear(self, event: Progress) -> None:
        if event.what == NOTE:
            self.note = event.text
        else:
            before = self.layers.get(event.digest)
            if before is None or before.what != DONE:
                self.layers[event.digest] = event
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _INTERVAL
            self._told()

    @property
    def done(self) -> int:
        """Bytes of layers that are here."""
        return sum(event.total if event.what in (DONE, EXISTS, UNPACKING) else event.done for event in self._events)

    @property
    def total(self) -> int:
        return sum(event.total for event in self._events)

    @property
    def _events(self) -> list[Progress]:
        return list(self.layers.values())


def lines(pull: Pull, width: int, height: int, look: Look) -> list[Line]:
    """A line per layer with its bar; where there are more than fit, those that move."""
    events = list(pull.layers.items())
    room = max(1, height - 2)
    if len(events) > room:
        events = [pair for pair in events if pair[1].what not in (DONE, EXISTS)][:room]
    out: list[Line] = [_layer(digest, event, width, look) for digest, event in events]
    here = sum(event.what in (DONE, EXISTS) for event in pull.layers.values())
    if pull.layers:
        share = 100 * pull.done // pull.total if pull.total else 100
        words = f"{here} of {len(pull.layers)} layers, {f.size(pull.done)} of {f.size(pull.total)}, {share}%"
        out += [(), ((words, "strong"),)]
    return out


def _layer(digest: str, event: Progress, width: int, look: Look) -> Line:
    word = WORDS.get(event.what, event.what)
    head = f"{digest[7:19]} "
    size = f"{f.size(event.total):>5}"
    bar = max(8, width - len(head) - 13 - 7)
    if event.what == DOWNLOADING and event.total:
        full = bar * 8 * event.done // event.total
        text = look.glyphs.full * (full // 8) + look.glyphs.eighths[full % 8]
        middle = ((f.fit(text, bar), "accent"),)
    elif event.what == UNPACKING:
        middle = ((look.glyphs.full * bar, "accent"),)
    else:
        middle = ((" " * bar, "text"),)
    style = {DONE: "good", EXISTS: "faint", WAITING: "faint"}.get(event.what, "text")
    return ((head, "faint"), (f.fit(word, 12), style), *middle, (f" {size}", "muted"))
