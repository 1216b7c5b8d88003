"""The create form: what a container shall be, what would be done for it, and only then a container."""

from __future__ import annotations

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from pyctr.core.engine import Engine
from pyctr.tui import form, keys, making, preview
from pyctr.tui import format as f
from pyctr.tui.form import Draft, Field
from pyctr.tui.widgets.bars import Footer, FrameTitle
from pyctr.tui.widgets.dialogs import Buttons, Choose
from pyctr.tui.widgets.lineinput import LineInput
from pyctr.tui.widgets.painted import PaintedLine, PaintedLines, look_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.tui.app import PyctrApp
    from pyctr.tui.format import Line

DEBOUNCE = 0.2
"""Seconds without a key after which the plan is made anew."""
PATIENCE = 0.3
"""Seconds after which a creation says that it goes on."""
TYPEABLE = r"[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*"
"""What a field takes: nothing that a terminal obeys, nothing that reads as something else than it is."""


class Caption(PaintedLine):
    """The name of a field, lit while one types in it; or what stands beside it."""

    def __init__(self, *, classes: str = "") -> None:
        super().__init__(classes=classes)
        self.words: Line = ()

    def say(self, *words: tuple[str, str]) -> None:
        self.words = words
        self.update_line()

    def compose_line(self, width: int) -> Line:
        room, out = width, []
        for text, style in self.words:
            text = f.cut(text, room, look_of(self).glyphs.ellipsis)
            out.append((text, style))
            room -= f.width(text)
        return tuple(out)


class Row(Horizontal):
    """Caption, text, and one line beside it that says what fits or what does not."""

    def __init__(self, field: Field) -> None:
        super().__init__(id=f"row-{field.name}", classes="row")
        self.field = field
        self.caption = Caption(classes="caption")
        self.input = LineInput(
            field.before, restrict=TYPEABLE, select_on_focus=field.choice, id=f"field-{field.name}", compact=True
        )
        self.input.cursor_blink = False
        self.note = Caption(classes="note")
        self.choices: list[tuple[str, str, str]] = []
        """What Enter offers: key, label, about."""

    def compose(self) -> ComposeResult:
        yield self.caption
        yield self.input
        yield self.note

    def show(self, complaint: tuple[str, str] | None) -> None:
        self.caption.say((self.field.label, "accent" if self.input.has_focus else "muted"))
        if complaint:
            self.note.say((f.neutral(complaint[0]), "bad"))
        elif self.field.choice:
            enter = "enter" if look_of(self).glyphs.ascii else "↵"
            self.note.say((enter, "key"), (f" lists {len(self.choices)}", "faint"))
        else:
            self.note.say((self.field.hint, "faint"))


class Toggle(PaintedLine, can_focus=True):
    """Something that is so or not."""

    BINDINGS = [
        Binding("space,enter", "switch", show=False),
        Binding("left", "screen.field_up", show=False),
        Binding("right", "screen.field_down", show=False),
    ]

    class Changed(Message):
        pass

    def __init__(self, name: str, label: str, about: str) -> None:
        super().__init__(id=f"toggle-{name}", classes="toggle")
        self.key = name
        self.label = label
        self.about = about
        self.is_on = False
        self.styles.width = len(label) + 6

    def compose_line(self, width: int) -> Line:
        style = "accent" if self.has_focus else "text" if self.is_on else "muted"
        return ((f"[{'x' if self.is_on else ' '}] ", "accent" if self.is_on else style), (self.label, style))

    def action_switch(self) -> None:
        self.is_on = not self.is_on
        self.update_line()
        self.post_message(self.Changed())

    def on_click(self) -> None:
        self.focus()
        self.action_switch()

    def on_focus(self) -> None:
        self.update_line()

    def on_blur(self) -> None:
        self.update_line()


