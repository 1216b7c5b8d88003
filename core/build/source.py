"""A place in a Dockerfile, and the errors that point at it."""

from __future__ import annotations

import dataclasses

from pyctr.core.errors import BuildFailure, PyctrError


@dataclasses.dataclass(frozen=True)
class Place:
    """Lines (from 1) of one instruction in a file, and its first words for people."""

    file: str
    line: int
    end: int = 0
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def failure(place: Place, message: str, *, hint: str = "", tail: list[str] | None = None) -> BuildFailure:
    """An error at a place: `Dockerfile:7: RUN make: exit code 2`. `tail` are the last lines of output."""
    words = short(place.text)
    said = f"{place}: {words}: {message}" if words else f"{place}: {message}"
    return BuildFailure(printable(said), hint=printable(hint), line=place.line, tail=tail)


def at(place: Place, error: PyctrError) -> BuildFailure:
    """The same error, with the place it happened at; one that has a place already stays as it is."""
    if isinstance(error, BuildFailure):
        return error
    return failure(place, error.message, hint=error.hint)


def printable(text: str) -> str:
    """Text of a Dockerfile as part of one line: what breaks or moves it is spelt out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in text)


def short(text: str, width: int = 60) -> str:
    """An instruction in one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
