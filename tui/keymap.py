"""The user's own keys: `$XDG_CONFIG_HOME/pyctr/keys.toml` changes the registry before anything is made of it.

    [containers]
    stop = "x"
    remove = ["delete", "D"]

Tables are the scopes and names those of `keys.ACTIONS`; a key is a character or Textual's name of it.
"""

from __future__ import annotations

import os

from pyctr.tui import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMED = {
    "/": "slash",
    ":": "colon",
    "?": "question_mark",
    "&": "ampersand",
    "[": "left_square_bracket",
    "]": "right_square_bracket",
    " ": "space",
}
SCREENS = ("containers", "images", "networks", "volumes", "host", "events", "triage", "posture")
TOGETHER = (*((screen, "list", "app") for screen in SCREENS), ("logs", "app"), ("form",))
"""Scopes whose keys work at the same time."""


class KeymapError(ValueError):
    """A file of keys that cannot be used; the message names the file and the value."""


def place() -> str:
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return f"{config}/pyctr/keys.toml"


def customize(path: str = "") -> None:
    """Take the user's keys, if there are any. Raises KeymapError, and then changes nothing."""
    path = path or place()
    try:
        with open(path, "rb") as file:
            import tomllib

            document = tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # most users have none; that of another user (sudo) is not ours to complain about
    except (OSError, ValueError) as error:
        raise KeymapError(f"'{path}': {error}") from error
    wanted = _wanted(document, path)
    before = {action: (action.keys, action.show) for action in wanted}
    for action, names in wanted.items():
        action.keys = ",".join(names)
        action.show = _shown(names[0])
    if clash := _clash(wanted.keys()):
        for action, (old, show) in before.items():
            action.keys, action.show = old, show
        raise KeymapError(f"'{path}': {clash}")


def _wanted(document: dict[str, Any], path: str) -> dict[keys.Action, list[str]]:
    wanted: dict[keys.Action, list[str]] = {}
    for scope, table in document.items():
        known = {action.name: action for action in keys.in_scopes(scope)}
        if not known or not isinstance(table, dict):
            raise KeymapError(f"'{path}': no part of the screen is called '{scope}'")
        for name, value in table.items():
            if name not in known or name == "log_range":
                raise KeymapError(f"'{path}': nothing is called '{name}' in [{scope}]")
            names = [value] if isinstance(value, str) else value
            if not isinstance(names, list) or not names or not all(isinstance(one, str) and one for one in names):
                raise KeymapError(f"'{path}': {scope}.{name} needs a key, or a list of keys")
            wanted[known[name]] = [NAMED.get(str(one), str(one)) for one in names]
    return wanted


def _clash(changed: Any) -> str:
    """Two things on one key, one of them changed by the user."""
    for scopes in TOGETHER:
        taken: dict[str, keys.Action] = {}
        for action in keys.in_scopes(*scopes):
            for key in action.keys.split(","):
                other = taken.setdefault(key, action)
                if other is not action and (action in changed or other in changed):
                    return f"'{_shown(key)}' is both {other.scope}.{other.name} and {action.scope}.{action.name}"
    return ""


def _shown(key: str) -> str:
    """As the footer and the help write it."""
    plain = {name: char for char, name in NAMED.items() if char != " "}
    return plain.get(key, key.replace("ctrl+", "ctrl-"))
