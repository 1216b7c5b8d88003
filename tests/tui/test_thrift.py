"""What the thrifty updates leave on a real terminal emulator is what the compositor thinks is there."""

from __future__ import annotations

import asyncio

import pyte
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from pyctr.core.paths import Paths
from pyctr.tui.app import PyctrApp
from pyctr.tui.engine import Poller
from pyctr.tui.thrift import change, codes
from tests.tui import rows


def test_a_change_of_colour_alone_sends_the_colour_alone() -> None:
    red = codes(Style.parse("#ff0000 on #000000"), ColorSystem.TRUECOLOR)
    green = codes(Style.parse("#00ff00 on #000000"), ColorSystem.TRUECOLOR)
    bold = codes(Style.parse("bold #00ff00 on #000000"), ColorSystem.TRUECOLOR)
    assert change(red, green, False) == ("\x1b[38;2;0;255;0m", green)
    assert change(red, green, True) == ("", red)
    assert change(bold, green, False)[0] == "\x1b[0;38;2;0;255;0;48;2;0;0;0m"


def _draw(stream: pyte.Stream, app: PyctrApp, *, full: bool) -> int:
    console = Console(force_terminal=True, color_system="truecolor", width=app.size.width)
    compositor = app.screen._compositor
    update = compositor.render_full_update() if full else compositor.render_partial_update()
    if update is None:
        return 0
    sequence = update.render_segments(console)
    stream.feed(sequence)
    return len(sequence.encode())


def test_partial_updates_leave_the_same_picture_as_a_full_one_and_cost_little() -> None:
    app = PyctrApp(Poller(Paths(root="/nonexistent/a", run="/nonexistent/b")), first=rows.snapshot(), live=False)
    sizes = []

    async def go() -> None:
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            partial, whole = pyte.Screen(120, 40), pyte.Screen(120, 40)
            stream = pyte.Stream(partial)
            _draw(stream, app, full=True)
            for step in range(1, 6):
                # the app would draw by itself on the next idle moment: here it is drawn by hand
                changed = tuple(
                    row._replace(cpu=step * 10.5, memory=step * 3e6, memory_of_limit=step * 19.0) if row.live else row
                    for row in rows.some()
                )
                app.take(rows.snapshot(changed, time=rows.NOW + step))
                if step == 3:
                    app.screen.grid.move_by(2)  # type: ignore[attr-defined]
                regions = set()
                for widget in app.screen.walk_children():
                    if widget.is_mounted and widget in app.screen._compositor.full_map:
                        regions.add(widget)
                app.screen._compositor.update_widgets(regions)  # type: ignore[arg-type]
                sizes.append(_draw(stream, app, full=False))
            _draw(pyte.Stream(whole), app, full=True)
            assert partial.display == whole.display
            for y in range(40):
                for x in range(120):
                    one, two = partial.buffer[y][x], whole.buffer[y][x]
                    assert (one.data, one.bg) == (two.data, two.bg), (x, y)
                    assert one.data == " " or one.fg == two.fg, (x, y)

    asyncio.run(go())
    assert all(sizes)
    assert max(sizes) < 2500
