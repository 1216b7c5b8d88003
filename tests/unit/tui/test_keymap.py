"""Keys of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.tui import keymap, keys


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """The registry is one for the whole process: every test gets it back as it was."""
    actions = (*keys.ACTIONS, *keys.LOG_ACTIONS, *keys.FORM_ACTIONS)
    before = [(action, action.keys, action.show) for action in actions]
    yield
    for action, old, show in before:
        action.keys, action.show = old, show


def customize(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    keymap.customize(str(path))


def test_a_key_of_the_users_own_reaches_bindings_footer_and_help(tmp_path: Path) -> None:
    customize(tmp_path, '[containers]\nstop = "x"\nremove = ["delete", "D"]\n[list]\nfilter = "ctrl+f"\n')
    bound = {binding.action: set() for binding in keys.bindings("containers", "list")}  # type: ignore[union-attr]
    for binding in keys.bindings("containers", "list"):
        bound[binding.action].add(binding.key)  # type: ignore[union-attr]
    assert bound["stop"] == {"x"}
    assert bound["remove"] == {"delete", "D"}
    assert bound["filter"] == {"ctrl+f"}
    assert keys.find("stop").show == "x"
    assert keys.find("filter").show == "ctrl-f"
    assert "| `x` | stop |" in keys.reference()


def test_keys_may_be_exchanged(tmp_path: Path) -> None:
    customize(tmp_path, '[containers]\nstop = "p"\npause = "s"\n')
    assert (keys.find("stop").keys, keys.find("pause").keys) == ("p", "s")


def test_no_file_changes_nothing(tmp_path: Path) -> None:
    before = keys.reference()
    keymap.customize(str(tmp_path / "none.toml"))
    assert keys.reference() == before


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[containers]\nstop = "d"', "'d' is both containers.stop and containers.remove"),
        ('[list]\nfilter = ":"', "':' is both list.filter and app.palette"),
        ('[containers]\nhalt = "x"', "nothing is called 'halt' in [containers]"),
        ('[boxes]\nstop = "x"', "no part of the screen is called 'boxes'"),
        ("[containers]\nstop = 5", "containers.stop needs a key"),
        ("[containers]\nstop = []", "containers.stop needs a key"),
        ("[containers", "keys.toml"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(tmp_path: Path, text: str, complaint: str) -> None:
    before = keys.reference()
    with pytest.raises(keymap.KeymapError) as caught:
        customize(tmp_path, text)
    assert complaint in str(caught.value)
    assert keys.reference() == before
