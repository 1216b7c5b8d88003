"""What a transfer tells whoever watches it."""

from __future__ import annotations

from pyctr.core.record import Record

WAITING, EXISTS, DOWNLOADING, UNPACKING = "waiting", "exists", "downloading", "unpacking"
UPLOADING, MOUNTED, DONE, NOTE = "uploading", "mounted", "done", "note"


class Progress(Record):
    """One thing that happened to one blob. For NOTE only `text` is set."""

    what: str
    digest: str = ""
    done: int = 0
    """Bytes that are over."""
    total: int = 0
    text: str = ""
