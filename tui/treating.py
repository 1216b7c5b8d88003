"""Acts on a living container from its row, of any engine: which file gets which value is shown before, z takes it back.

key ── Choose what ── Ask the value ── read what stands there (a thread) ── Confirm ── write (a thread) ── z
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from pyctr.core import errors
from pyctr.tui import format as f
from pyctr.tui.acts import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyctr.core.cgroups.group import Manager
    from pyctr.core.engine import Engine
    from pyctr.core.intervention import Write
    from pyctr.core.processtree import Process
    from pyctr.core.targets import Target
    from pyctr.tui.app import PyctrApp
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow
    from pyctr.tui.widgets.dialogs import Choose, Confirm

TIMES = (("60", "60 seconds"), ("600", "10 minutes"), ("3600", "1 hour"))


class Limit(NamedTuple):
    """One that can be changed live."""

    name: str
    """Field of `spec.Limits`."""
    title: str
    example: str
    parse: Callable[[str], Any]
    """Raises ValueError."""
    before: Callable[[ContainerRow], str]
    """As it would be typed; "" for none."""


def parse_size(text: str) -> int | None:
    """Bytes of `256m`, `1.5g`, `1048576`; None if it is no size."""
    text = text.strip().lower().removesuffix("b").removesuffix("i")
    scale = 1
    if text and text[-1] in "kmgt":
        scale = 1024 ** ("kmgt".index(text[-1]) + 1)
        text = text[:-1]
    try:
        value = int(float(text) * scale)
    except (ValueError, OverflowError):
        return None
    return value if value > 0 else None


def _size(text: str) -> int:
    if text == "-1":
        return -1
    if (value := parse_size(text)) is None:
        raise ValueError
    return value


def _cpus(text: str) -> float:
    value = float(text)
    if not 0.01 <= value <= 4096:
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value != -1 and value < 1:
        raise ValueError
    return value


LIMITS = (
    Limit("memory", "memory", "a size such as 256m or 2g, -1 for none", _size,
          lambda row: f.size(row.memory_limit).lower() if row.memory_limit else ""),
    Limit("cpus", "CPU", "cores such as 0.5 or 2", _cpus, lambda row: f"{row.cpu_limit:g}" if row.cpu_limit else ""),
    Limit("pids", "processes", "a number such as 200, -1 for none", _count,
          lambda row: f"{row.pids_limit:.0f}" if row.pids_limit else ""),
)  # fmt: skip


def target(app: PyctrApp, engine: Engine, row: ContainerRow) -> Target:
    from pyctr.core import targets

    if not row.engine:
        return targets.find(engine, row.id)
    known = app.poller.others.known.get(row.id)
    if known is None:
        raise errors.NotFound(f"{row.name} is gone", hint="it has ended meanwhile")
    one = known.container
    return targets.Target(one.id, row.name, one.engine, one.group, one.pid)


def limits(app: PyctrApp, row: ContainerRow) -> None:
    """Which one, to what, for how long."""
    from pyctr.tui.widgets.dialogs import Ask, Choose

    name = f.neutral(row.name)
    used = {"memory": f.size(row.memory), "cpus": _cores(row), "pids": f.count(row.pids)}
    choices = [(one.name, one.title, f"now {used[one.name]} of {one.before(row) or 'unlimited'}") for one in LIMITS]

    def chosen(which: str | None) -> None:
        if not which:
            return
        limit = next(one for one in LIMITS if one.name == which)

        def check(text: str) -> str:
            try:
                limit.parse(text.strip())
            except ValueError:
                return limit.example
            return ""

        def answered(text: str | None) -> None:
            if text:
                _preview(app, row, {limit.name: limit.parse(text.strip())}, limit.title)

        hint = f"now {used[limit.name]} used; {limit.example}"
        app.push_screen(Ask(f"Limit of {limit.title}, {name}", limit.before(row), hint=hint, check=check), answered)

    app.push_screen(Choose(f"Limits of {name}", choices), chosen)


def _cores(row: ContainerRow) -> str:
    return "-" if row.cpu is None else f"{row.cpu / 100:.2f}"


def _preview(app: PyctrApp, row: ContainerRow, wanted: dict[str, Any], title: str) -> None:
    """One that does not run has no files to show: its record is changed."""
    if not row.live:
        app.acts.carry_out("update", [row], done=f"limit of {title} of {f.neutral(row.name)} changed", **wanted)
        return

    def read() -> None:
        from pyctr.core import treatment
        from pyctr.core.engine import Engine

        engine = Engine(app.poller.paths)
        writes = treatment.planned(engine, target(app, engine, row), wanted)
        app.call_from_thread(_confirm, app, row, wanted, title, writes)

    app.acts.aside(f"cannot change {f.neutral(row.name)}", read)


ROOM = 58
"""Columns of a dialog."""


def lines(writes: Sequence[Write]) -> list[Line]:
    """Directory by directory: the file, what stands there, what would."""
    from pyctr.core import intervention

    out: list[Line] = []
    before = ""
    for write in writes:
        directory = write.file.rpartition("/")[0]
        if directory != before:
            path = f.neutral(directory)
            out += [((path[at : at + ROOM], "faint"),) for at in range(0, len(path), ROOM)]
            before = directory
        change = f.neutral(intervention.shown(write.file, write.value, before=write.before))
        out.append((("  ", "text"), (f.cut(change, ROOM - 2), "strong")))
    return out


def _confirm(app: PyctrApp, row: ContainerRow, wanted: dict[str, Any], title: str, writes: tuple[Write, ...]) -> None:
    from pyctr.tui.widgets.dialogs import Confirm

    name = f.neutral(row.name)
    about = [*lines(writes), (), (("z takes it back; for 10 min: it ends by itself.", "muted"),)]
    answers = [("0", "Change"), ("600", "For 10 min")]

    def answered(answer: str | None) -> None:
        if answer:
            _change(app, row, wanted, float(answer), f"limit of {title} of {name} changed")

    app.push_screen(Confirm(f"Change {name}?", about, answers), answered)


def _change(app: PyctrApp, row: ContainerRow, wanted: dict[str, Any], after: float, done: str) -> None:
    from pyctr.core import reverts, treatment
    from pyctr.core.intervention import LIMITS as KIND

    made: list[tuple[Write, ...]] = []
    old: dict[str, Any] = {}

    def change(engine: Engine, row: ContainerRow) -> None:
        it = target(app, engine, row)
        if it.ours and not after:
            from pyctr.core import containers

            had = containers.find(engine, it.id).spec.limits.to_dict()
            old.update({name: had[name] for name in wanted})
        made.append(treatment.limit(engine, it, wanted, after))

    def back(engine: Engine, row: ContainerRow) -> None:
        it = target(app, engine, row)
        if after and (coming := reverts.pending(engine.paths, it.id, KIND)) is not None:
            reverts.carry_out(engine, coming)
        elif made:
            treatment.undo(engine, it, made[0], old)

    name = f.neutral(row.name)
    undo = Undo(f"limits of {name} as before", partial(app.acts.do, "update", back, [row], done=f"{name} as before"))
    if after:
        done += f" for {f.duration(after)}; Z keeps it"
    app.acts.do("update", change, [row], done=done, undo=undo)


def freeze_for(app: PyctrApp, row: ContainerRow) -> None:
    """Frozen now, thawed after a time that is chosen, also when this program has ended by then."""
    from pyctr.core import intervention, treatment
    from pyctr.tui.widgets.dialogs import Choose

    name = f.neutral(row.name)

    def chosen(seconds: str | None) -> None:
        if not seconds:
            return
        after = float(seconds)
        undo = Undo(f"resume {name}", partial(app.acts.do, "unpause", _thaw(app), [row], done=f"resumed {name}"))

        def freeze(engine: Engine, row: ContainerRow) -> None:
            treatment.freeze(engine, target(app, engine, row), after)

        done = f"paused {name}, it goes on in {f.duration(after)}; Z keeps it paused"
        app.acts.do("pause", freeze, [row], done=done, undo=undo)

    def ask(manager: Manager) -> None:
        choices = [(seconds, title, "then it goes on by itself") for seconds, title in TIMES]
        writes = [intervention.freeze(manager)]
        question = Choose(f"Freeze {name} for", choices, about=lines(writes))
        app.call_from_thread(_show, app, question, chosen)

    _look_first(app, row, f"cannot freeze {name}", ask)


def _show(app: PyctrApp, question: Confirm | Choose, answered: Callable[[str | None], None]) -> None:
    app.push_screen(question, answered)


def _look_first(app: PyctrApp, row: ContainerRow, failed: str, ask: Callable[[Manager], None]) -> None:
    """`ask` with its cgroup, in a thread."""

    def read() -> None:
        from pyctr.core.engine import Engine

        engine = Engine(app.poller.paths)
        ask(target(app, engine, row).manager(engine))

    app.acts.aside(failed, read)


def toggle_freeze(app: PyctrApp, row: ContainerRow) -> None:
    """`pause` and `unpause` of another engine's; each is the other's undo."""
    from pyctr.core import treatment

    def freeze(engine: Engine, row: ContainerRow) -> None:
        treatment.freeze(engine, target(app, engine, row))

    name, thaw = f.neutral(row.name), _thaw(app)
    steps = [("pause", freeze, "paused"), ("unpause", thaw, "resumed")]
    (verb, work, done), (opposite, back, undone) = steps[:: -1 if row.status == "paused" else 1]
    undo = Undo(f"{opposite} {name}", partial(app.acts.do, opposite, back, [row], done=f"{undone} {name}"))
    app.acts.do(verb, work, [row], done=f"{done} {name}", undo=undo)


def _thaw(app: PyctrApp) -> Callable[[Engine, ContainerRow], None]:
    def thaw(engine: Engine, row: ContainerRow) -> None:
        from pyctr.core import treatment

        treatment.thaw(engine, target(app, engine, row))

    return thaw


def signal(app: PyctrApp, row: ContainerRow, name: str, *, everyone: bool) -> None:
    """SIGKILL to all is asked again, with the file that does it where the kernel has one."""
    from pyctr.core import intervention, treatment
    from pyctr.tui.widgets.dialogs import Confirm

    whom = "every process of " if everyone else ""

    def send(engine: Engine, row: ContainerRow) -> None:
        treatment.signal(engine, target(app, engine, row), name, everyone=everyone)

    def go() -> None:
        app.acts.do("kill", send, [row], done=f"sent SIG{name} to {whom}{f.neutral(row.name)}")

    def ask(manager: Manager) -> None:
        write = intervention.kill(manager)
        count = len(manager.pids())
        about: list[Line] = [((f"{count} processes end at once, and nothing of it can be taken back.", "muted"),)]
        about += (
            lines([write])
            if write is not None
            else [(("This kernel has no cgroup.kill for it: one by one.", "muted"),)]
        )
        question = Confirm(f"Kill all of {f.neutral(row.name)}?", about, [("kill", "Kill all")], danger=True)
        app.call_from_thread(_show, app, question, lambda sure: go() if sure else None)

    if everyone and name == "KILL":
        _look_first(app, row, f"cannot kill {f.neutral(row.name)}", ask)
    else:
        go()


def signal_one(app: PyctrApp, row: ContainerRow, choices: Sequence[tuple[str, str]]) -> None:
    """Which process, which of the signals (name, what it does), and whether really."""
    from pyctr.core import processtree
    from pyctr.core.engine import Engine
    from pyctr.tui.widgets.dialogs import Choose, Confirm

    name = f.neutral(row.name)

    def read() -> None:
        engine = Engine(app.poller.paths)
        pids = target(app, engine, row).manager(engine).pids()
        found = processtree.read(pids, engine.paths.proc, engine.monotonic())
        app.call_from_thread(ask, {str(process.pid): process for process in found.rows})

    def ask(found: dict[str, Process]) -> None:
        rows = [(pid, pid, f.neutral(processtree.shown(process))) for pid, process in found.items()]
        app.push_screen(Choose(f"Process of {name}", rows), lambda pid: chosen(found[pid]) if pid else None)

    def chosen(process: Process) -> None:
        title = f"Send to {process.pid} of {name}"
        signals = [(signal, f"SIG{signal}", about) for signal, about in choices]
        app.push_screen(Choose(title, signals), lambda signal: confirm(process, signal) if signal else None)

    def confirm(process: Process, signal: str) -> None:
        about: list[Line] = [((f.cut(f.neutral(process.command), ROOM), "strong"),)]
        about.append(((f"{process.inside} in the container, {process.pid} on the host", "muted"),))
        title = f"Send SIG{signal} to process {process.pid}?"
        app.push_screen(Confirm(title, about, [("send", "Send")]), lambda sure: send(process, signal) if sure else None)

    def send(process: Process, signal: str) -> None:
        from pyctr.core import treatment

        def work(engine: Engine, row: ContainerRow) -> None:
            treatment.signal_process(engine, target(app, engine, row), process.pid, process.start_time, signal)

        app.acts.do("kill", work, [row], done=f"sent SIG{signal} to process {process.pid} of {name}")

    app.acts.aside(f"cannot look into {name}", read)


def keep(app: PyctrApp, row: ContainerRow) -> None:
    """What was done to it for a time stays done."""
    from pyctr.core import reverts
    from pyctr.core.engine import Engine
    from pyctr.core.intervention import FREEZE
    from pyctr.core.intervention import LIMITS as KIND

    name = f.neutral(row.name)
    try:
        it = target(app, Engine(app.poller.paths), row)
    except errors.PyctrError as problem:
        app.complain(f"cannot keep {name}", str(problem))
        return
    kept = [kind for kind in (FREEZE, KIND) if reverts.keep(app.poller.paths, it.id, kind)]
    app.say(f"{name} stays as it is" if kept else f"nothing is to be taken back of {name}")
