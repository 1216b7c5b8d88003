"""The text of a Dockerfile as instructions, each with its exact lines. Nothing is expanded here.

Grammar: the Dockerfile reference (docs.docker.com/reference/dockerfile). Parser directives stand at the top, a line
ends in the escape character to go on in the next one, comment lines are left out even in between, heredocs follow the
line that names them and are taken as they are.
"""

from __future__ import annotations

import dataclasses
import json
import re

from pyctr.core.build.source import Place, failure
from pyctr.core.near import nearest

FLAGS = {
    "ADD": ("chown", "chmod", "link", "checksum", "keep-git-dir", "exclude", "unpack"),
    "ARG": (),
    "CMD": (),
    "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    "ENTRYPOINT": (),
    "ENV": (),
    "EXPOSE": (),
    "FROM": ("platform",),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
    "LABEL": (),
    "MAINTAINER": (),
    "ONBUILD": (),
    "RUN": ("mount", "network", "security", "device"),
    "SHELL": (),
    "STOPSIGNAL": (),
    "USER": (),
    "VOLUME": (),
    "WORKDIR": (),
}
"""Every instruction and the flags it takes."""
_SWITCHES = frozenset({"link", "parents", "keep-git-dir", "unpack"})
_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})
_JSON = frozenset({"ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME"})
_LIMIT = 16 << 20
"""Bytes of the longest Dockerfile read."""
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)$")


