"""A line to type in that keeps the order of what is typed, however fast it comes: pasted, or over a slow line."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.dom import DOMNode
from textual.message_pump import MessagePump
from textual.widgets import Input


class LineInput(Input):
    """Textual carries out bindings after the keys that follow them; here each key has its effect before the next.

    What is typed after Enter waits for what Enter does, and goes to whoever has the focus then.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ahead: list[events.Key] | None = None
        """Keys after an Enter whose effect is still to come."""

    async def _on_key(self, event: events.Key) -> None:
        if self._ahead is not None:
            _take(event)
            self._ahead.append(event)
            return
        if not self.has_focus or self.screen is not self.app.screen:
            _take(event)
            self.app.post_message(events.Key(event.key, event.character))
            return
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            _take(event)
            if binding.action == "submit":
                self._ahead = []
                self._climb(self.ancestors_with_self)
            await self.run_action(binding.action)
            return
        await super()._on_key(event)

    def _climb(self, way: list[DOMNode]) -> None:
        """The way that the answer takes from us to the app, one behind it: at the end everybody has acted on it."""
        if way and isinstance(way[0], MessagePump):
            way[0].call_later(self._climb, way[1:])
        elif self.has_focus and self.screen is self.app.screen:
            self.call_later(self._go_on)
        else:
            ahead, self._ahead = self._ahead or [], None
            for event in ahead:
                self.app.post_message(events.Key(event.key, event.character))

    async def _go_on(self) -> None:
        """Those that are still ours are not posted anew: they would come after later ones that are on their way."""
        ahead, self._ahead = self._ahead or [], None
        for event in ahead:
            await self._on_key(event)


def _take(event: events.Key) -> None:
    event.stop()
    event.prevent_default()
