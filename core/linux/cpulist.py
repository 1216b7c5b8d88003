"""The kernel's list format: "0-3,7" (cpuset(7), "List format")."""

from __future__ import annotations

LAST = 8191
"""CONFIG_NR_CPUS is never more."""


def parse(text: str) -> list[int]:
    """The numbers of a list, ascending; none for an empty one. Raises ValueError."""
    found: set[int] = set()
    for part in text.strip().split(",") if text.strip() else []:
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not all(word.isdecimal() and word.isascii() and len(word) < 6 for word in (first, last)):
            raise ValueError(f"'{text}' is no list of numbers")
        if int(first) > int(last) or int(last) > LAST:
            raise ValueError(f"'{text}' is no list of numbers")
        found.update(range(int(first), int(last) + 1))
    return sorted(found)
