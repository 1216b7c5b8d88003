"""Values as text: at most four significant characters, glued units, `-` for what cannot be known.

Everything here is pure and imports next to nothing: the first frame is painted with it before Textual is loaded.
"""

from __future__ import annotations

import time
import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Span = tuple[str, str]
    """A piece of text and the name of its style in the theme."""
    Line = tuple[Span, ...]

UNKNOWN = "-"


class Glyphs:
    """The characters that carry meaning, in Unicode or in plain ASCII for terminals and eyes that need it."""

    def __init__(self, *, ascii: bool = False) -> None:
        self.ascii = ascii
        self.running, self.paused, self.exited, self.failed, self.created, self.restarting = (
            "*=ox.~" if ascii else "●‖○✗◌↻"
        )
        self.down, self.up = ("v", "^") if ascii else ("↓", "↑")
        self.ok, self.bad = ("ok", "!!") if ascii else ("✓", "✗")
        self.ascending, self.descending = ("^", "v") if ascii else ("▲", "▼")
        self.mark = "+" if ascii else "▌"
        self.dot = "-" if ascii else "·"
        self.arrow = "->" if ascii else "→"
        self.ellipsis = "~" if ascii else "…"
        self.spark = "_.-=+*#@" if ascii else "▁▂▃▄▅▆▇█"
        self.eighths = ("", "#", "#", "#", "#", "#", "#", "#") if ascii else ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
        self.full = "#" if ascii else "█"
        self.rest = "." if ascii else " "
        self.open, self.closed = ("v", ">") if ascii else ("▾", "▸")
        self.enter = "enter" if ascii else "↵"
        self.before, self.beyond = ("<", ">") if ascii else ("‹", "›")
        """There is more on that side."""

    def state(self, status: str, *, failed: bool = False) -> str:
        """The glyph of a status in core.state's words."""
        if status == "stopped":
            return self.failed if failed else self.exited
        return {
            "running": self.running,
            "paused": self.paused,
            "created": self.created,
            "restarting": self.restarting,
            "dead": self.failed,
        }.get(status, "?")


def _scaled(value: float, step: float, units: str) -> str:
    """`value` below 1000 of the largest fitting unit; one decimal below ten, none above."""
    index = 0
    while value >= 999.5 and index < len(units) - 1:
        value /= step
        index += 1
    if index == 0:
        return f"{value:.0f}"
    unit = units[index]
    return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"


def size(value: float | None) -> str:
    """Bytes, in powers of 1024: `0`, `812`, `1.2k`, `61M`, `1.1G`."""
    return UNKNOWN if value is None else _scaled(value, 1024.0, " kMGTPE")


def count(value: float | None) -> str:
    """A plain number in powers of 1000: `22`, `9999`, `12k`."""
    if value is None:
        return UNKNOWN
    return f"{value:.0f}" if value < 9999.5 else _scaled(value, 1000.0, " kMGTPE")


def percent(value: float | None) -> str:
    """`0.0`, `4.3`, `83.1`, `412`: without the sign, which stands in the column's title."""
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def whole_percent(value: float | None) -> str:
    """`0%`, `41%`, `412%`: with the sign and without decimals."""
    return UNKNOWN if value is None else f"{value:.0f}%"


