"""`pyctr-runtime events`: what a container uses, and each out-of-memory kill, one JSON document a line (as runc)."""

from __future__ import annotations

import sys
import time

from pyctr.core import jsontext
from pyctr.core.runtime import ocistate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call
    from pyctr.core.cgroups.group import Manager

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def configure(parser: Declares) -> None:
    parser.add_argument("--interval", type=seconds, default=5.0, metavar="TIME", help="between stats, like 500ms")
    parser.add_argument("--stats", action="store_true", help="print what it uses now and end")
    parser.add_argument("id", metavar="ID")


def seconds(text: str) -> float:
    """A duration as Go writes it: 5s, 1m30s, 500ms. Raises ValueError."""
    total, number, unit = 0.0, "", ""
    for sign in f"{text} ":
        if unit and (sign.isdigit() or sign in ". "):
            total += float(number) * _UNITS.get(unit, float("nan"))
            number = unit = ""
        if sign.isdigit() or sign == ".":
            number += sign
        elif sign != " ":
            unit += sign
    if number or not total > 0:
        raise ValueError(text)
    return total


def run(call: Call, args: Arguments) -> int:
    container = call.container(args.id)
    record = container.record()
    if not container.alive(record):
        raise ocistate.not_running(args.id)
    group = container.manager(record)
    if args.stats:
        _say("stats", args.id, _stats(group))
        return 0
    _follow(args.id, container.open(record), group, args.interval)
    return 0


def _follow(id: str, pidfd: int, group: Manager, interval: float) -> None:
    """Until the container's first process has ended."""
    from pyctr.core.runtime.loop import READ, Loop
    from pyctr.core.runtime.oom import Watch, notifier

    loop = Loop()
    ended = []
    loop.add(pidfd, READ, lambda events: ended.append(True))
    watch = Watch(loop, notifier(group), lambda: group, lambda kills: _say("oom", id, None))
    due = time.monotonic() + interval
    while not ended:
        loop.turn(due)
        if not ended and time.monotonic() >= due:
            due += interval
            _say("stats", id, _stats(group))
    watch.count()
    watch.close()


def _stats(group: Manager) -> dict[str, Any]:
    from pyctr.core.cgroups import ocistats

    return ocistats.collect(group)


def _say(kind: str, id: str, data: dict[str, Any] | None) -> None:
    document = {"type": kind, "id": id}
    print(jsontext.dumps(document if data is None else {**document, "data": data}))
    sys.stdout.flush()
