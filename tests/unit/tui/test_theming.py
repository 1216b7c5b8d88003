from __future__ import annotations

from pathlib import Path

import pytest

from pyctr.tui import theming


def test_every_theme_of_the_project_loads_and_the_promised_kinds_are_there() -> None:
    themes = {name: theming.load_file(path) for name, path in theming.available().items()}
    assert {"dusk", "paper", "contrast", "sixteen"} <= themes.keys()
    assert not themes["paper"].dark
    assert themes["sixteen"].ansi


def _luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, two: str) -> float:
    bright, dark = sorted((_luminance(one), _luminance(two)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", [name for name in theming.available() if name not in ("sixteen", "plain")])
def test_text_can_be_read_on_every_ground(name: str) -> None:
    theme = theming.load(name)
    floor = 7.0 if name == "contrast" else 4.5
    for ground in ("background", "surface", "selection"):
        assert _contrast(theme.colors["foreground"], theme.colors[ground]) >= floor
    for role in ("good", "warn", "bad", "accent", "muted"):
        assert _contrast(theme.colors[role], theme.colors["background"]) >= (7.0 if name == "contrast" else 4.5), role
    assert _contrast(theme.colors["faint"], theme.colors["background"]) >= 3.5


def test_a_users_theme_goes_through_the_same_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pyctr" / "themes"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(
        '[colors]\nbackground="#000000"\nforeground="#ffffff"\naccent="#00ffff"\ngood="green"\nwarn="yellow"\nbad="red"\n'
        '[styles]\nmark="reverse accent"\n'
    )
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    theme = theming.load("mine")
    assert theme.spec("mark") == ("#00ffff", "", ("reverse",))
    assert theme.colors["muted"] == "#ffffff"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[colors]\nbackground="#00"', "neither #rrggbb"),
        ('[colors]\nshiny="#000000"', "no role is called 'shiny'"),
        ("[colors]\n", "needs 'background'"),
        ("[colors", "broken.toml"),
    ],
)
def test_a_broken_theme_is_refused_with_file_and_value(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(theming.ThemeError, match=complaint.replace("[", r"\[")) as caught:
        theming.load_file(str(path))
    assert "broken" in str(caught.value)


def test_an_unknown_theme_names_those_there_are() -> None:
    with pytest.raises(theming.ThemeError, match="dusk"):
        theming.load("nope")
