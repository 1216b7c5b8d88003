"""A line to type in that keeps the order of what is typed, however fast it comes: pasted, or over a slow line."""

from __future__ import annotations

from textual import events
from textual.widgets import Input


class LineInput(Input):
    """Textual carries out bindings after the keys that follow them; here each key has its effect before the next.

    Keys that were typed ahead and reach it after it lost the focus go to whoever has it now.
    """

    async def _on_key(self, event: events.Key) -> None:
        if not self.has_focus or self.screen is not self.app.screen:
            event.stop()
            event.prevent_default()
            self.app.post_message(events.Key(event.key, event.character))
            return
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            event.stop()
            event.prevent_default()
            await self.run_action(binding.action)
            return
        await super()._on_key(event)
