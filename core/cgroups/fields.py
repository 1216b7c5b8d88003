"""What samples and rates are made of."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Fields:
    """Attributes with class-level defaults: an instance costs what it knows."""

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain values, ready for JSON."""
        return {name: getattr(self, name) for name in type(self).__annotations__}

    def __repr__(self) -> str:
        known = ", ".join(f"{name}={value!r}" for name, value in self.to_dict().items() if value is not None)
        return f"{type(self).__name__}({known})"


def delta(before: int | None, after: int | None) -> int | None:
    """The growth of a counter; None if unknown, or if it fell (the group was remade)."""
    if before is None or after is None or after < before:
        return None
    return after - before


def growth(before: dict[str, Any] | None, after: dict[str, Any] | None, column: int) -> int | None:
    """Of one column over all devices; one that is new began at 0, one that left counts nothing."""
    if before is None or after is None:
        return None
    total = 0
    for name, values in after.items():
        if name == "lo":
            continue
        grown = values[column] - (before[name][column] if name in before else 0)
        if grown < 0:
            return None
        total += grown
    return total
