"""Doing things: every verb runs in its own daemon thread, says "stopping…" if it takes long, and reports once.

Nothing here forks: the core starts processes with posix_spawn only.
"""

from __future__ import annotations

import threading
from importlib import import_module

from pyctr.core import errors
from pyctr.core.engine import Engine
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyctr.tui.app import PyctrApp
    from pyctr.tui.snapshot import ContainerRow

PATIENCE = 0.3
"""Seconds after which a verb shows on its row."""
AT_ONCE = 8
"""Verbs of one bulk act that run side by side."""

DOING = {
    "start": "starting",
    "stop": "stopping",
    "pause": "pausing",
    "unpause": "resuming",
    "restart": "restarting",
    "kill": "signalling",
    "remove": "removing",
    "rename": "renaming",
    "update": "changing limits",
}
OPPOSITE = {"start": "stop", "stop": "start", "pause": "unpause", "unpause": "pause"}


class Undo:
    """How to take the last act back, in words and deed."""

    def __init__(self, text: str, run: Callable[[], None]) -> None:
        self.text = text
        self.run = run


class Acts:
    """The verbs of one app. `undo` is the last act that can be taken back."""

    def __init__(self, app: PyctrApp) -> None:
        self._app = app
        self.undo: Undo | None = None
        self.running = 0

    def carry_out(
        self,
        verb: str,
        rows: Sequence[ContainerRow],
        *,
        done: str = "",
        undo: Undo | None = None,
        **arguments: Any,
    ) -> None:
        """`lifecycle.VERB(engine, id, **arguments)` for each row; `done` is said if all went well."""

        def work(engine: Engine, row: ContainerRow) -> None:
            getattr(import_module("pyctr.core.lifecycle"), verb)(engine, row.id, **arguments)

        self.do(verb, work, rows, done=done, undo=undo)

    def do(
        self,
        verb: str,
        work: Callable[[Engine, ContainerRow], object],
        rows: Sequence[ContainerRow],
        *,
        done: str = "",
        undo: Undo | None = None,
    ) -> None:
        """`work(engine, row)` for each row, each in a thread of its own."""
        gate = threading.BoundedSemaphore(AT_ONCE)
        results: list[errors.PyctrError | OSError | None] = []
        for row in rows:
            self.running += 1
            threading.Thread(
                target=self._one,
                args=(verb, work, row, gate, results, len(rows), done, undo),
                name=f"{verb} {row.name}",
                daemon=True,
            ).start()

    def _one(
        self,
        verb: str,
        work: Callable[[Engine, ContainerRow], object],
        row: ContainerRow,
        gate: threading.BoundedSemaphore,
        results: list[errors.PyctrError | OSError | None],
        expected: int,
        done: str,
        undo: Undo | None,
    ) -> None:
        poller = self._app.poller
        shown = threading.Timer(PATIENCE, self._show, (row.id, DOING.get(verb, verb)))
        shown.daemon = True
        problem: errors.PyctrError | OSError | None = None
        with gate:
            shown.start()
            try:
                # an engine of its own: the poller's is the poller's thread's
                work(Engine(poller.paths), row)
            except (errors.PyctrError, OSError) as error:
                problem = error
            finally:
                shown.cancel()
                shown.join()
                poller.busy.pop(row.id, None)
                poller.wake()
        results.append(problem)
        self._post(self._finished, verb, row, problem, len(results) == expected, results, done, undo)

    def _post(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._app.call_from_thread(function, *arguments)
        except RuntimeError:
            pass  # the app has ended meanwhile; the verb itself was carried out

    def _show(self, id: str, text: str) -> None:
        self._app.poller.busy[id] = text
        self._app.poller.wake()

    def _finished(
        self,
        verb: str,
        row: ContainerRow,
        problem: errors.PyctrError | OSError | None,
        last: bool,
        results: list[errors.PyctrError | OSError | None],
        done: str,
        undo: Undo | None,
    ) -> None:
        self.running -= 1
        if problem is not None:
            name = f.neutral(row.name)
            hint = getattr(problem, "hint", "")
            self._app.complain(f"cannot {verb} {name}", f"{problem}" + (f"\n{hint}" if hint else ""))
        if last and not any(results):
            if undo is not None:
                self.undo = undo
            elif verb in OPPOSITE:
                self.undo = None
            if done:
                self._app.say(done, undo=undo is not None)
            if (main := self._app.main_screen) is not None:
                main.refresh_keys()

    def call(self, what: str, function: Callable[[Engine], object], *, done: str, source: str) -> None:
        """`function(engine)` in a thread of its own, then the documents of `source` anew; "cannot WHAT" if it fails."""

        def run() -> None:
            poller = self._app.poller
            problem: errors.PyctrError | OSError | None = None
            try:
                function(Engine(poller.paths))
            except (errors.PyctrError, OSError) as error:
                problem = error
            poller.sources.again(source)
            poller.wake()
            self._post(finished, problem)

        def finished(problem: errors.PyctrError | OSError | None) -> None:
            self.running -= 1
            if problem is None:
                self._app.say(done)
            else:
                hint = getattr(problem, "hint", "")
                self._app.complain(f"cannot {what}", f"{problem}" + (f"\n{hint}" if hint else ""))

        self.running += 1
        threading.Thread(target=run, name=what, daemon=True).start()

    def aside(self, failed: str, work: Callable[[], None]) -> None:
        """`work()` in a thread of its own; what goes wrong is said under the title `failed`."""

        def run() -> None:
            try:
                work()
            except (errors.PyctrError, OSError) as problem:
                hint = getattr(problem, "hint", "")
                said = f.neutral(str(problem)) + (f"\n{f.neutral(hint)}" if hint else "")
                self._post(self._app.complain, failed, said)
            except RuntimeError:
                pass  # the app has ended meanwhile
            finally:
                self.running -= 1

        self.running += 1
        threading.Thread(target=run, name=failed, daemon=True).start()

    def toggle(self, verb: str, rows: Sequence[ContainerRow], **arguments: Any) -> None:
        """A verb with an opposite: doing it back is the undo."""
        names = f.neutral(rows[0].name) if len(rows) == 1 else f"{len(rows)} containers"
        done = {"start": "started", "stop": "stopped", "pause": "paused", "unpause": "resumed"}[verb]
        back = Undo(f"{OPPOSITE[verb]} {names}", lambda: self.carry_out(OPPOSITE[verb], rows))
        self.carry_out(verb, rows, done=f"{done} {names}", undo=back, **arguments)

    def take_back(self) -> None:
        undo, self.undo = self.undo, None
        if undo is None:
            self._app.say("nothing to take back")
        else:
            self._app.say(undo.text)
            undo.run()
