"""What containers of other engines have written: their log files, read as ours are.

json-file    {"log":"a line\\n","stream":"stdout","time":"2026-11-20T23:14:07.412345678Z"}     docker, nerdctl
cri          2026-11-20T23:14:07.412345678+00:00 stdout F a line                              podman, Kubernetes
"""

from __future__ import annotations

import json
import os

from pyctr.core import errors, logs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyctr.core.engines.model import Foreign, Log

_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK
"""A user's or a container's file may be a link to what it must not show, or a pipe that never answers."""


def _parse(entry: bytes) -> logs.Entry | None:
    try:
        found = json.loads(entry)
        text, stream, stamp = found["log"], found["stream"], logs.timestamp_ns(found["time"].encode())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # torn, or not of this form
    if not isinstance(text, str) or stream not in ("stdout", "stderr") or stamp is None:
        return None
    # docker cuts long lines; what has no newline goes on in the next entry of its stream
    return stamp, stream, text.endswith("\n"), text.removesuffix("\n").encode("utf-8", "surrogatepass")


def _whole(entry: bytes) -> bool:
    parsed = _parse(entry)
    return parsed is not None and parsed[2]


FORMS = {"json-file": logs.Form(_parse, _whole, _FLAGS), "cri": logs.Form(logs.parse, logs.CRI.whole, _FLAGS)}


def read(one: Foreign, **wishes: Any) -> Iterator[logs.Line]:
    """`logs.read` of it, with those wishes. Raises Unsupported where it is in no file."""
    if one.log.form not in FORMS:
        why = one.log.why or f"where {one.engine} keeps it is not known"
        raise errors.Unsupported(f"no log of '{one.name}' can be read", hint=why)
    return lines(one.log, **wishes)


def lines(where: Log, **wishes: Any) -> Iterator[logs.Line]:
    """`logs.read` of a file in whatever form; "" is ours. Raises Unsupported where there is no file."""
    if where.why:
        raise errors.Unsupported("no log of it can be read", hint=where.why)
    return logs.read(where.path, form=FORMS.get(where.form), **wishes)
