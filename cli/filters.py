"""`--filter KEY=VALUE`: values of one key are alternatives, different keys must all hold."""

from __future__ import annotations

from pyctr.core.errors import UsageError
from pyctr.core.parse import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def read(text: str) -> tuple[str, str]:
    """One filter as typed."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BadValue(f"'{text}' is not a filter", "give key=value, such as status=running")
    return key.strip().lower(), value.strip()


def collect(pairs: Iterable[tuple[str, str]], known: Iterable[str]) -> dict[str, list[str]]:
    """Key -> values. Raises UsageError for a key that the verb does not know."""
    known = list(known)
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        if key not in known:
            from pyctr.core.near import nearest

            close = nearest(key, known)
            raise UsageError(
                f"--filter: '{key}' is not known",
                hint=f"did you mean '{close}'?" if close else f"known are {', '.join(known)}",
            )
        found.setdefault(key, []).append(value)
    return found


def labels_match(labels: dict[str, str], wanted: Iterable[str]) -> bool:
    """Every wanted label, KEY or KEY=VALUE, is there."""
    for label in wanted:
        key, equals, value = label.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True
