"""Every key, once: from this registry come the bindings, the footer, the palette, `:` and the help.

An action is carried out by the method `action_NAME` of the screen, or of the app if the screen has none.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from textual.binding import BindingType

    from pyctr.tui.snapshot import ContainerRow

    Rule = Callable[["ContainerRow | None", bool], bool]
    """(row under the cursor, read-only) -> does this key do something here and now"""


class Action:
    """`scope` is where it works: app, list (any list screen), containers, detail, logs, form."""

    def __init__(
        self,
        name: str,
        keys: str,
        label: str,
        help: str,
        *,
        scope: str,
        group: str,
        show: str = "",
        footer: int = 0,
        changes: bool = False,
        when: Callable[[ContainerRow], bool] | None = None,
        palette: bool = True,
    ) -> None:
        self.name = name
        self.keys = keys
        """Textual's key names, separated by commas."""
        self.label = label
        self.help = help
        self.scope = scope
        self.group = group
        self.show = show or keys.split(",")[0]
        """How the key is written in the footer and the help."""
        self.footer = footer
        """Place in the footer, 1 first; 0 keeps it out."""
        self.changes = changes
        """Refused in read-only mode."""
        self.when = when
        self.palette = palette and group != "Moving"

    def available(self, row: ContainerRow | None, read_only: bool) -> bool:
        if self.changes and read_only:
            return False
        if self.when is None:
            return True
        return row is not None and not row.busy and self.when(row)


def _status(*wanted: str) -> Callable[[ContainerRow], bool]:
    return lambda row: row.status in wanted


MOVING, FINDING, ACTING, LOOKING, PROGRAM = "Moving", "Finding", "Acting", "Looking", "Program"

