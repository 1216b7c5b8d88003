"""Every key, once: from this registry come the bindings, the footer, the palette, `:` and the help.

An action is carried out by the method `action_NAME` of the screen, or of the app if the screen has none.
"""

from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from textual.binding import BindingType

    from pyctr.tui.snapshot import ContainerRow

    Rule = Callable[["ContainerRow | None", bool], bool]
    """(row under the cursor, read-only) -> does this key do something here and now"""


class Action:
    """`scope` is where it works: app, list (any list screen), one screen's list, logs, form."""

    def __init__(
        self,
        group: str,
        scope: str,
        name: str,
        keys: str,
        label: str,
        help: str,
        footer: int = 0,
        *,
        show: str = "",
        changes: bool = False,
        when: Callable[[ContainerRow], bool] | None = None,
        palette: bool = True,
        anyone: bool = False,
    ) -> None:
        self.group = group
        self.scope = scope
        self.name = name
        self.keys = keys
        """Textual's key names, separated by commas."""
        self.label = label
        self.help = help
        self.footer = footer
        """Place in the footer, 1 first; 0 keeps it out."""
        self.show = show or keys.split(",")[0]
        """How the key is written in the footer and the help."""
        self.changes = changes
        """Refused in read-only mode."""
        self.when = when
        self.anyone = anyone
        """Done by the kernel alone, so other engines' containers are no exception."""
        self.palette = palette and group != "Moving"

    def reaches(self, engine: str) -> bool:
        """Whether it can be done to a container of that engine; "" is ours."""
        joined = self.name == "shell" and engine in JOINED
        return not engine or self.anyone or joined or (self.name, engine) in ERRANDS

    def available(self, row: ContainerRow | None, read_only: bool) -> bool:
        if self.changes and read_only:
            return False
        if self.when is None:
            return True
        if self.changes and row is not None and not self.reaches(row.engine):
            return False  # it is another engine's to change
        return row is not None and not row.busy and self.when(row)


def _status(*wanted: str) -> Callable[[ContainerRow], bool]:
    return lambda row: row.status in wanted


_running = _status("running")
_alive = _status("running", "paused")
_stoppable = _status("running", "paused", "restarting")
_settled = _status("created", "running", "paused", "stopped")
_known = _status("created", "running", "paused", "restarting", "stopped")

MOVING, FINDING, ACTING, LOOKING, PROGRAM = "Moving", "Finding", "Acting", "Looking", "Program"

_move = partial(Action, MOVING)
_find = partial(Action, FINDING)
_act = partial(Action, ACTING, changes=True)
_treat = partial(_act, anyone=True)
_look = partial(Action, LOOKING)
_program = partial(Action, PROGRAM, "app")
_log = partial(Action, "Logs", "logs")
_form = partial(Action, "New container", "form")

ERRANDS = {
    (verb, engine)
    for verb in ("start", "stop", "restart", "remove")
    for engine in ("docker", "podman", "lxc", "nspawn")
}
"""What other engines are asked to do with their containers."""
JOINED = ("docker", "podman", "containerd", "kubernetes", "cri-o", "lxc", "nspawn", "other-pyctr", "oci")
"""Engines whose containers a shell can be opened in; a service of systemd has no inside."""


