"""The closer look: the document of the one tab that is on the screen."""

from __future__ import annotations

import threading

from pyctr.core import errors
from pyctr.tui import details
from pyctr.tui import format as f
from pyctr.tui.snapshot import SPANS, Detail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.engines.model import Foreign
    from pyctr.tui.containerlist import Known
    from pyctr.tui.others import Stranger
    from pyctr.tui.snapshot import Focus


class _View:
    """A tab's document as last collected, perhaps being collected anew."""

    def __init__(self) -> None:
        self.document: object = None
        self.error = ""
        self.taken = 0.0
        self.since = 0.0
        self.busy = False
        self.stamp = (0, 0)


class Closer:
    """Collects documents of tabs and keeps the one last shown."""

    def __init__(self, engine: Engine, now: Callable[[], float], wake: Callable[[], None]) -> None:
        self._engine = engine
        self._now = now
        self._wake = wake
        self._views: dict[tuple[str, str], _View] = {}
        self._guard = threading.Lock()

    def look(self, focus: Focus, known: Known | Stranger | None, moment: float, *, threads: bool) -> Detail | None:
        """The document of the visible tab. One that fails keeps the last good one and says why and since when.

        With `threads` it is read in one of its own: a sick disk or mount may hang a tab, never the list.
        """
        now = self._now()
        if known is None or focus.tab in ("", "logs"):  # a log has a follower of its own
            return None
        key = (focus.selected, focus.tab)
        with self._guard:
            view = self._views.get(key)
            if view is None:
                # only what is on the screen is kept
                self._views = {key: (view := _View())}
            due = not view.busy and (now - view.taken >= details.find(focus.tab).every or view.stamp != known.stamp)
            if due:
                view.busy, view.since, view.stamp = True, now, known.stamp
        if due and not threads:
            self._collect(view, focus.tab, known.container)
        elif due:
            threading.Thread(
                target=self._collect, args=(view, focus.tab, known.container), name=f"tab {focus.tab}", daemon=True
            ).start()
        with self._guard:
            document, error, taken = view.document, view.error, view.taken
            if view.busy and now - view.since > 3.0:
                error = f"still reading after {now - view.since:.0f} s"
        series, span = {}, focus.span
        if focus.tab in ("overview", "network"):
            # no wide empty chart after the first look: the span grows with what is known, up to the one chosen
            age = moment - known.history.begin(moment)
            span = next((one for one in SPANS if age <= one <= focus.span), focus.span)
            series = {
                metric: known.history.points(metric, moment - span)
                for metric in ("cpu", "memory", "net_rx", "net_tx", "io_read", "io_write")
            }
        return Detail(focus.selected, focus.tab, document, series, error, taken, span)

    def _collect(self, view: _View, tab: str, container: Container | Foreign) -> None:
        document, error = view.document, ""
        try:
            document = details.find(tab).collect(self._engine, container, view.document)
        except (OSError, errors.PyctrError, ValueError, KeyError) as problem:
            error = f.reason(problem)
        with self._guard:
            first = view.document is None
            view.document, view.error, view.busy = document, error, False
            if not error:
                view.taken = self._now()
        if first:
            self._wake()
