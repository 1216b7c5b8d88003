"""What was probably meant: for the hints of errors about unknown words."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def near(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """At most `count` known words like this one, the likeliest first."""
    import difflib

    words = list(dict.fromkeys(known))
    # two letters exchanged are the commonest slip, and difflib thinks little of it
    slips = [name for name in words if name != word and sorted(name) == sorted(word)]
    return list(dict.fromkeys([*slips, *difflib.get_close_matches(word, words, count, 0.6)]))[:count]


def nearest(word: str, known: Iterable[str]) -> str:
    """The likeliest one, or ""."""
    return next(iter(near(word, known, 1)), "")
