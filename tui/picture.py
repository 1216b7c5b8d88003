"""One frame without a terminal: `--once --text` and `--once --svg`, and the snapshot tests."""

from __future__ import annotations

import asyncio

from pyctr.tui.app import PyctrApp

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from pyctr.tui.engine import Poller
    from pyctr.tui.snapshot import Snapshot
    from pyctr.tui.theming import Theme


def picture(
    poller: Poller,
    theme: Theme,
    snapshot: Snapshot,
    size: tuple[int, int],
    arguments: argparse.Namespace,
    selected: str,
    *,
    svg: bool = False,
) -> str:
    """The screen as it would look, with the container of the id `selected` and the tab asked for."""
    app = PyctrApp(poller, theme=theme, ascii=arguments.ascii, first=snapshot, live=False)

    async def run() -> str:
        async with app.run_test(size=size) as pilot:
            if arguments.screen != "containers":
                await app.action_screen(arguments.screen)
            await pilot.pause()
            show_tab = getattr(app.main_screen, "show_tab", None)
            if selected and show_tab is not None:
                show_tab(selected, arguments.tab)
            await pilot.pause()
            main: Any = app.main_screen
            if hasattr(main, "wait_until_current"):
                await asyncio.to_thread(main.wait_until_current)
                main.drain()
                await pilot.pause()
            app.take(poller.collect())
            await pilot.pause()
            return svg_of(app) if svg else text_of(app)

    return asyncio.run(run())


def text_of(app: PyctrApp) -> str:
    """The characters of the screen, line by line."""
    strips = app.screen._compositor.render_strips()
    return "".join(f"{strip.text.rstrip()}\n" for strip in strips)


def svg_of(app: PyctrApp) -> str:
    # some renderers drop the spaces a text begins with, unless told
    return app.export_screenshot(title="pyctr").replace("<svg ", '<svg xml:space="preserve" ', 1)
