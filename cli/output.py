"""What goes to stdout: tables, templates, JSON, and numbers and times in Docker's words.

A listing is rows of named fields. `--format` chooses how they are shown: nothing (the verb's columns), `json`
(a document per line), `table TEMPLATE` (with headings), or a template per row.
"""

from __future__ import annotations

import sys

from pyctr.cli.diagnostics import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Row = dict[str, Any]

_GAP = 3


def write(text: str) -> None:
    """A line of data."""
    sys.stdout.write(text + "\n")


def listing(
    rows: Iterable[Row],
    columns: Sequence[tuple[str, str]],
    form: str | None = None,
    headings: dict[str, str] | None = None,
) -> None:
    """Show rows. `columns` are (field, heading) of the plain table; `headings` names further fields."""
    if not form or form == "table":
        cells = [[text(row[field]) for field, _ in columns] for row in rows]
        table([heading for _, heading in columns], cells)
        return
    if form == "json":
        for row in rows:
            write(json_line(row))
        return
    from pyctr.cli.template import Template

    words = unescape(form)
    if not words.startswith("table "):
        template = Template(words)
        for row in rows:
            write(terminal_safe(template.render(row)))
        return
    words = words[6:].strip()
    template = Template(words)
    names = {**(headings or {}), **dict(columns)}
    cells = [template.render(row).split("\t") for row in rows]
    fields = {name: names.get(name, spaced(name)) for name in template.fields()}
    fields["Label"] = lambda key: spaced(key.rpartition(".")[2])  # type: ignore[assignment]
    table(template.render(fields).split("\t"), cells)


def spaced(name: str) -> str:
    """The heading of a field nobody named: `RunningFor` is `RUNNING FOR`."""
    out = ""
    for index, c in enumerate(name):
        if c.isupper() and index and not name[index - 1].isupper():
            out += " "
        out += c.upper()
    return out


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Left-aligned columns under headings; the last is not padded. Cells are made safe for a terminal."""
    clean = [[safe(cell) for cell in row] for row in rows]
    widths = [
        max([width(heading), *(width(row[index]) for row in clean if index < len(row))])
        for index, heading in enumerate(headings)
    ]
    lines = []
    for row in [list(headings), *clean]:
        last = len(row) - 1
        lines.append(
            "".join(
                cell if index == last else cell + " " * (widths[index] - width(cell) + _GAP)
                for index, cell in enumerate(row)
            )
        )
    sys.stdout.write("\n".join(lines) + "\n")


def width(text: str) -> int:
    """Columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def text(value: Any) -> str:
    """A field as a cell."""
    if isinstance(value, str):
        return value
    from pyctr.cli.template import text_of

    return text_of(value)


def json_line(row: Any) -> str:
    from pyctr.cli.template import to_json

    return _json_safe(to_json(row))


def json_document(document: Any) -> str:
    """Indented JSON, as `inspect` prints it."""
    import json

    from pyctr.cli.template import plain

    return _json_safe(json.dumps(plain(document), indent=4, ensure_ascii=False))


def _json_safe(text: str) -> str:
    """JSON escapes control characters below 0x20 itself; the rest of what a terminal acts on is escaped here."""
    if text.replace("\n", "").isprintable():
        return text
    out = []
    for c in text:
        if c == "\n" or c.isprintable():
            out.append(c)
        elif ord(c) < 0x10000:
            out.append(f"\\u{ord(c):04x}")
        else:
            out.append(c)
    return "".join(out)


def terminal_safe(text: str) -> str:
    """Rendered templates keep tabs and newlines; on a terminal nothing else unprintable passes."""
    if not sys.stdout.isatty():
        return text
    return "\n".join("\t".join(map(safe, line.split("\t"))) for line in text.split("\n"))


def unescape(form: str) -> str:
    """Docker reads `\\t` and `\\n` typed into --format as a tab and a newline."""
    return form.replace("\\t", "\t").replace("\\n", "\n")


def document(found: Any, form: str | None) -> None:
    """One document by `--format`: JSON without, or the template."""
    if not form or form == "json":
        write(json_document(found) if not form else json_line(found))
        return
    from pyctr.cli.template import Template

    write(terminal_safe(Template(unescape(form)).render(found)))


def short_digest(digest: str) -> str:
    """Twelve hex digits of a "sha256:…"."""
    return digest.rpartition(":")[2][:12]


def ellipsis(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def decimal_size(count: float, digits: int = 3) -> str:
    """ "12.3MB": powers of 1000, as Docker shows files, images and traffic."""
    return _scaled(count, 1000.0, ("B", "kB", "MB", "GB", "TB", "PB", "EB"), digits)


def binary_size(count: float, digits: int = 4) -> str:
    """ "12.34MiB": powers of 1024, as Docker shows memory."""
    return _scaled(count, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"), digits)


def _scaled(count: float, base: float, units: Sequence[str], digits: int) -> str:
    value, index = float(count), 0
    while value >= base and index < len(units) - 1:
        value /= base
        index += 1
    if round(value) >= 10**digits:  # %g would turn to 1e+03
        return f"{value:.0f}{units[index]}"
    return f"{value:.{digits}g}{units[index]}"


def human_duration(seconds: float) -> str:
    """ "5 minutes", "About an hour", as Docker says it."""
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return f"{int(seconds)} second{'s' if int(seconds) != 1 else ''}"
    minutes = int(seconds / 60)
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    if hours < 24 * 7 * 2:
        return f"{days} days"
    if hours < 24 * 30 * 2:
        return f"{days // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{days // 30} months"
    return f"{days // 365} years"


def ago(moment: float, now: float) -> str:
    return f"{human_duration(max(0.0, now - moment))} ago"


def rfc3339(moment: float) -> str:
    """ "2026-01-02T03:04:05.678901Z"; the zero time when there is none, as in Go."""
    if not moment:
        return "0001-01-01T00:00:00Z"
    import time

    whole = int(moment)
    fraction = f"{moment - whole:.6f}"[1:].rstrip("0").rstrip(".")
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + fraction + "Z"


def local_time(moment: float) -> str:
    """ "2026-01-02 03:04:05 +0000 UTC", as Docker's CreatedAt."""
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(moment))