@dataclasses.dataclass(frozen=True)
class Heredoc:
    """`content` as it stands in the file, every line with its end."""

    name: str
    content: str
    expand: bool
    """The name was not quoted: variables are replaced (in COPY and ADD; in RUN the shell does it)."""
    chomp: bool
    """`<<-`: leading tabs do not count."""

    @property
    def text(self) -> str:
        """The content without the tabs of `<<-`."""
        return re.sub(r"(?m)^\t+", "", self.content) if self.chomp else self.content


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction; `text` is what follows its name and flags, continued lines joined."""

    name: str
    place: Place
    text: str
    flags: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] | None = None
    """The JSON form; None for the shell form."""
    heredocs: tuple[Heredoc, ...] = ()

    def flag(self, name: str, default: str = "") -> str:
        """The value of the last flag of this name."""
        return next((value for key, value in reversed(self.flags) if key == name), default)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.flags if key == name]

    def switch(self, name: str) -> bool:
        """A flag without a value, or with one of true and false. Raises BuildFailure."""
        for key, value in reversed(self.flags):
            if key == name:
                if value.lower() not in ("", "1", "t", "true", "0", "f", "false"):
                    raise failure(self.place, f"--{name}: '{value}' is neither true nor false")
                return value.lower() in ("", "1", "t", "true")
        return False


@dataclasses.dataclass(frozen=True)
class Dockerfile:
    """What one file says. `escape` is its escape character."""

    name: str
    instructions: tuple[Instruction, ...]
    escape: str
    directives: dict[str, str]
    lines: tuple[str, ...]


def parse(text: str, name: str = "Dockerfile") -> Dockerfile:
    """Raises BuildFailure with the line of whatever is wrong."""
    if len(text) > _LIMIT:
        raise failure(Place(name, 1), f"the file is longer than {_LIMIT >> 20} MB")
    if "\0" in text:
        raise failure(Place(name, text[: text.index("\0")].count("\n") + 1), "a NUL character: this is no text file")
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    directives, at = _directives(lines, name)
    escape = directives.get("escape", "\\")
    reader = _Reader(lines, at, escape, name)
    instructions = tuple(reader.instructions())
    return Dockerfile(name, instructions, escape, directives, tuple(lines))


def trigger(text: str, place: Place, escape: str = "\\") -> Instruction:
    """The instruction of an ONBUILD. Raises BuildFailure at `place`."""
    reader = _Reader(text.split("\n"), 0, escape, place.file)
    try:
        found = list(reader.instructions())
    except Exception as error:
        raise failure(place, f"ONBUILD: {getattr(error, 'message', error)}") from None
    if len(found) != 1:
        raise failure(place, f"ONBUILD holds {len(found)} instructions, not one")
    one = found[0]
    return dataclasses.replace(one, place=Place(place.file, place.line, place.end, one.place.text))


def _directives(lines: list[str], name: str) -> tuple[dict[str, str], int]:
    """The parser directives and the line (from 0) after them."""
    found: dict[str, str] = {}
    at = 1 if lines and lines[0].startswith("#!") else 0
    for number in range(at, len(lines)):
        match = _DIRECTIVE.match(lines[number].strip())
        if match is None or match[1].lower() not in _DIRECTIVES:
            return found, number
        key, value = match[1].lower(), match[2]
        if key in found:
            raise failure(Place(name, number + 1), f"the directive '{key}' is there twice")
        if key == "escape" and value not in ("\\", "`"):
            raise failure(Place(name, number + 1), f"bad escape character '{value}'", hint="it is \\ or `")
        found[key] = value
    return found, len(lines)


class _Reader:
    """Logical lines, then instructions."""

    def __init__(self, lines: list[str], at: int, escape: str, name: str) -> None:
        self.lines = lines
        self.at = at
        self.escape = escape
        self.name = name
        mark = re.escape(escape)
        self._continued = re.compile(rf"(?:^|[^{mark}]){mark}[ \t]*$")

    def instructions(self) -> list[Instruction]:
        found = []
        while (logical := self._logical()) is not None:
            first, text = logical
            found.append(self._instruction(first, text))
        return found

    def _logical(self) -> tuple[int, str] | None:
        """(number from 1, text) of the next instruction, its lines joined; None at the end."""
        while self.at < len(self.lines):
            line = self.lines[self.at].lstrip()
            self.at += 1
            if not line or line.startswith("#"):
                continue
            first = self.at
            joined = []
            while True:
                if not self._continued.search(line):
                    joined.append(line)
                    break
                joined.append(line.rstrip(" \t")[:-1])
                following = self._following()
                if following is None:
                    break
                line = following
            if text := "".join(joined).strip():
                return first, text
        return None

    def _following(self) -> str | None:
        """The line that continues one; comments and empty lines in between are skipped."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            if line.strip() and not line.lstrip().startswith("#"):
                return line
        return None

    def _instruction(self, first: int, text: str) -> Instruction:
        name, rest = [*text.split(None, 1), ""][:2]
        name = name.upper()
        place = Place(self.name, first, self.at, text)
        if name not in FLAGS:
            close = nearest(name, FLAGS)
            raise failure(
                Place(self.name, first),
                f"unknown instruction '{_cut(name)}'",
                hint=f"did you mean {close}?" if close else "see docs/build.md for what there is",
            )
        inner = name
        if name == "ONBUILD":
            inner = (rest.split(None, 1) or [""])[0].upper()
        heredocs = self._heredocs(rest, place) if inner in _HEREDOCS else ()
        place = Place(self.name, first, self.at, text)
        flags, rest = self._flags(name, rest, place)
        if not rest:
            raise failure(place, f"{name} needs at least one argument")
        words = None
        if name in _JSON and rest.startswith("["):
            words = _json(rest)
        if name == "ONBUILD":
            self._check_trigger(rest, inner, place)
            if heredocs:
                # kept in the image as text, so the documents go along
                rest += "".join(f"\n{one.content}{one.name}" for one in heredocs)
                heredocs = ()
        return Instruction(name, place, rest, tuple(flags), words, heredocs)

    def _check_trigger(self, rest: str, inner: str, place: Place) -> None:
        if inner in ("ONBUILD", "FROM", "MAINTAINER"):
            raise failure(place, f"{inner} is not allowed as an ONBUILD trigger")
        if inner not in FLAGS:
            raise failure(place, f"unknown instruction '{_cut(inner)}'")

    def _heredocs(self, rest: str, place: Place) -> tuple[Heredoc, ...]:
        found = []
        for word in self._shell_words(rest):
            match = _HEREDOC.match(word)
            if match is None:
                continue
            name = _unquoted(match[2])
            if name is None:
                continue
            found.append(self._heredoc(name, bool(match[1]), name == match[2], place))
        return tuple(found)

    def _heredoc(self, name: str, chomp: bool, expand: bool, place: Place) -> Heredoc:
        lines: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            if (line.lstrip("\t") if chomp else line) == name:
                return Heredoc(name, "".join(lines), expand, chomp)
            lines.append(f"{line}\n")
        raise failure(place, f"the heredoc '{name}' has no end", hint=f"a line that is '{name}' and nothing else")

    def _shell_words(self, text: str) -> list[str]:
        """Words as a shell sees them, quotes and escapes kept."""
        words, word, quote, at = [], "", "", 0
        while at < len(text):
            char = text[at]
            if char == self.escape and quote != "'" and at + 1 < len(text):
                word += text[at : at + 2]
                at += 2
                continue
            if quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char.isspace():
                if word:
                    words.append(word)
                word = ""
                at += 1
                continue
            word += char
            at += 1
        return [*words, word] if word else words

    def _flags(self, name: str, rest: str, place: Place) -> tuple[list[tuple[str, str]], str]:
        found: list[tuple[str, str]] = []
        while rest.startswith("--"):
            word, after = self._flag_word(rest)
            rest = after.lstrip()
            if word == "--":
                break
            key, equals, value = word[2:].partition("=")
            known = FLAGS[name]
            if key not in known:
                close = nearest(key, known)
                hint = f"did you mean --{close}?" if close else ""
                raise failure(place, f"{name} has no flag '--{_cut(key)}'", hint=hint)
            if not equals and key not in _SWITCHES:
                raise failure(place, f"--{key} needs a value", hint=f"--{key}=…")
            if key in dict(found) and key not in ("mount", "exclude", "device"):
                raise failure(place, f"--{key} is there twice")
            found.append((key, value))
        return found, rest

    def _flag_word(self, text: str) -> tuple[str, str]:
        """The first word without its quotes and escapes, and what follows it."""
        word, quote, at = "", "", 0
        while at < len(text):
            char = text[at]
            if char == self.escape and at + 1 < len(text) and quote != "'":
                word += text[at + 1]
                at += 2
                continue
            if quote and char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            elif not quote and char.isspace():
                break
            else:
                word += char
            at += 1
        return word, text[at:]


def _json(text: str) -> tuple[str, ...] | None:
    """A JSON array of strings, or None: then it is the shell form."""
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return tuple(words)
    return None


def _unquoted(name: str) -> str | None:
    """The name of a heredoc without its quotes; None when it is none."""
    for quote in "'\"":
        if name.startswith(quote):
            inner = name[1:-1]
            return inner if len(name) > 2 and name.endswith(quote) and quote not in inner else None
    return name if name and not re.search(r"""['"\s;&|()<>]""", name) else None


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