ACTIONS: tuple[Action, ...] = (
    Action("up", "up,k", "up", "one row up", scope="list", group=MOVING, show="↑ k"),
    Action("down", "down,j", "down", "one row down", scope="list", group=MOVING, show="↓ j"),
    Action("top", "g,home", "first", "first row", scope="list", group=MOVING, show="g"),
    Action("bottom", "G,end", "last", "last row", scope="list", group=MOVING, show="G"),
    Action("page_up", "pageup,ctrl+u", "page up", "a page up", scope="list", group=MOVING, show="PgUp"),
    Action(
        "page_down",
        "pagedown,ctrl+d",
        "page down",
        "a page down",
        scope="list",
        group=MOVING,
        show="PgDn",
        palette=False,
    ),
    Action("open", "enter", "open", "details of the row", scope="list", group=MOVING, show="↵", footer=70),
    Action(
        "back",
        "escape",
        "back",
        "back, or drop filter and marks",
        scope="list",
        group=MOVING,
        show="Esc",
        palette=False,
    ),
    Action(
        "other_pane",
        "tab,shift+tab",
        "other pane",
        "list or details",
        scope="list",
        group=MOVING,
        show="Tab",
        palette=False,
    ),
    Action(
        "next_tab", "right_square_bracket", "next tab", "next tab of the details", scope="list", group=MOVING, show="]"
    ),
    Action("previous_tab", "left_square_bracket", "previous tab", "previous tab", scope="list", group=MOVING, show="["),
    Action(
        "stop",
        "s",
        "stop",
        "stop: SIGTERM, then SIGKILL after the timeout",
        scope="containers",
        group=ACTING,
        footer=10,
        changes=True,
        when=_status("running", "paused", "restarting"),
    ),
    Action(
        "start",
        "u",
        "start",
        "start it",
        scope="containers",
        group=ACTING,
        footer=11,
        changes=True,
        when=_status("created", "stopped"),
    ),
    Action(
        "pause",
        "p",
        "pause",
        "freeze or thaw it",
        scope="containers",
        group=ACTING,
        footer=12,
        changes=True,
        when=_status("running", "paused"),
    ),
    Action(
        "restart",
        "r",
        "restart",
        "stop and start",
        scope="containers",
        group=ACTING,
        footer=17,
        changes=True,
        when=_status("running", "paused", "stopped", "created", "restarting"),
    ),
    Action(
        "shell",
        "e",
        "shell",
        "a shell in the container",
        scope="containers",
        group=ACTING,
        footer=13,
        changes=True,
        when=_status("running"),
    ),
    Action("logs", "l", "logs", "its log, live", scope="containers", group=LOOKING, footer=14),
    Action(
        "attach",
        "a",
        "attach",
        "attach to its PID 1, ctrl-p ctrl-q leaves",
        scope="containers",
        group=ACTING,
        footer=21,
        changes=True,
        when=_status("running"),
    ),
    Action(
        "kill",
        "K",
        "kill",
        "send a signal",
        scope="containers",
        group=ACTING,
        footer=18,
        changes=True,
        when=_status("running", "paused"),
    ),
    Action(
        "remove",
        "d",
        "remove",
        "remove it (asks first)",
        scope="containers",
        group=ACTING,
        footer=15,
        changes=True,
        when=lambda row: True,
    ),
    Action("new", "n", "new", "create a container", scope="containers", group=ACTING, footer=19, changes=True),
    Action(
        "rename",
        "R",
        "rename",
        "another name",
        scope="containers",
        group=ACTING,
        changes=True,
        when=_status("created", "running", "paused", "restarting", "stopped"),
    ),
    Action(
        "limits",
        "m",
        "limits",
        "raise or lower the memory limit, live",
        scope="containers",
        group=ACTING,
        changes=True,
        when=_status("created", "running", "paused", "stopped"),
    ),
    Action("undo", "z", "undo", "take the last act back", scope="containers", group=ACTING, footer=9, changes=True),
    Action("mark", "space", "mark", "mark the row for a bulk act", scope="list", group=ACTING, show="space", footer=60),
    Action("bulk", "b", "bulk", "act on all marked rows", scope="containers", group=ACTING, footer=61, changes=True),
    Action("inspect", "i", "inspect", "everything known about it", scope="containers", group=LOOKING, footer=22),
    Action(
        "filter",
        "slash",
        "filter",
        "text, regex, !not, status:paused",
        scope="list",
        group=FINDING,
        show="/",
        footer=16,
    ),
    Action("faults", "f", "faults only", "only what needs you", scope="containers", group=FINDING, footer=64),
    Action(
        "sort_menu", "o", "order", "choose the column to sort by (or Shift and its letter)", scope="list", group=FINDING
    ),
    Action(
        "palette",
        "colon,ctrl+p",
        "command",
        "every command by name",
        scope="app",
        group=PROGRAM,
        show=":",
        footer=80,
        palette=False,
    ),
    Action("help", "question_mark,f1", "help", "this", scope="app", group=PROGRAM, show="?", footer=81),
    Action("left", "left,h", "left", "one to the left", scope="networks", group=MOVING, show="← h", palette=False),
    Action("right", "right,l", "right", "one to the right", scope="networks", group=MOVING, show="→ l", palette=False),
    Action("fold", "left,h", "fold", "fold it, or go to what it is on", scope="images", group=MOVING, show="← h"),
    Action(
        "unfold", "right,l", "unfold", "unfold it, or go to what is on it", scope="images", group=MOVING, show="→ l"
    ),
    Action(
        "pull_image",
        "p",
        "pull",
        "fetch an image from a registry",
        scope="images",
        group=ACTING,
        footer=10,
        changes=True,
    ),
    Action(
        "compare_images",
        "c",
        "compare",
        "what two marked images have differently",
        scope="images",
        group=LOOKING,
        footer=12,
    ),
    Action("view_file", "v", "view", "show the file under the cursor", scope="images", group=LOOKING, footer=13),
    Action("files_added", "A", "added", "files that were added: show or hide", scope="images", group=LOOKING),
    Action("files_changed", "C", "changed", "files that were changed: show or hide", scope="images", group=LOOKING),
    Action("files_deleted", "D", "deleted", "files that were deleted: show or hide", scope="images", group=LOOKING),
    Action("files_same", "U", "unchanged", "files from the layers below: show or hide", scope="images", group=LOOKING),
    Action(
        "files_whole",
        "w",
        "layer/all",
        "what this layer does, or all layers up to it together",
        scope="images",
        group=LOOKING,
        footer=17,
    ),
    Action(
        "remove_image",
        "d",
        "remove",
        "remove the image (asks first)",
        scope="images",
        group=ACTING,
        footer=15,
        changes=True,
    ),
    Action(
        "tag_image", "t", "tag", "give the image another name", scope="images", group=ACTING, footer=14, changes=True
    ),
    Action(
        "prune_images",
        "P",
        "prune",
        "remove the images that no container uses (asks first)",
        scope="images",
        group=ACTING,
        footer=16,
        changes=True,
    ),
    Action(
        "remove_volume",
        "d",
        "remove",
        "remove the volume (asks first)",
        scope="volumes",
        group=ACTING,
        footer=15,
        changes=True,
    ),
    Action("as_table", "t", "graph/table", "graph or table", scope="networks", group=LOOKING, footer=10),
    Action(
        "to_container",
        "c",
        "container",
        "the event's container",
        scope="events",
        group=LOOKING,
        footer=10,
        palette=False,
    ),
    Action("examine", "x", "examine", "ask doctor again, count the disk again", scope="host", group=LOOKING, footer=10),
    Action("chart_span", "v", "time span", "charts over 1, 5, 15 or 60 minutes", scope="containers", group=LOOKING),
    Action("next_theme", "T", "theme", "another theme", scope="app", group=PROGRAM),
    Action("redraw", "ctrl+l", "redraw", "draw everything anew", scope="app", group=PROGRAM, show="ctrl-l"),
    Action("quit", "q,ctrl+c,ctrl+q", "quit", "leave; containers go on", scope="app", group=PROGRAM, footer=90),
)