ACTIONS: tuple[Action, ...] = (
    _move("list", "up", "up,k", "up", "one row up", show="↑ k"),
    _move("list", "down", "down,j", "down", "one row down", show="↓ j"),
    _move("list", "top", "g,home", "first", "first row", show="g"),
    _move("list", "bottom", "G,end", "last", "last row", show="G"),
    _move("list", "page_up", "pageup,ctrl+u", "page up", "a page up", show="PgUp"),
    _move("list", "page_down", "pagedown,ctrl+d", "page down", "a page down", show="PgDn"),
    _move("list", "open", "enter", "open", "details of the row", 70, show="↵"),
    _move("list", "back", "escape", "back", "back, or drop filter and marks", show="Esc"),
    _move("list", "other_pane", "tab,shift+tab", "other pane", "list or details", show="Tab"),
    _move("list", "next_tab", "right_square_bracket", "next tab", "next tab of the details", show="]"),
    _move("list", "previous_tab", "left_square_bracket", "previous tab", "previous tab", show="["),
    _act("containers", "stop", "s", "stop", "stop: SIGTERM, then SIGKILL after the timeout", 10, when=_stoppable),
    _act("containers", "start", "u", "start", "start it", 11, when=_status("created", "stopped")),
    _treat("containers", "pause", "p", "pause", "freeze or thaw it", 12, when=_alive),
    _act("containers", "restart", "r", "restart", "stop and start", 17, when=_known),
    _act("containers", "shell", "e", "shell", "a shell in the container", 13, when=_running),
    _look("containers", "logs", "l", "logs", "its log, live", 14),
    _act("containers", "attach", "a", "attach", "attach to its PID 1, ctrl-p ctrl-q leaves", 21, when=_running),
    _treat("containers", "kill", "K", "kill", "send a signal", 18, when=_alive),
    _act("containers", "remove", "d", "remove", "remove it (asks first)", 15, when=lambda row: True),
    _act("containers", "new", "n", "new", "create a container", 19),
    _act("containers", "rename", "R", "rename", "another name", when=_known),
    _treat(
        "containers", "limits", "m", "limits", "raise or lower its limits, live, for a time if wished", when=_settled
    ),
    _treat(
        "containers", "freeze_for", "P", "freeze for", "freeze it for a time, then it goes on by itself", when=_running
    ),
    _act("containers", "undo", "z", "undo", "take the last act back", 9),
    _treat("containers", "keep", "Z", "keep", "what was done to it for a time stays done", when=_alive),
    _act("list", "mark", "space", "mark", "mark the row for a bulk act", 60, show="space", changes=False),
    _act("containers", "bulk", "b", "bulk", "act on all marked rows", 61),
    _look("containers", "forensics", "F", "forensics", "how it died before, and what tells why"),
    _look("containers", "inspect", "i", "inspect", "everything known about it", 22),
    _find("list", "filter", "slash", "filter", "text, regex, !not, status:paused", 16, show="/"),
    _find("containers", "faults", "f", "faults only", "only what needs you", 64),
    _find("list", "sort_menu", "o", "order", "choose the column to sort by (or Shift and its letter)"),
    _program("palette", "colon,ctrl+p", "command", "every command by name", 80, show=":", palette=False),
    _program("help", "question_mark,f1", "help", "this", 81, show="?"),
    _move("networks", "left", "left,h", "left", "one to the left", show="← h"),
    _move("networks", "right", "right,l", "right", "one to the right", show="→ l"),
    _move("images", "fold", "left,h", "fold", "fold it, or go to what it is on", show="← h"),
    _move("images", "unfold", "right,l", "unfold", "unfold it, or go to what is on it", show="→ l"),
    _act("images", "pull_image", "p", "pull", "fetch an image from a registry", 10),
    _look("images", "compare_images", "c", "compare", "what two marked images have differently", 12),
    _look("images", "view_file", "v", "view", "show the file under the cursor", 13),
    _look("images", "files_added", "A", "added", "files that were added: show or hide"),
    _look("images", "files_changed", "C", "changed", "files that were changed: show or hide"),
    _look("images", "files_deleted", "D", "deleted", "files that were deleted: show or hide"),
    _look("images", "files_same", "U", "unchanged", "files from the layers below: show or hide"),
    _look("images", "files_whole", "w", "layer/all", "what this layer does, or all layers up to it together", 17),
    _act("images", "remove_image", "d", "remove", "remove the image (asks first)", 15),
    _act("images", "tag_image", "t", "tag", "give the image another name", 14),
    _act("images", "prune_images", "P", "prune", "remove the images that no container uses (asks first)", 16),
    _act("volumes", "remove_volume", "d", "remove", "remove the volume (asks first)", 15),
    _look("networks", "as_table", "t", "graph/table", "graph or table", 10),
    _look(
        "networks", "check_reach", "c", "check", "whether it reaches another, a name or the internet", 11, when=_running
    ),
    _look("networks", "who_talks", "w", "who talks", "who talks to whom, with bytes where they are counted", 12),
    _look("events", "to_container", "c", "container", "the event's container", 10, palette=False),
    _look("posture", "rate_again", "x", "look again", "look again at what confines each of them", 65),
    _look("host", "examine", "x", "examine", "ask doctor again, count the disk again", 10),
    _look("containers", "chart_span", "v", "time span", "charts over 1, 5, 15 or 60 minutes"),
    _program("travel", "t", "time", "show another time: -5m, 03:12, a date"),
    _program("earlier", "comma", "earlier", "a step back in time", show=","),
    _program("later", "full_stop", "later", "a step forward in time", show="."),
    _program("present", "T", "now", "from the past back to now"),
    _program("next_theme", "ctrl+t", "theme", "another theme", show="ctrl-t"),
    _program("redraw", "ctrl+l", "redraw", "draw everything anew", show="ctrl-l"),
    _program("quit", "q,ctrl+c,ctrl+q", "quit", "leave; containers go on", 90),
)

