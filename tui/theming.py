"""Themes: a few colours with a role each, and from them every style of every screen.

A theme is a TOML file; those of the project and the user's (`$XDG_CONFIG_HOME/pyctr/themes/*.toml`) go through
the same loader. `[colors]` gives the roles (missing ones fall back as in `FALLBACK`), as `#rrggbb` or as one of
the terminal's own sixteen (`red`, `bright_black`, `default`); `[styles]` may replace single styles.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rich.style import Style
    from textual.theme import Theme as TextualTheme

DEFAULT, COLOURLESS = "dusk", "plain"
ANSI = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")

FALLBACK = {
    "surface": "background",
    "raised": "surface",
    "muted": "foreground",
    "faint": "muted",
    "border": "faint",
    "calm": "accent",
    "second": "calm",
    "selection": "raised",
    "track": "raised",
}
ROLES = ("background", "foreground", "accent", "good", "warn", "bad", *FALLBACK)

STYLES = {
    "text": "foreground",
    "strong": "bold foreground",
    "muted": "muted",
    "faint": "faint",
    "accent": "accent",
    "title": "bold accent",
    "heading": "faint",
    "heading.active": "accent",
    "good": "good",
    "warn": "warn",
    "bad": "bad",
    "bad.strong": "bold bad",
    "bar": "calm on track",
    "bar.warn": "warn on track",
    "bar.bad": "bad on track",
    "track": "faint on track",
    "spark": "calm",
    "chart": "calm",
    "chart.second": "second",
    "chart.over": "bad",
    "limit": "warn",
    "axis": "faint",
    "border": "border",
    "border.focus": "accent",
    "key": "bold accent",
    "mark": "bold warn",
    "tab": "muted",
    "tab.active": "bold accent",
    "match": "background on warn",
    "past": "bold background on warn",
    "match.current": "bold background on accent",
    "cursor": "on selection",
    "cursor.idle": "on raised",
    "button": "muted",
    "button.active": "bold background on accent",
    "button.danger": "bold background on bad",
    "stream.err": "warn",
    "json.key": "accent",
    "json.string": "good",
    "json.other": "warn",
}

ATTRIBUTES = {"bold": 1, "dim": 2, "italic": 3, "underline": 4, "reverse": 7}


def no_color() -> bool:
    """Whether the user wants no colours from any program, https://no-color.org."""
    return bool(os.environ.get("NO_COLOR"))


def usual() -> str:
    """The theme for whoever names none."""
    return COLOURLESS if no_color() else DEFAULT


class ThemeError(ValueError):
    """A theme file that cannot be used; the message names the file and the value."""


class Theme:
    """`spec(name)` is (foreground, background, attributes); `rich` and `sgr` say it to Textual and to a terminal."""

    def __init__(self, name: str, document: dict[str, Any], source: str = "") -> None:
        self.name = name
        self.ascii = False
        """Whatever is drawn with it, is drawn in ASCII."""
        self.title = str(document.get("title", name))
        self.dark = bool(document.get("dark", True))
        colors = document.get("colors", {})
        if not isinstance(colors, dict):
            raise ThemeError(f"theme '{source or name}': [colors] is not a table")
        self.colors: dict[str, str] = {}
        for role in colors:
            if role not in ROLES:
                raise ThemeError(f"theme '{source or name}': no role is called '{role}'")
        for role in ROLES:
            wanted = role
            while wanted not in colors:
                if wanted not in FALLBACK:
                    raise ThemeError(f"theme '{source or name}': [colors] needs '{wanted}'")
                wanted = FALLBACK[wanted]
            self.colors[role] = _color(str(colors[wanted]), source or name)
        self.ansi = not self.colors["background"].startswith("#")
        self._specs = {**STYLES, **{str(key): str(value) for key, value in document.get("styles", {}).items()}}
        self._rich: dict[tuple[str, str, str], Style] = {}
        for style in self._specs:
            self.spec(style)

    def spec(self, name: str) -> tuple[str, str, tuple[str, ...]]:
        words = self._specs[name].split()
        front = back = ""
        attributes = []
        target = "front"
        for word in words:
            if word == "on":
                target = "back"
            elif word in ATTRIBUTES:
                attributes.append(word)
            else:
                color = self.colors[word] if word in self.colors else _color(word, self.name)
                if target == "front":
                    front = color
                else:
                    back = color
        return front, back, tuple(attributes)

    def rich(self, name: str, over: str = "", ground: str = "background") -> Style:
        """The Rich style of `name`, with the background (and attributes) of `over` below it: a cursor line.

        `ground` is the role that shows where neither has a background.
        """
        style = self._rich.get((name, over, ground))
        if style is None:
            from rich.style import Style

            front, back, attributes = self.spec(name)
            if over:
                _, below, more = self.spec(over)
                back = back or below
                attributes = (*attributes, *more)
            style = Style(
                color=front or None,
                bgcolor=back or self.colors[ground],
                bold="bold" in attributes or None,
                dim="dim" in attributes or None,
                italic="italic" in attributes or None,
                underline="underline" in attributes or None,
                reverse="reverse" in attributes or None,
            )
            self._rich[name, over, ground] = style
        return style

    def sgr(self, name: str, *, depth: int, over: str = "") -> str:
        """The escape sequence of a style for a terminal of 0 (none), 16, 256 or 2**24 colours."""
        front, back, attributes = self.spec(name)
        if over:
            _, below, more = self.spec(over)
            back = back or below
            attributes = (*attributes, *more)
        codes = [str(ATTRIBUTES[word]) for word in attributes]
        if depth:
            codes += _codes(front, 30, depth) + _codes(back or self.colors["background"], 40, depth)
        return f"\x1b[0;{';'.join(codes)}m" if codes else "\x1b[0m"

    def css(self) -> dict[str, str]:
        """`$c-ROLE` for the style sheets."""
        return {f"c-{role}": _css(color) for role, color in self.colors.items()}

    def textual(self) -> TextualTheme:
        """The same colours for Textual's own widgets (palette, inputs, scrollbars)."""
        from textual.theme import Theme as TextualTheme

        colors = {role: _css(value) for role, value in self.colors.items()}
        variables = {
            "ansi-background": colors["background"],
            "ansi-foreground": colors["foreground"],
            "border": colors["accent"],
            "border-blurred": colors["border"],
            "scrollbar": colors["border"],
            "scrollbar-hover": colors["muted"],
            "scrollbar-active": colors["accent"],
            "scrollbar-background": colors["background"],
            "scrollbar-background-hover": colors["background"],
            "scrollbar-background-active": colors["background"],
            "scrollbar-corner-color": colors["background"],
            "block-cursor-background": colors["selection"],
            "block-cursor-foreground": colors["foreground"],
            "input-selection-background": colors["selection"],
        }
        return TextualTheme(
            name=self.name,
            primary=colors["accent"],
            secondary=colors["calm"],
            accent=colors["accent"],
            warning=colors["warn"],
            error=colors["bad"],
            success=colors["good"],
            foreground=None if self.ansi else colors["foreground"],
            background=None if self.ansi else colors["background"],
            surface=None if self.ansi else colors["surface"],
            panel=None if self.ansi else colors["raised"],
            dark=self.dark,
            ansi=self.ansi,
            variables=variables,
        )


