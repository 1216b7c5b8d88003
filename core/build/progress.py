"""What a build tells whoever watches it, and how it is told to stop."""

from __future__ import annotations

import dataclasses
import os

from pyctr.core.images.transport import Cancel, Cancelled

BEGIN, OUTPUT, CACHED, DONE, FAILED, NOTE = "begin", "output", "cached", "done", "failed", "note"


@dataclasses.dataclass(frozen=True)
class Event:
    """One thing that happened to one step. `step` counts from 1 over all stages in the order they begin."""

    what: str
    step: int = 0
    text: str = ""
    """BEGIN: the instruction; OUTPUT: bytes as text, in pieces; NOTE: a line for the user."""
    stage: str = ""
    """BEGIN: "build 2/5"."""


class Stop:
    """A wish to stop for all threads. `fd` is readable from then on, for who waits in poll(2)."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC)
        self.transfers = Cancel()

    def set(self) -> None:
        os.eventfd_write(self.fd, 1)
        self.transfers.set()

    @property
    def wanted(self) -> bool:
        return self.transfers.wanted

    def check(self) -> None:
        """Raises Cancelled."""
        self.transfers.check()

    def close(self) -> None:
        os.close(self.fd)


__all__ = ["BEGIN", "CACHED", "DONE", "FAILED", "NOTE", "OUTPUT", "Cancelled", "Event", "Stop"]
