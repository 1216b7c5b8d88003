"""Descriptors that a caller hands through to the process inside: --preserve-fds and sd_listen_fds(3)."""

from __future__ import annotations

import os

from pyctr.core.errors import UsageError


def descriptors(preserved: int) -> tuple[int, list[str]]:
    """How many from 3 on, and what the process's environment says about them. Raises UsageError if one is closed."""
    listening = os.environ.get("LISTEN_FDS", "")
    count = int(listening) if listening.isdigit() else 0
    if preserved < 0:
        raise UsageError(f"--preserve-fds: '{preserved}' is negative")
    for fd in range(3, 3 + count + preserved):
        try:
            os.fstat(fd)
        except OSError:
            raise UsageError(f"--preserve-fds: descriptor {fd} is not open", hint="they count from 3") from None
    # whoever executes the command is its pid namespace's first process, or says so
    return count + preserved, [f"LISTEN_FDS={count}", "LISTEN_PID=1"] if count else []