def _color(text: str, source: str) -> str:
    text = text.strip().lower()
    if text == "default" or text.removeprefix("bright_") in ANSI:
        return text
    digits = text.removeprefix("#")
    if text.startswith("#") and len(digits) == 6 and all(char in "0123456789abcdef" for char in digits):
        return text
    raise ThemeError(f"theme '{source}': '{text}' is neither #rrggbb nor one of the sixteen colours")


def _css(color: str) -> str:
    return color if color.startswith("#") else f"ansi_{color}"


def _codes(color: str, base: int, depth: int) -> list[str]:
    if not color or color == "default":
        return [str(base + 9)]
    if not color.startswith("#"):
        bright = color.startswith("bright_")
        return [str(base + (60 if bright else 0) + ANSI.index(color.removeprefix("bright_")))]
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    if depth > 256:
        return [f"{base + 8};2;{red};{green};{blue}"]
    if depth == 256:
        if max(red, green, blue) - min(red, green, blue) < 12:
            return [f"{base + 8};5;{232 + min(23, max(0, (red - 3) // 10))}"]
        cube = [0 if part < 48 else min(5, (part - 35) // 40) for part in (red, green, blue)]
        return [f"{base + 8};5;{16 + 36 * cube[0] + 6 * cube[1] + cube[2]}"]
    bright = max(red, green, blue) > 170
    index = sum(
        bit for bit, part in ((1, red), (2, green), (4, blue)) if part > max(red, green, blue) * 0.6 and part > 60
    )
    return [str(base + (60 if bright and index else 0) + index)]


def directories() -> list[str]:
    """Where themes are looked for, the user's last, so that they win."""
    here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return [f"{here}/themes", f"{config}/pyctr/themes"]


def load_file(path: str) -> Theme:
    """The theme of one file. Raises ThemeError naming file and value."""
    import tomllib

    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ThemeError(f"theme '{path}': {error}") from error
    return Theme(os.path.basename(path).removesuffix(".toml"), document, path)


def available() -> dict[str, str]:
    """Name -> file of every theme there is."""
    found = {}
    for directory in directories():
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue  # most users have no themes of their own
        for name in names:
            if name.endswith(".toml"):
                found[name.removesuffix(".toml")] = f"{directory}/{name}"
    return found


def load(name: str = DEFAULT) -> Theme:
    """The theme called `name`, or the one in the file `name`. Raises ThemeError listing what there is."""
    if name.endswith(".toml") and "/" in name:
        return load_file(name)
    themes = available()
    if name not in themes:
        raise ThemeError(f"no theme is called '{name}'; there are {', '.join(themes)}")
    return load_file(themes[name])
