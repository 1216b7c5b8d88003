"""From where on triage says that somebody is sick: the numbers, and the user's own in `triage.toml`.

    # $XDG_CONFIG_HOME/pyctr/triage.toml
    memory_percent = 95
    window_seconds = 300

The end of a name is its unit; one without is a number of things.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from pyctr.core.errors import UsageError


class Thresholds(NamedTuple):
    """What the rules of core/triage.py compare with."""

    window_seconds: float = 600.0
    """Back in which kills and deaths count."""
    deaths: int = 3
    """In that window: fewer are accidents."""
    pids_percent: float = 95.0
    """Of the limit: forks fail soon, or do already."""
    memory_percent: float = 90.0
    """Of the limit that the working set takes, which is what the kernel cannot give back for free."""
    memory_stall_percent: float = 5.0
    """Of the last ten seconds in which something waited for memory: reclaim costs it time (PSI some avg10)."""
    host_memory_stall_percent: float = 10.0
    """Likewise where its own limit is far."""
    io_stall_percent: float = 25.0
    """Likewise for a disk."""
    stuck_seconds: float = 30.0
    """For which a task has waited in the kernel and could not be interrupted (state D), in one sleep."""
    throttled_percent: float = 25.0
    """Of the periods of its quota that it was cut short in."""
    at_quota_percent: float = 80.0
    """Of its quota: what it waits for is its next period."""
    cpu_stall_percent: float = 30.0
    """Of the last ten seconds in which something could run and did not (PSI some avg10)."""
    host_busy_percent: float = 90.0
    """Of all cores."""
    growth_bytes_per_second: float = 16 * 1024.0
    """What counts as growth: a megabyte per minute."""
    full_in_seconds: float = 2 * 3600.0
    """Until the disk is full at that rate."""
    full_percent: float = 3.0
    """Of a disk that are left when it is as good as full."""
    much_percent: float = 5.0
    """Of a disk that one container's layer and log take, so that it is worth naming when the disk is full."""
    zombies: int = 5
    """Fewer come and go while a busy first process has not had its turn."""
    ahead_seconds: float = 60.0
    """That its start is ahead of the clock: less is a clock being corrected."""
    stale_seconds: float = 24 * 3600.0
    """After which a failure is history."""


USUAL = Thresholds()


def place() -> str:
    """Beside the user's keys and themes."""
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return f"{config}/pyctr/triage.toml"


def load(path: str = "") -> Thresholds:
    """The user's, if there are any. Raises UsageError for a file that cannot be used."""
    path = path or place()
    try:
        with open(path, "rb") as file:
            import tomllib

            document = tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return USUAL  # most users have none; that of another user (sudo) is not ours to complain about
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}': {error}", hint="lines such as memory_percent = 95") from error
    known = USUAL._asdict()
    for name, value in document.items():
        if name not in known:
            raise UsageError(f"'{path}': no threshold is called '{name}'", hint=_nearest(name, list(known)))
        if why := _wrong(name, value):
            raise UsageError(f"'{path}': {name} = {value!r} is not {why}", hint=f"{name} = {known[name]:g} is usual")
    return Thresholds(**document)


def _wrong(name: str, value: object) -> str:
    """What it should be; "" if it is."""
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")
    if name.endswith("_percent"):
        return "" if 0 < number <= 100 else "a percentage above 0, up to 100"
    if name.endswith("_bytes_per_second"):
        return "" if 0 < number < float("inf") else "a number of bytes per second above 0"
    if name.endswith("_seconds"):
        return "" if 0 < number < float("inf") else "a number of seconds above 0"
    return "" if isinstance(number, int) and number >= 1 else "a whole number from 1 on"


def _nearest(name: str, known: list[str]) -> str:
    import difflib

    found = difflib.get_close_matches(name, known, 1)
    return f"perhaps {found[0]}" if found else f"one of {', '.join(known)}"
