"""Processes of one test's host: its shims, launchers, workers, its steward."""

from __future__ import annotations

from pathlib import Path

from tests.support.host import Host


def ours(host: Host) -> dict[int, str]:
    """pid -> name, as ps shows it."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and host.base.encode() in (entry / "cmdline").read_bytes():
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return found


def named(host: Host, name: str) -> list[int]:
    return [pid for pid, what in ours(host).items() if what == name]
