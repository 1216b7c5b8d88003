"""The plan of a container that is not made yet, as lines for a narrow pane: each step once, in the plan's order."""

from __future__ import annotations

from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyctr.tui.format import Line


def lines(steps: Iterable[tuple[str, str]], width: int, *, faint: bool = False) -> list[Line]:
    """`steps` are (step, one line) as `Plan.describe` gives them."""
    grouped: dict[str, list[str]] = {}
    for step, text in steps:
        grouped.setdefault(step, []).append(_short(text))
    out: list[Line] = []
    for step, texts in grouped.items():
        if out:
            out.append(())
        out.append(((f.neutral(step), "faint" if faint else "title"),))
        for text in _gathered(texts):
            for number, piece in enumerate(wrap(f.neutral(text), max(16, width - 4))):
                out.append((("    " if number else "  ", "text"), (piece, "faint" if faint else "text")))
    return out


def _short(text: str) -> str:
    """A limit without the directory, which is the same for all."""
    path, equals, value = text.partition(" = ")
    if equals and path.startswith("/"):
        return f"{path.rpartition('/')[2]} = {value}"
    return text


def _gathered(texts: list[str]) -> list[str]:
    """Device rules are many and always the same: their number says enough."""
    rules = [text for text in texts if text.startswith(("devices.allow = ", "devices.deny = "))]
    kept = [text for text in texts if text not in rules]
    if rules:
        kept.append(f"devices: {len(rules)} rules, all others refused")
    return list(dict.fromkeys(kept))


def wrap(text: str, width: int) -> list[str]:
    """Neutral text in pieces of at most `width` cells, broken at blanks, else at slashes, else anywhere."""
    pieces: list[str] = []
    while f.width(text) > width:
        end = len(f.cut(text, width, ""))
        for breaks in (" ", "/,"):
            place = max(text.rfind(char, 1, end + (breaks == " ")) for char in breaks)
            if place >= width // 3:
                end = place
                break
        pieces.append(text[:end].rstrip())
        text = text[max(1, end) :].lstrip()
    return [*pieces, text]
