"""Times as a person types them."""

from __future__ import annotations

import time

from pyctr.core.parse import BadValue, is_number

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
HINT = "give -5m, 03:12, 2026-01-02T03:04:05Z or seconds since 1970"


def duration(text: str) -> float:
    """Seconds of "1h30m", "500ms", "2.5s", "10"."""
    word = text.strip()
    if is_number(word):
        return float(word)
    total, number, unit = 0.0, "", ""
    for c in f"{word}0":  # the sentinel digit closes the last unit
        if c.isdecimal() or c == ".":
            if unit:
                if unit not in _SECONDS or not is_number(number):
                    break
                total += float(number) * _SECONDS[unit]
                number, unit = "", ""
            number += c
        else:
            unit += c
    else:
        if number == "0" and not unit and word:
            return total
    raise BadValue(f"'{text}' is not a duration", "give something like 30s, 500ms or 1h30m")


def moment(text: str, now: float | None = None) -> float:
    """Seconds since the epoch of "10m" and "-10m" (ago), "1h30m", "03:12" and "03:12:30" (the last time it was that),
    "now", "1700000000.5", "2026-01-02T03:04:05Z", "2026-01-02". Raises BadValue."""
    now = time.time() if now is None else now
    word = text.strip()
    if word == "now":
        return now
    if is_number(word):
        return float(word)
    try:
        return now - duration(word.removeprefix("-"))
    except BadValue:
        pass  # then a time of day, or a date
    if (clock := _clock(word, now)) is not None:
        return clock
    import datetime

    try:
        whole, dot, fraction = word.partition(".")
        if dot:  # RFC 3339 allows nine digits, datetime reads six
            digits = len(fraction) - len(fraction.lstrip("0123456789"))
            word = f"{whole}.{fraction[:digits][:6].ljust(6, '0')}{fraction[digits:]}"
        return datetime.datetime.fromisoformat(word).timestamp()
    except ValueError:
        raise BadValue(f"'{text}' is not a point in time", HINT) from None


def _clock(word: str, now: float) -> float | None:
    """The last moment at which a clock here showed "03:12"; None for something else."""
    parts = word.split(":")
    if not 2 <= len(parts) <= 3 or not all(part.isdigit() and len(part) == 2 for part in parts):
        return None
    hour, minute, second = (*map(int, parts), 0)[:3]
    if hour > 23 or minute > 59 or second > 59:
        return None
    today = time.localtime(now)
    wanted = time.mktime((today.tm_year, today.tm_mon, today.tm_mday, hour, minute, second, 0, 0, -1))
    if wanted > now:
        wanted = time.mktime((today.tm_year, today.tm_mon, today.tm_mday - 1, hour, minute, second, 0, 0, -1))
    return wanted