LOG_ACTIONS: tuple[Action, ...] = (
    _log("log_follow", "f", "follow", "follow new lines", 1),
    _log("log_search", "slash", "search", "search; n and N go on", 2, show="/"),
    _log("log_next", "n", "next", "next match", 3),
    _log("log_previous", "N", "previous", "previous match", 4),
    _log("log_filter", "ampersand", "filter", "only lines that match (empty: all)", 5, show="&"),
    _log(
        "log_range",
        "0,1,2,3,4,5,6",
        "range",
        "0 the tail, 1 the head, 2-6 the last 1, 5, 15, 30, 60 minutes",
        9,
        show="0-6",
        palette=False,
    ),
    _log("log_copy", "c", "copy", "copy the lines in sight to the clipboard", 10),
    _log("log_wrap", "w", "wrap", "wrap long lines", 6),
    _log("log_times", "t", "times", "timestamps", 7),
    _log("log_save", "ctrl+s", "save", "write what is shown to a file", 8, show="ctrl-s"),
)


FORM_ACTIONS: tuple[Action, ...] = (
    _form("make_start", "ctrl+r", "create and start", "make the container and start it", 1, show="ctrl-r"),
    _form("make", "ctrl+s", "create", "make the container", 2, show="ctrl-s"),
    _form("plan", "f2,ctrl+t", "plan", "form or plan, where only one fits", 3, show="F2"),
    _form("offer", "enter", "list", "what image, network and restart can be", 4, show="↵"),
    _form("plan_up", "pageup", "plan up", "a page up in the plan", show="PgUp"),
    _form("plan_down", "pagedown", "plan down", "a page down in the plan", 6, show="PgDn"),
    _form("field_up", "up,shift+tab", "up", "field before", show="↑"),
    _form("field_down", "down,tab", "down", "next field", show="↓"),
    _form("leave", "escape", "cancel", "back, nothing is made", 80, show="Esc"),
)


AT_ONCE = ("quit", "field_up", "field_down", "leave", "filter", "log_search", "log_filter")
"""Carried out before the next key is looked at: whoever types fast never types into the field before."""


def in_scopes(*scopes: str) -> list[Action]:
    """The actions of these scopes, in the registry's order."""
    return [action for action in (*ACTIONS, *LOG_ACTIONS, *FORM_ACTIONS) if action.scope in scopes]


def find(name: str) -> Action:
    for action in (*ACTIONS, *LOG_ACTIONS, *FORM_ACTIONS):
        if action.name == name:
            return action
    raise KeyError(name)


def footer_actions(scopes: Iterable[str], row: ContainerRow | None, read_only: bool) -> list[Action]:
    """What the footer shows: only keys that do something here and now, most useful first."""
    chosen = [action for action in in_scopes(*scopes) if action.footer and action.available(row, read_only)]
    return sorted(chosen, key=lambda action: action.footer)


def label(action: Action, row: ContainerRow | None) -> str:
    """`pause` reads `resume` on a paused container."""
    if action.name == "pause" and row is not None and row.status == "paused":
        return "resume"
    return action.label


def bindings(*scopes: str) -> list[BindingType]:
    """Textual's bindings of these scopes. A key of `log_range` says which by its place."""
    from textual.binding import Binding

    made: list[BindingType] = []
    for action in in_scopes(*scopes):
        for place, key in enumerate(action.keys.split(",")):
            name = f"{action.name}({place})" if action.name == "log_range" else action.name
            made.append(Binding(key, name, action.label, show=False, priority=action.name in AT_ONCE))
    return made


def reference() -> str:
    """All keys as a Markdown document: docs/keys.md, held to this registry by a test."""
    groups: dict[str, list[Action]] = {}
    for action in (*ACTIONS, *LOG_ACTIONS, *FORM_ACTIONS):
        groups.setdefault(action.group, []).append(action)
    lines = ["# Keys of pyctr-tui", "", "Made from `tui/keys.py` by `python -m pyctr.tui.keys > docs/keys.md`.", ""]
    for group, actions in groups.items():
        lines += [f"## {group}", "", "| Key | | |", "|---|---|---|"]
        for action in actions:
            shown = " ".join(f"`{key}`" for key in action.show.split())
            lines.append(f"| {shown} | {action.label} | {action.help} |")
        lines.append("")
    lines += [
        "## Keys of your own",
        "",
        "`$XDG_CONFIG_HOME/pyctr/keys.toml` changes them; two things on one key are refused. The tables are the scopes",
        "and the names those of `tui/keys.py`:",
        "",
        "```toml",
        "[containers]",
        'stop = "x"',
        'remove = ["delete", "D"]',
        "[list]",
        'filter = "ctrl+f"',
        "```",
        "",
    ]
    lines.append(
        "Shift and the letter of a column sort by it: `N` name, `C` CPU, `M` memory, `P` pids, `D` disk, `U` up."
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
