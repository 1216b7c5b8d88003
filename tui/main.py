"""`pyctr-tui`: the interactive face.

The host is looked at, and the first frame painted, before Textual is even imported: that import takes
longer than everything else together, and at 3 a.m. nobody wants to watch it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from pyctr.tui.engine import Poller
    from pyctr.tui.theming import Theme


def parser() -> argparse.ArgumentParser:
    import argparse

    from pyctr import __version__

    made = argparse.ArgumentParser(prog="pyctr-tui", description="Containers, live, in a terminal.")
    made.add_argument("--version", action="version", version=f"pyctr-tui version {__version__}")
    made.add_argument("--demo", action="store_true", help="start four small containers to look at (pyctr demo up)")
    made.add_argument("--triage", action="store_true", help="begin with who needs you, and why")
    made.add_argument("--read-only", action="store_true", help="change nothing; automatic without root")
    made.add_argument(
        "--theme", default=os.environ.get("PYCTR_THEME", ""), metavar="NAME", help="a theme or a .toml file"
    )
    made.add_argument("--ascii", action="store_true", help="plain ASCII instead of symbols and block characters")
    made.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks (default 1)")
    made.add_argument("--replay", metavar="FILE", help="look at what pyctr capture has recorded, anywhere, as anybody")
    made.add_argument("--root", metavar="DIR", help="where containers and images are (PYCTR_ROOT)")
    made.add_argument("--runroot", metavar="DIR", help="where sockets are (PYCTR_RUNROOT)")
    made.add_argument("--cgroup-parent", metavar="NAME", help="our part of the cgroup tree (PYCTR_CGROUP_PARENT)")
    made.add_argument("--bridge", metavar="NAME", help="default bridge (PYCTR_BRIDGE)")
    made.add_argument(
        "--engine",
        default=os.environ.get("PYCTR_ENGINES") or "all",
        metavar="NAME,...",
        help="whose containers: all (default), pyctr, docker, podman, systemd, ... (PYCTR_ENGINES)",
    )
    once = made.add_argument_group("one frame, then exit")
    once.add_argument("--once", action="store_true", help="print what the screen shows and exit")
    kind = once.add_mutually_exclusive_group()
    kind.add_argument("--text", action="store_true", help="as text (default)")
    kind.add_argument("--json", action="store_true", help="as data")
    kind.add_argument("--csv", action="store_true", help="as a table")
    kind.add_argument("--svg", action="store_true", help="as a picture")
    once.add_argument("--size", default="", metavar="WxH", help="columns and lines (default: the terminal, or 120x40)")
    once.add_argument("--select", default="", metavar="NAME", help="the container to show in detail")
    once.add_argument("--at", metavar="TIME", help="as it was at another time: 5m (ago), 03:12, a date")
    once.add_argument("--tab", default="overview", help="the tab of its details")
    once.add_argument("--screen", default="containers", help="the main screen: containers, images, …")
    return made


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    from pyctr.core import errors, thresholds
    from pyctr.core.paths import Paths
    from pyctr.tui import keymap, theming

    try:
        theme = theming.load(arguments.theme or theming.usual())
    except theming.ThemeError as error:
        return _fail(str(error), "pyctr-tui --theme dusk")
    try:
        keymap.customize()
    except keymap.KeymapError as error:
        return _fail(f"keys {error}", "docs/keys.md names all of them; without the file the usual keys work")
    size = _size(arguments.size)
    if size is None:
        return _fail(f"'{arguments.size}' is no size", "columns x lines, such as 120x40")
    from pyctr.tui.engine import Poller, why_read_only

    try:
        paths = Paths.from_environment(
            root=arguments.root, run=arguments.runroot, cgroup_parent=arguments.cgroup_parent, bridge=arguments.bridge
        )
        engines = _engines(arguments.engine)
        bounds = thresholds.load()
    except errors.UsageError as error:
        return _fail(error.message, error.hint)
    read_only = "asked for" if arguments.read_only else why_read_only(paths)
    replay = None
    try:
        if arguments.replay:
            from pyctr.tui.replay import Replay

            replay = Replay(arguments.replay, engines, bounds)
            poller: Poller = replay.poller
        else:
            interval = max(0.1, arguments.interval)
            poller = Poller(paths, interval=interval, read_only=read_only, engines=engines, bounds=bounds)
        if arguments.once:
            from pyctr.tui.once import once

            return once(poller, theme, arguments, size)
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return _fail("this is no terminal", "pyctr-tui --once prints one frame to anything")
        return _interactive(poller, theme, arguments, replay.close if replay is not None else lambda: None)
    except errors.UsageError as error:
        return _fail(error.message, error.hint)
    except errors.PyctrError as error:
        return _fail(error.message, error.hint, error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nor must the interpreter try again at its end
        return 141
    except OSError as error:
        return _fail(errors.from_oserror(error, "looking").message, code=1)
    finally:
        if replay is not None:
            replay.close()


def _engines(text: str) -> tuple[str, ...]:
    """Raises UsageError."""
    if text == "pyctr":
        return ("pyctr",)
    from pyctr.core.engines import lookup

    return lookup.engines(text)


def _fail(message: str, hint: str = "", code: int = 2) -> int:
    print(f"pyctr-tui: {message}", file=sys.stderr)
    if hint:
        print(f"  hint: {hint}", file=sys.stderr)
    return code


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        try:
            found = os.get_terminal_size(2)
        except OSError:
            return 120, 40
        return (found.columns, found.lines) if found.columns and found.lines else (120, 40)
    columns, by, lines = text.lower().partition("x")
    if by and columns.isdigit() and lines.isdigit() and int(columns) >= 20 and int(lines) >= 5:
        return int(columns), int(lines)
    return None


def _interactive(poller: Poller, theme: Theme, arguments: argparse.Namespace, leaving: Callable[[], None]) -> int:
    from pyctr.tui.firstframe import FirstFrame
    from pyctr.tui.guard import Guard

    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)  # Textual would believe these over the terminal, also after a resize
    if arguments.demo and not poller.read_only:
        _demo(poller)
    poller.others.later = True
    first = poller.collect()
    frame = FirstFrame(theme, ascii=arguments.ascii, leaving=leaving)
    frame.paint(first)
    poller.others.begin()  # looked for while Textual is imported: the first frame waits for nobody's disk
    guard = Guard()
    try:
        from pyctr.tui.app import PyctrApp

        def begun(app: PyctrApp) -> None:
            if frame.saved is not None:
                guard.stand(2, frame.saved)
            if arguments.triage:
                app.call_later(app.action_screen, "triage")

        app = PyctrApp(poller, theme=theme, ascii=arguments.ascii, first=first, tty=frame.saved, before=begun)
        app.run()
        code = app.return_code or 0
    finally:
        poller.stop()
        frame.restore()
        guard.dismiss()
        leaving()
    sys.stdout.flush()
    sys.stderr.flush()
    # followers and verbs are daemon threads: what they do is recorded by the core, nobody waits for them here
    os._exit(code)


def _demo(poller: Poller) -> None:
    """The demo's containers, started while the terminal still shows its progress."""
    from importlib import import_module

    def progress(text: str) -> None:
        print(f"pyctr demo: {text}", file=sys.stderr)

    import_module("pyctr.core.demo").up(poller.engine, progress)


if __name__ == "__main__":
    sys.exit(main())
