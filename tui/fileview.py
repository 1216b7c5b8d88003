"""One file of a layer as lines: text with its escapes made harmless, anything else as bytes. Pure."""

from __future__ import annotations

from pyctr.core.images.viewing import View, hexdump
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.tui.format import Line

LONGEST = 2000
"""Characters shown of a line."""
HEX = 64 << 10
"""Bytes shown of a file that is no text."""


def lines(view: View) -> list[Line]:
    if view.binary:
        return [
            ((line[:10], "faint"), (line[10:60], "text"), (line[60:], "muted")) for line in hexdump(view.content[:HEX])
        ]
    text = view.content.decode("utf-8", "replace")
    found = text.split("\n")
    if found and not found[-1]:
        found.pop()
    size = len(str(len(found)))
    return [
        ((f"{number:>{size}} ", "faint"), (f.neutral(line.rstrip("\r")[:LONGEST]), "text"))
        for number, line in enumerate(found, 1)
    ]


def about(view: View) -> str:
    shown = min(len(view.content), HEX) if view.binary else len(view.content)
    kind = "bytes, no text" if view.binary else "text"
    if shown < view.size:
        return f"{kind}, the first {f.size(shown)} of {f.size(view.size)}"
    return f"{kind}, {f.size(view.size)}" if view.size else "an empty file"
