"""What of Textual 8.2 stops an app on a busy host, put right. `tests/tui/test_mending.py` fails when it is not needed.

* A timer that rings once leaves its turn out when its time has passed before it begins, and one with a negative time
  counts backwards for ever: a notification shown late hangs the app, a resize may never be looked at. Such a timer
  rings at once here.
* A screen that is laid out for another size tells itself so. With two sizes in its queue (a window being dragged) each
  layout is followed by the other, for ever. A size that is no longer the terminal's is not told here.
"""

from __future__ import annotations

from typing import Any

from textual.events import Resize
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget

_begin = Timer.__init__


def _once(self: Timer, *words: Any, **options: Any) -> None:
    _begin(self, *words, **options)
    if self._repeat is not None:
        self._skip = False


def _told(self: Screen[Any], message: Message) -> bool:
    if isinstance(message, Resize) and message.size != self.app.size:
        return False
    return Widget.post_message(self, message)


def mend() -> None:
    """May be called again."""
    Timer.__init__ = _once  # type: ignore[method-assign]
    Screen.post_message = _told  # type: ignore[method-assign, assignment]
