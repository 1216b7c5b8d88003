"""What containers of other engines have written: their log files, read as ours are.

json-file    {"log":"a line\\n","stream":"stdout","time":"2026-11-20T23:14:07.412345678Z"}     docker, nerdctl
cri          2026-11-20T23:14:07.412345678+00:00 stdout F a line                              podman, Kubernetes
local        protobuf, and older files compressed: core/engines/locallog                      docker
journal      what journalctl tells: core/engines/journal                                      docker, podman
"""

from __future__ import annotations

import json
import os
import time
from collections import deque

from pyctr.core import errors, logentries, logreading
from pyctr.core.engines import locallog
from pyctr.core.logentries import Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyctr.core.engines.model import Foreign, Log
    from pyctr.core.logentries import Entry, Line

_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK
"""A user's or a container's file may be a link to what it must not show, or a pipe that never answers."""


def _parse(entry: bytes) -> Entry | None:
    try:
        found = json.loads(entry)
        text, stream, stamp = found["log"], found["stream"], logentries.timestamp_ns(found["time"].encode())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # torn, or not of this form
    if not isinstance(text, str) or stream not in ("stdout", "stderr") or stamp is None:
        return None
    # docker cuts long lines; what has no newline goes on in the next entry of its stream
    return stamp, stream, text.endswith("\n"), text.removesuffix("\n").encode("utf-8", "surrogatepass")


FORMS = {
    "json-file": Form(_parse, _FLAGS, packed=True),
    "cri": Form(logentries.parse, _FLAGS, packed=True),
    "local": locallog.FORM,
}
NO_FILE = "journal"
"""The form that is no file."""


def read(one: Foreign, **wishes: Any) -> Iterator[Line]:
    """`logreading.read` of it, with those wishes. Raises Unsupported where it is in no file."""
    if one.log.form not in FORMS and one.log.form != NO_FILE:
        why = one.log.why or f"where {one.engine} keeps it is not known"
        raise errors.Unsupported(f"no log of '{one.name}' can be read", hint=why)
    return lines(one.log, **wishes)


def lines(where: Log, **wishes: Any) -> Iterator[Line]:
    """`logreading.read` of a log in whatever form; "" is ours. Raises Unsupported where there is no file."""
    if where.why:
        raise errors.Unsupported("no log of it can be read", hint=where.why)
    form = FORMS.get(where.form, logentries.CRI)
    if where.form == NO_FILE:
        from pyctr.core.engines import journal

        form = journal.FORM
    return logreading.read(where.path, form=form, **wishes)


def tail(where: Log, size: int) -> bytes:
    """The last lines in the form `cri`, whole ones, at most so many bytes. Raises OSError, PyctrError."""
    kept: deque[bytes] = deque()
    for stamp, stream, line in lines(where, tail=max(1, size // 64)):
        seconds, rest = divmod(stamp, 1_000_000_000)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        mark = b"F" if line.endswith(b"\n") else b"P"
        kept.append(f"{moment}.{rest:09d}Z {stream} ".encode() + mark + b" " + line.removesuffix(b"\n") + b"\n")
        size -= len(kept[-1])
        while size < 0:
            size += len(kept.popleft())
    return b"".join(kept)
