"""What the keys do to containers: the verbs, who is asked before, what can be taken back."""

from __future__ import annotations

from pyctr.tui import format as f
from pyctr.tui.acts import Undo
from pyctr.tui.snapshot import ContainerRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.tui.app import PyctrApp
    from pyctr.tui.format import Line
    from pyctr.tui.screens.base import BaseScreen as _Base
    from pyctr.tui.widgets.grid import Grid
else:

    class _Base:
        pass


SIGNALS = (
    ("TERM", "ask it to end"),
    ("KILL", "end it now, nothing is asked"),
    ("HUP", "many programs read their configuration again"),
    ("INT", "as Ctrl-C"),
    ("QUIT", "end, with a core dump or a graceful stop"),
    ("USR1", "whatever the program means by it"),
    ("USR2", "whatever the program means by it"),
    ("WINCH", "window changed; some servers stop gracefully"),
)

SHELL = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi"


class Verbs(_Base):
    """Part of a screen that has `grid` (rows are ContainerRow) and `current_row`."""

    grid: Grid

    @property
    def pyctr(self) -> PyctrApp:
        return self.app  # type: ignore[return-value]

    def _row(self, name: str) -> ContainerRow | None:
        """The row an action may be done to; a refusal is said aloud."""
        from pyctr.tui import keys

        app = self.pyctr
        action = keys.find(name)
        if action.changes and app.snapshot.read_only:
            app.complain("read-only", f"{app.snapshot.read_only}: nothing is changed from here")
            return None
        row = self.current_row()
        if row is None:
            return None
        if row.busy:
            app.say(f"{f.neutral(row.name)}: still {row.busy}")
            return None
        if action.changes and not action.reaches(row.engine):
            app.say(f"{f.neutral(row.name)} is {row.engine}'s: that is not done from here")
            return None
        if not action.available(row, False):
            app.say(f"{f.neutral(row.name)} is {row.status}: nothing to {keys.label(action, row)}")
            return None
        if (name, row.engine) in keys.ERRANDS:
            from pyctr.tui import errands

            errands.ask(app, name, row)
            return None
        return row

    def action_start(self) -> None:
        if row := self._row("start"):
            self.pyctr.acts.toggle("start", [row])

    def action_pause(self) -> None:
        if (row := self._row("pause")) and row.engine:
            from pyctr.tui import treating

            treating.toggle_freeze(self.pyctr, row)
        elif row:
            self.pyctr.acts.toggle("unpause" if row.status == "paused" else "pause", [row])

    def action_restart(self) -> None:
        if row := self._row("restart"):
            self.pyctr.acts.carry_out("restart", [row], done=f"restarted {f.neutral(row.name)}")

    def action_stop(self) -> None:
        if row := self._row("stop"):
            self._confirm_stop([row])

    def _confirm_stop(self, rows: Sequence[ContainerRow]) -> None:
        from pyctr.tui.widgets.dialogs import Confirm

        lines = [*self._names(rows), (), (("SIGTERM first, SIGKILL after the timeout. u starts it again.", "muted"),)]
        if any(row.auto_remove for row in rows):
            lines.append((("Made with --rm: it is removed once it ends.", "bad"),))

        def answered(answer: str | None) -> None:
            if not answer:
                return
            arguments: dict[str, Any] = {"timeout": 0.0} if answer == "now" else {}
            if any(row.auto_remove for row in rows):
                self.pyctr.acts.carry_out("stop", rows, done=f"stopped {_several(rows)}", **arguments)
            else:
                self.pyctr.acts.toggle("stop", rows, **arguments)

        self.app.push_screen(
            Confirm(f"Stop {_several(rows)}?", lines, [("stop", "Stop"), ("now", "Kill at once")]), answered
        )

    def action_kill(self) -> None:
        row = self._row("kill")
        if row is None:
            return
        from pyctr.tui import treating
        from pyctr.tui.widgets.dialogs import Choose

        choices = [(name, f"SIG{name}", about) for name, about in SIGNALS]
        choices += [(f"all {name}", f"SIG{name} to all", f"every process: {about}") for name, about in SIGNALS[:2]]
        choices.append(("one", "one process", "which one, and what, is asked next"))

        def answered(chosen: str | None) -> None:
            if chosen == "one":
                treating.signal_one(self.pyctr, row, SIGNALS)
            elif chosen:
                everyone, _, name = chosen.rpartition(" ")
                treating.signal(self.pyctr, row, name, everyone=bool(everyone))

        self.app.push_screen(Choose(f"Send to {f.neutral(row.name)}", choices), answered)

    def action_remove(self) -> None:
        if row := self._row("remove"):
            self._confirm_remove([row])

    def _confirm_remove(self, rows: Sequence[ContainerRow]) -> None:
        """Names what will be lost; the sizes are looked up in a thread and added when known."""
        from pyctr.tui.losses import Losses
        from pyctr.tui.widgets.dialogs import Confirm

        live = [row for row in rows if row.live or row.status == "restarting"]
        losses = Losses(self.pyctr.poller.paths, rows)
        lines = [*self._names(rows), (), *losses.lines(self.pyctr.look)]
        if live:
            lines.append(((f"{_several(live)} {'are' if len(live) > 1 else 'is'} still alive: killed first.", "bad"),))
        answers = [("remove", "Remove")]
        if losses.anonymous_volumes:
            answers.append(("volumes", "Remove + volumes"))

        def answered(answer: str | None) -> None:
            if answer:
                self.pyctr.acts.carry_out(
                    "remove", rows, done=f"removed {_several(rows)}", force=bool(live), volumes=answer == "volumes"
                )
                self.grid.clear_marks()

        self.app.push_screen(Confirm(f"Remove {_several(rows)}?", lines, answers, danger=True), answered)

    def _names(self, rows: Sequence[ContainerRow]) -> list[Line]:
        from pyctr.tui.container_table import message, state_style

        look = self.pyctr.look
        lines: list[Line] = []
        for row in rows[:10]:
            glyph = look.glyphs.state(row.status, failed=row.failed)
            about = ((row.status, "muted"),) if row.live else message(row, look, short=True)
            lines.append(
                ((f"{glyph} ", state_style(row)), (f.fit(f.neutral(row.name), 20), "strong"), (" ", "text"), *about)
            )
        if len(rows) > 10:
            lines.append(((f"  and {len(rows) - 10} more", "muted"),))
        return lines

    def action_rename(self) -> None:
        row = self._row("rename")
        if row is None:
            return
        from pyctr.tui.widgets.dialogs import Ask

        taken = {other.name for other in self.pyctr.snapshot.containers}

        def check(text: str) -> str:
            return f"'{text}' is taken" if text in taken and text != row.name else "" if text else "a name, please"

        def answered(name: str | None) -> None:
            if name and name != row.name:
                back = Undo(
                    f"rename {f.neutral(name)} back",
                    lambda: self.pyctr.acts.carry_out("rename", [row], new=row.name),
                )
                self.pyctr.acts.carry_out("rename", [row], done=f"now called {f.neutral(name)}", undo=back, new=name)

        self.app.push_screen(Ask(f"Rename {f.neutral(row.name)}", row.name, check=check), answered)

    def action_limits(self) -> None:
        if row := self._row("limits"):
            from pyctr.tui import treating

            treating.limits(self.pyctr, row)

    def action_freeze_for(self) -> None:
        if row := self._row("freeze_for"):
            from pyctr.tui import treating

            treating.freeze_for(self.pyctr, row)

    def action_keep(self) -> None:
        if row := self._row("keep"):
            from pyctr.tui import treating

            treating.keep(self.pyctr, row)

    def action_undo(self) -> None:
        if self.pyctr.snapshot.read_only:
            return
        self.pyctr.acts.take_back()

    def action_new(self) -> None:
        app = self.pyctr
        if app.snapshot.read_only:
            app.complain("read-only", f"{app.snapshot.read_only}: nothing is changed from here")
            return
        from pyctr.tui.screens.create import CreateScreen

        def made(id: str | None) -> None:
            if id:
                self.await_row(id)

        app.push_screen(CreateScreen(), made)

    def await_row(self, id: str) -> None:
        """Put the cursor on a container as soon as it is seen."""
        raise NotImplementedError

    def action_logs(self) -> None:
        """The logs of what is marked, or of the row under the cursor."""
        raise NotImplementedError

    def action_forensics(self) -> None:
        """What is on record of the deaths of the row under the cursor."""
        row = self.current_row()
        if row is None:
            return
        from pyctr.tui import forensics
        from pyctr.tui.widgets.page import Page

        page = Page(f"How {f.neutral(row.name)} died")
        page.show([(("reading", "faint"),)])
        app = self.pyctr
        app.push_screen(page)
        if row.engine:
            from pyctr.tui.container_table import message

            last = [] if row.live else [message(row, app.look)]
            page.show([*last, ((f"{row.engine} keeps no more of its deaths than the last exit code", "muted"),)])
            return
        forensics.read(app.poller.paths, row.id, lambda lines, about: app.call_later(page.show, lines, about))

    def action_bulk(self) -> None:
        rows = [row for row in self.grid.marked if not row.engine]
        app = self.pyctr
        if not rows:
            app.say("mark rows of pyctr's own with space first")
            return
        if app.snapshot.read_only:
            app.complain("read-only", f"{app.snapshot.read_only}: nothing is changed from here")
            return
        from pyctr.tui import keys
        from pyctr.tui.widgets.dialogs import Choose

        fits = {
            "start": [row for row in rows if keys.find("start").available(row, False)],
            "stop": [row for row in rows if keys.find("stop").available(row, False)],
            "pause": [row for row in rows if row.status == "running"],
            "unpause": [row for row in rows if row.status == "paused"],
            "restart": [row for row in rows if keys.find("restart").available(row, False)],
            "remove": list(rows),
        }
        labels = {"unpause": "resume"}
        choices = [(verb, labels.get(verb, verb), _several(some)) for verb, some in fits.items() if some]
        choices.insert(-1, ("logs", "logs", "as one, in the order of time"))

        def answered(verb: str | None) -> None:
            if not verb:
                return
            if verb == "logs":
                self.action_logs()
            elif verb == "remove":
                self._confirm_remove(fits[verb])
            elif verb == "stop":
                self._confirm_stop(fits[verb])
            elif verb == "restart":
                app.acts.carry_out(verb, fits[verb], done=f"restarted {_several(fits[verb])}")
            else:
                app.acts.toggle(verb, fits[verb])

        self.app.push_screen(Choose(f"{len(rows)} marked", choices), answered)

    def action_shell(self) -> None:
        if row := self._row("shell"):
            self._outside(["exec", "-it", row.id, "sh", "-c", SHELL], f"shell in {row.name}")

    def action_attach(self) -> None:
        if row := self._row("attach"):
            self._outside(["attach", row.id], f"attached to {row.name}, ctrl-p ctrl-q leaves")

    def _outside(self, arguments: list[str], title: str) -> None:
        """Hand the terminal to `pyctr ARGUMENTS` (its own process) and take it back when that ends."""
        import os
        import sys

        app = self.pyctr
        if not app.interactive:
            app.complain("no terminal", "there is no terminal to hand over here")
            return
        paths = app.poller.paths
        environment = {
            **os.environ,
            "PYCTR_ROOT": paths.root,
            "PYCTR_RUNROOT": paths.run,
            "PYCTR_CGROUP_PARENT": paths.cgroup_parent,
            "PYCTR_BRIDGE": paths.bridge,
        }
        with app.suspend():
            print(f"\x1b[2J\x1b[H{f.neutral(title)}", flush=True)
            try:
                # posix_spawn: this process has threads, fork is not safe in it
                pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "pyctr", *arguments], environment)
                _, status = os.waitpid(pid, 0)
                code = os.waitstatus_to_exitcode(status)
                problem = ""
            except OSError as error:
                code, problem = 1, str(error)
        if problem:
            app.complain(f"cannot run pyctr {arguments[0]}", problem)
        elif code in (125, 126, 127):
            app.complain(f"pyctr {arguments[0]} ended with {code}", "its message stood on the terminal")
        app.poller.wake()


def _several(rows: Sequence[ContainerRow]) -> str:
    return f.neutral(rows[0].name) if len(rows) == 1 else f"{len(rows)} containers"