class Answers(Buttons, inherit_bindings=False):
    """The buttons of the form: left and right choose, Tab goes on to the next field."""

    BINDINGS = [
        Binding("left,h", "choose(-1)", show=False),
        Binding("right,l", "choose(1)", show=False),
        Binding("enter,space", "answer", show=False),
    ]

    class Given(Message):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self) -> None:
        super().__init__([("make", "Create"), ("make_start", "Create and start")], danger=False)
        self.ground = "background"

    def answer(self, name: str) -> None:
        self.post_message(self.Given(name))


class CreateScreen(ModalScreen[str], inherit_bindings=False):
    """Dismisses with the id of the new container, "" if there is none."""

    CSS_PATH = "create.tcss"
    SCOPES = ("form",)
    BINDINGS = [*keys.bindings("form"), Binding("ctrl+c", "leave", show=False, priority=True)]
    AUTO_FOCUS = "#field-name"

    def __init__(self) -> None:
        super().__init__()
        self.rows = {field.name: Row(field) for field in form.FIELDS}
        self.reading = form.Reading(None, {})
        self.steps: list[tuple[str, str]] = []
        self.plan_trouble: tuple[str, str] | None = None
        self._complaints: dict[str, tuple[str, str]] = {}
        self._stale = True
        self._planner = making.Planner(lambda outcome: self.post_message(outcome))
        self._debounce: Timer | None = None
        self._asked = False
        self._tab = "form"
        self._busy = ""
        self._spinner: Timer | None = None
        self._turn = 0

    @property
    def pyctr(self) -> PyctrApp:
        return self.app  # type: ignore[return-value]

    def compose(self) -> ComposeResult:
        with Container(id="panes"):
            with Vertical(id="form-pane", classes="pane"):
                yield FrameTitle(id="form-title")
                with Vertical(classes="frame"):
                    with Vertical(id="fields"):
                        for group in form.GROUPS:
                            for field in group:
                                yield self.rows[field.name]
                            yield PaintedLine(classes="gap")
                        with Horizontal(classes="row"):
                            yield Caption(classes="caption options")
                            for toggle in form.TOGGLES:
                                yield Toggle(*toggle)
                    yield PaintedLines(id="word")
                    yield Answers()
            with Vertical(id="plan-pane", classes="pane"):
                yield FrameTitle(id="plan-title")
                with Vertical(classes="frame"):
                    yield PaintedLines(id="plan")
        yield Footer()

    def on_mount(self) -> None:
        for name in ("#word", "#plan"):
            self.query_one(name).can_focus = False
        self.query_one(".options", Caption).say(("Options", "muted"))
        self.rows["image"].choices = [(form.DEFAULT_IMAGE, form.DEFAULT_IMAGE, making.BASE_ABOUT)]
        self.rows["network"].choices = [(name, name, about) for name, about in form.NETWORKS]
        self.rows["restart"].choices = [(name, name, about) for name, about in form.RESTARTS]
        paths = self.pyctr.poller.paths
        making.in_thread("choices", lambda: self.post_message(making.choices(Engine(paths))))
        self._arrange(self.app.size.width)
        self._read()
        self._plan()

    def on_resize(self, event: events.Resize) -> None:
        self._arrange(event.size.width)
        self.call_after_refresh(self._show_plan)

    def _arrange(self, width: int) -> None:
        """Form and plan side by side, or one at a time."""
        beside = width >= 120
        self.set_class(beside, "-framed")
        self.set_class(self._tab == "plan" and not beside, "-plan")
        self._titles()

    @property
    def beside(self) -> bool:
        return self.has_class("-framed")

    def _titles(self) -> None:
        tabs = () if self.beside else (("form", "New container"), ("plan", "Plan"))
        for name, words in (("form", "New container"), ("plan", "Plan")):
            title = self.query_one(f"#{name}-title", FrameTitle)
            title.words = ((words, "strong"),) if self.beside else ()
            title.tabs, title.current = tabs, self._tab
            title.lit = name == "form"
            title.right = ((self._plan_state(), "faint"),) if name == "plan" or not self.beside else ()
            title.update_line()

    def _plan_state(self) -> str:
        if self.reading.spec is None:
            return "not complete"
        if self._stale:
            return "looking"
        return "cannot be made" if self.plan_trouble else "nothing is made yet"

    def draft(self) -> Draft:
        """What stands in the form."""
        return Draft(
            {name: row.input.value for name, row in self.rows.items()},
            {toggle.key for toggle in self.query(Toggle) if toggle.is_on},
        )

    @on(Input.Changed)
    @on(Toggle.Changed)
    def _changed(self) -> None:
        self._read()
        self._stale = True
        self._show_plan()
        if self._debounce is not None:
            self._debounce.stop()
        self._debounce = self.set_timer(DEBOUNCE, self._plan)

    def _read(self) -> None:
        self.reading = form.read(self.draft(), {row.name for row in self.pyctr.snapshot.containers})
        self._complaints = dict(self.reading.complaints)
        self._show_words()

    def _show_words(self) -> None:
        for name, row in self.rows.items():
            row.show(self._complaints.get(name))
        self._say()
        self._refresh_footer()

    def _refresh_footer(self) -> None:
        footer = self.query_one(Footer)
        footer.scopes = self.SCOPES
        row = self._row()
        without = {"offer"} if row is None or not row.field.choice else set()
        if self.beside:
            without.add("plan")
        elif self._tab == "form":
            without.add("plan_down")
        footer.without = frozenset(without)
        footer.update_line()

    def _row(self) -> Row | None:
        """The row one types in."""
        parent = self.focused.parent if self.focused is not None else None
        return parent if isinstance(parent, Row) else None

    def _say(self) -> None:
        """Two lines below the fields: what is wrong with this one, or with another when asked, or what this one is."""
        lines: list[Line] = []
        row = self._row()
        complaint = self._complaints.get(row.field.name) if row is not None else None
        if self._busy:
            turns = "|/-\\" if self.pyctr.look.glyphs.ascii else "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
            lines = [((f"{turns[self._turn % len(turns)]} ", "accent"), (self._busy, "text"))]
        elif row is not None and complaint:
            lines = self._wrong(row.field.label, *complaint)
        elif self._asked and self._complaints:
            name, complaint = next(iter(self._complaints.items()))
            lines = self._wrong(self.rows[name].field.label, *complaint)
        elif self.plan_trouble and not self._stale:
            lines = self._wrong("", *self.plan_trouble)
        elif isinstance(self.focused, Toggle):
            lines = [((f"{self.focused.label}: ", "strong"), (self.focused.about, "muted"))]
        self.query_one("#word", PaintedLines).show([*lines, (), ()][:2])

    def _wrong(self, label: str, reason: str, hint: str) -> list[Line]:
        """Reason and hint in two lines; a long reason takes both."""
        width = max(20, self.query_one("#word").size.width)
        title = f"{label}: " if label else ""
        first, *rest = preview.wrap(f"{title}{f.neutral(reason)}", width)
        if rest:
            return [((first, "bad"),), ((f.cut(" ".join(rest), width), "bad"),)]
        return [((title, "strong"), (first[len(title) :], "bad")), ((f.cut(f.neutral(hint), width), "muted"),)]

    def on_descendant_focus(self) -> None:
        self._show_words()

    def _plan(self) -> None:
        if self.reading.spec is None:
            self._show_plan()
            return
        self._planner.want(self.pyctr.poller.paths, self.reading.spec)

    @on(making.Planned)
    def _planned(self, message: making.Planned) -> None:
        if message.spec is not self.reading.spec:
            return  # typed on meanwhile; the next one is on its way
        self._stale = False
        self.plan_trouble = (message.problem, message.hint) if message.problem else None
        if not message.problem:
            self.steps = message.steps
        self._complaints = dict(self.reading.complaints)
        if message.field:
            self._complaints[message.field] = (message.problem, message.hint)
        self._show_words()
        self._show_plan()

    def _show_plan(self) -> None:
        view = self.query_one("#plan", PaintedLines)
        width = max(20, view.scrollable_content_region.width or 40)
        trouble = None if self._stale else self.plan_trouble
        faint = self.reading.spec is None or trouble is not None
        lines: list[Line] = []
        if faint:
            wrong = [f"{self.rows[name].field.label}: {reason}" for name, (reason, _) in self._complaints.items()]
            if trouble and not wrong:
                wrong = [trouble[0]]
            for text in wrong:
                lines += [((f"  {piece}", "bad"),) for piece in preview.wrap(f.neutral(text), max(16, width - 4))]
            lines.append(())
        view.show([*lines, *preview.lines(self.steps, width, faint=faint)])
        self._titles()

    @on(making.Offered)
    def _offered(self, message: making.Offered) -> None:
        self.rows["image"].choices = message.images
        built_in = [(name, name, about) for name, about in form.NETWORKS]
        self.rows["network"].choices = [*built_in, *message.networks]
        self._show_words()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        row = self._row()
        if row is not None and row.field.choice:
            self.action_offer()
        else:
            self.action_field_down()

    @on(FrameTitle.TabClicked)
    def _tab_clicked(self, message: FrameTitle.TabClicked) -> None:
        self._tab = message.name
        self._arrange(self.app.size.width)
        self.call_after_refresh(self._show_plan)

    def action_offer(self) -> None:
        row = self._row()
        if row is None or not row.choices:
            return
        values = [value for value, _, _ in row.choices]
        chosen = values.index(row.input.value) if row.input.value in values else 0

        def answered(value: str | None) -> None:
            if value:
                row.input.value = value
                row.input.cursor_position = len(value)

        self.app.push_screen(Choose(row.field.label, row.choices, chosen), answered)

    def action_field_up(self) -> None:
        self._to_form()
        self.focus_previous()

    def action_field_down(self) -> None:
        self._to_form()
        self.focus_next()

    def _to_form(self) -> None:
        if self._tab == "plan":
            self.action_plan()

    def action_plan(self) -> None:
        self._tab = "form" if self._tab == "plan" else "plan"
        self._arrange(self.app.size.width)
        self._refresh_footer()
        self.call_after_refresh(self._show_plan)

    def action_plan_up(self) -> None:
        self._page(-1)

    def action_plan_down(self) -> None:
        self._page(1)

    def _page(self, direction: int) -> None:
        view: Widget = self.query_one("#plan" if self.beside or self._tab == "plan" else "#fields")
        view.scroll_relative(y=direction * max(1, view.size.height - 1), animate=False)

    @on(Answers.Given)
    def _answered(self, message: Answers.Given) -> None:
        if message.name:
            self._make(start=message.name == "make_start")
        else:
            self.action_leave()

    def action_leave(self) -> None:
        if self._busy:
            self.pyctr.say(f"still {self._busy}")
        else:
            self.dismiss("")

    def action_make(self) -> None:
        self._make(start=False)

    def action_make_start(self) -> None:
        self._make(start=True)

    def _make(self, *, start: bool) -> None:
        app = self.pyctr
        if self._busy:
            return
        if app.snapshot.read_only:
            app.complain("read-only", f"{app.snapshot.read_only}: nothing is changed from here")
            return
        self._read()
        self._asked = True
        spec = self.reading.spec
        if spec is None:
            self._to_form()
            self.rows[next(iter(self._complaints))].input.focus()
            self._show_words()
            return
        self._busy = f"creating {f.neutral(spec.name or spec.image)}"
        self._spinner = self.set_timer(PATIENCE, self._spin)
        paths = app.poller.paths
        making.in_thread("create", lambda: self.post_message(making.make(Engine(paths), spec, start=start)))

    def _spin(self) -> None:
        self._turn += 1
        self._say()
        self._spinner = self.set_timer(0.1, self._spin)

    @on(making.Made)
    def _made(self, message: making.Made) -> None:
        if self._spinner is not None:
            self._spinner.stop()
        self._busy = ""
        app = self.pyctr
        if message.problem:
            app.complain(message.problem, message.hint)
            self._say()
            return
        app.say(f"{'started' if message.started else 'created'} {f.neutral(message.name)}")
        self.dismiss(message.id)
