"""The palette behind `:`: every action of the registry, every screen, theme and container, by name."""

from __future__ import annotations

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider

from pyctr.tui import format as f
from pyctr.tui import keys, theming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyctr.tui.app import PyctrApp

    Command = tuple[str, str, Callable[[], Any]]


class Commands(Provider):
    """What can be done here and now."""

    def _commands(self) -> Iterator[Command]:
        app: PyctrApp = self.app  # type: ignore[assignment]
        main = app.main_screen
        if main is None:
            return
        row = main.current_row()
        for action in keys.in_scopes(*{*main.SCOPES, "app"}):
            if not action.palette or not action.available(row, bool(app.snapshot.read_only)):
                continue
            target = main if hasattr(main, f"action_{action.name}") else app
            if not hasattr(target, f"action_{action.name}"):
                continue
            about = f" {f.neutral(row.name)}" if action.when is not None and row is not None else ""

            async def run(name: str = action.name, target: Any = target) -> None:
                await app.run_action(name, default_namespace=target)

            yield f"{keys.label(action, row)}{about}", f"{action.help}  [{action.show}]", run
        for entry in app.screen_entries:

            async def go(name: str = entry.name) -> None:
                await app.action_screen(name)

            yield f"go to {entry.title.lower()}", f"screen {entry.digit}", go
        for name in theming.available():
            yield f"theme {name}", "colours", lambda name=name: app.use_theme(name)  # type: ignore[misc]
        select = getattr(main, "select", None)
        if select is not None:
            for other in app.snapshot.containers:
                yield f"show {f.neutral(other.name)}", f.neutral(other.image), lambda id=other.id: select(id)  # type: ignore[misc]

    async def discover(self) -> Hits:
        for number, (text, about, run) in enumerate(self._commands()):
            if number > 60:
                return
            yield DiscoveryHit(_escape(text), run, text=text, help=_escape(about))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for text, about, run in self._commands():
            score = matcher.match(text)
            if score > 0:
                yield Hit(score, matcher.highlight(text), run, text=text, help=_escape(about))


def _escape(text: str) -> str:
    """Names are not markup."""
    from rich.markup import escape

    return escape(text)


def open_palette(app: PyctrApp) -> None:
    app.push_screen(CommandPalette(providers=[Commands], placeholder="command or container"))
