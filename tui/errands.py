"""Starting, stopping and removing other engines' containers from the list: their engine is asked first, in a thread.

key ── is it there? (bounded) ──> the dialog with the very command ──> the command (bounded) ──> a word at the corner
"""

from __future__ import annotations

from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engines.model import Foreign
    from pyctr.tui.app import PyctrApp
    from pyctr.tui.snapshot import ContainerRow

DONE = {"start": "started", "stop": "stopped", "restart": "restarted", "remove": "removed"}


def ask(app: PyctrApp, verb: str, row: ContainerRow) -> None:
    """What the key of the verb does on such a row."""
    known = app.poller.others.known.get(row.id)
    if known is None:
        return
    one = known.container
    name = f.neutral(row.name)

    def probe() -> None:
        from pyctr.core.engines import acting

        words = acting.command(one, verb, *(["-f"] if verb == "remove" and one.running else []))
        acting.answers(one)
        app.call_from_thread(_confirm, app, verb, one, name, words)

    app.say(f"asking {row.engine}{app.look.glyphs.ellipsis}")
    app.acts.aside(f"cannot {verb} {name}", probe)


def _confirm(app: PyctrApp, verb: str, one: Foreign, name: str, words: list[str]) -> None:
    from pyctr.tui.widgets.dialogs import Confirm

    lines = [((f.neutral(" ".join(words)), "strong"),), (), ((f"{one.engine} does it, and answers now.", "muted"),)]
    if verb == "remove":
        lines.append((("What it has changed since its image is lost.", "bad"),))

    def answered(answer: str | None) -> None:
        if answer:
            app.acts.aside(f"cannot {verb} {name}", do)

    def do() -> None:
        from pyctr.core.engines import acting

        acting.act(one, verb, *(["-f"] if verb == "remove" and one.running else []))
        app.poller.others.again()
        app.poller.wake()
        app.call_from_thread(app.say, f"{DONE[verb]} {name}")

    app.push_screen(
        Confirm(f"{verb.capitalize()} {name}?", lines, [(verb, verb.capitalize())], danger=verb == "remove"), answered
    )