def duration(seconds: float | None) -> str:
    """One number and one unit: `6ms`, `14s`, `5m`, `3h`, `41d`, `2y`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f}ms" if seconds > 0 else "0s"
    for unit, length, limit in (("s", 1, 100), ("m", 60, 5400), ("h", 3600, 172800), ("d", 86400, 86400 * 730)):
        if seconds < limit:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds // (86400 * 365))}y"


def milliseconds(microseconds: float | None) -> str:
    """`0.2 ms`, `18 ms`, `1.3 s`."""
    if microseconds is None:
        return UNKNOWN
    if microseconds < 9950:
        return f"{microseconds / 1000:.1f} ms"
    return f"{microseconds / 1000:.0f} ms" if microseconds < 999_500 else f"{microseconds / 1_000_000:.1f} s"


def pair(first: float | None, second: float | None) -> str:
    """Two rates of one thing: `1.2M/340k`."""
    return UNKNOWN if first is None and second is None else f"{size(first)}/{size(second)}"


def clock(epoch: float) -> str:
    """Local wall time, `03:14:07`."""
    return time.strftime("%H:%M:%S", time.localtime(epoch))


def stamp(epoch: float) -> str:
    """Local date and time to the millisecond, `2026-11-20 23:14:07.412`."""
    whole = int(epoch)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(whole)) + f".{int((epoch - whole) * 1000):03d}"


# Bidirectional controls can make a name read as another one (Trojan Source, CVE-2021-42574).
_BIDI = frozenset((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))


def neutral(text: str, *, tab: int = 4) -> str:
    """Untrusted text with nothing in it that a terminal would obey: controls become visible pictures, tabs spaces.

    Unassigned, private and surrogate code points become U+FFFD, because their width is anybody's guess.
    """
    if text.isascii() and text.isprintable():
        return text
    out = []
    for char in text:
        code = ord(char)
        if char == "\t":
            out.append(" " * tab)
        elif code < 0x20:
            out.append(chr(0x2400 + code))
        elif code == 0x7F:
            out.append("␡")
        elif code < 0x7F:
            out.append(char)
        elif code in _BIDI or unicodedata.category(char) in ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"):
            out.append("\ufffd")
        else:
            out.append(char)
    return "".join(out)


def width(text: str) -> int:
    """Terminal cells of neutral text."""
    if text.isascii():
        return len(text)
    cells = 0
    for char in text:
        if ord(char) < 0x300:
            cells += 1
        elif unicodedata.category(char) in ("Mn", "Me"):
            continue
        else:
            cells += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return cells


_ASCII = {"…": "~", "→": ">", "·": "-", "↓": "v", "↑": "^", "↵": "<", "─": "-", "╌": "-", "│": "|"}


def ascii_only(text: str) -> str:
    """The text in ASCII, as many cells wide: the last gate of a terminal that can show nothing else."""
    if text.isascii():
        return text
    return "".join(char if char.isascii() else _ASCII.get(char, "?" * width(char)) for char in text)


def cut(text: str, cells: int, ellipsis: str = "…") -> str:
    """The text, shortened at its end so that it fits."""
    if width(text) <= cells:
        return text
    if cells <= 0:
        return ""
    if cells <= len(ellipsis):
        return ellipsis[:cells]
    room = cells - len(ellipsis)
    if text.isascii():
        return text[:room] + ellipsis
    out = ""
    for char in text:
        if width(out + char) > room:
            break
        out += char
    return out + ellipsis


def fit(text: str, cells: int, align: str = "left", ellipsis: str = "…") -> str:
    """Exactly `cells` wide."""
    text = cut(text, cells, ellipsis)
    pad = " " * (cells - width(text))
    return pad + text if align == "right" else text + pad


def line_width(line: Iterable[Span]) -> int:
    return sum(width(text) for text, _ in line)


def fit_line(line: Iterable[Span], cells: int, *, fill: str = "text") -> Line:
    """Spans cut or padded to exactly `cells`."""
    out: list[Span] = []
    room = cells
    for text, style in line:
        if room <= 0:
            break
        used = width(text)
        if used > room:
            text = fit(text, room)
            used = room
        out.append((text, style))
        room -= used
    if room > 0:
        out.append((" " * room, fill))
    return tuple(out)


def reason(problem: BaseException) -> str:
    """Why something failed, in words a person reads: no error number, the value in quotes."""
    if isinstance(problem, PermissionError) and problem.filename:
        return f"only root may read '{problem.filename}'"
    if isinstance(problem, OSError) and problem.strerror:
        where = f" '{problem.filename}'" if problem.filename else ""
        return f"{problem.strerror.lower()}{where}"
    return str(problem) or type(problem).__name__


def plain(line: Iterable[Span]) -> str:
    """The text alone, without trailing blanks: `--once --text` and tests."""
    return "".join(text for text, _ in line).rstrip()


def join(parts: Sequence[Iterable[Span]], separator: Span = ("   ", "text")) -> Line:
    """Groups of spans with something between them."""
    out: list[Span] = []
    for part in parts:
        if out:
            out.append(separator)
        out.extend(part)
    return tuple(out)