LOG_ACTIONS: tuple[Action, ...] = (
    Action("log_follow", "f", "follow", "follow new lines", scope="logs", group="Logs", footer=1),
    Action("log_search", "slash", "search", "search; n and N go on", scope="logs", group="Logs", show="/", footer=2),
    Action("log_next", "n", "next", "next match", scope="logs", group="Logs", footer=3),
    Action("log_previous", "N", "previous", "previous match", scope="logs", group="Logs", footer=4),
    Action(
        "log_filter",
        "ampersand",
        "filter",
        "only lines that match (empty: all)",
        scope="logs",
        group="Logs",
        show="&",
        footer=5,
    ),
    Action(
        "log_range",
        "0,1,2,3,4,5,6",
        "range",
        "0 the tail, 1 the head, 2-6 the last 1, 5, 15, 30, 60 minutes",
        scope="logs",
        group="Logs",
        show="0-6",
        footer=9,
        palette=False,
    ),
    Action("log_copy", "c", "copy", "copy the lines in sight to the clipboard", scope="logs", group="Logs", footer=10),
    Action("log_wrap", "w", "wrap", "wrap long lines", scope="logs", group="Logs", footer=6),
    Action("log_times", "t", "times", "timestamps", scope="logs", group="Logs", footer=7),
    Action(
        "log_save",
        "ctrl+s",
        "save",
        "write what is shown to a file",
        scope="logs",
        group="Logs",
        show="ctrl-s",
        footer=8,
    ),
)


def _form(name: str, keys: str, label: str, help: str, *, show: str, footer: int = 0) -> Action:
    return Action(name, keys, label, help, scope="form", group="New container", show=show, footer=footer)


FORM_ACTIONS: tuple[Action, ...] = (
    _form(
        "make_start",
        "ctrl+r",
        "create and start",
        "make the container and start it",
        show="ctrl-r",
        footer=1,
    ),
    _form("make", "ctrl+s", "create", "make the container", show="ctrl-s", footer=2),
    _form(
        "plan",
        "f2,ctrl+t",
        "plan",
        "form or plan, where only one fits",
        show="F2",
        footer=3,
    ),
    _form(
        "offer",
        "enter",
        "list",
        "what image, network and restart can be",
        show="↵",
        footer=4,
    ),
    _form("plan_up", "pageup", "plan up", "a page up in the plan", show="PgUp"),
    _form(
        "plan_down",
        "pagedown",
        "plan down",
        "a page down in the plan",
        show="PgDn",
        footer=6,
    ),
    _form("field_up", "up,shift+tab", "up", "field before", show="↑"),
    _form("field_down", "down,tab", "down", "next field", show="↓"),
    _form("leave", "escape", "cancel", "back, nothing is made", show="Esc", footer=80),
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
