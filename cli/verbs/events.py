"""`pyctr events`."""

from __future__ import annotations

import os
import time

from pyctr.cli import filters, output, values
from pyctr.cli.diagnostics import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.events import Event

_FILTERS = ("container", "event", "action", "type", "image", "label")


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--since", type=values.moment, metavar="TIME", help="from this time on: 10m (ago), a date, seconds since 1970")
    add("--until", type=values.moment, metavar="TIME", help="up to this time, then end")
    add("-f", "--filter", action="append", type=filters.read, metavar="KEY=VALUE", help=", ".join(_FILTERS))
    add("--format", metavar="FORMAT", help="json or a template such as '{{.Action}} {{.Name}}'")


def run(call: Call, args: Arguments) -> int:
    wanted = filters.collect(args.filter, _FILTERS)
    since, until = (None if moment is None else int(moment * 1e9) for moment in (args.since, args.until))
    show = _shower(args.format)
    journal = call.engine.events
    if until is not None and until <= time.time_ns():
        for event in journal.read(since, until, wanted):
            show(event)
        return 0
    stop = -1 if until is None else _readable_at(until)
    for event in journal.follow(since, wanted, stop=stop):
        if until is not None and event.time_ns > until:
            break
        show(event)
    return 0


def _shower(form: str | None) -> Any:
    import sys

    template = None
    if form and form != "json":
        from pyctr.cli.template import Template

        template = Template(output.unescape(form))

    def show(event: Event) -> None:
        if template is not None:
            output.write(output.terminal_safe(template.render(fields(event))))
        elif form:
            output.write(output.json_line(fields(event)))
        else:
            output.write(line(event))
        sys.stdout.flush()

    return show


def fields(event: Event) -> dict[str, Any]:
    """Docker's names."""
    return {
        "Type": event.type,
        "Action": event.action,
        "Status": event.action,
        "ID": event.id,
        "Name": event.name,
        "Actor": {"ID": event.id, "Attributes": _attributes(event)},
        "Scope": "local",
        "Time": event.time_ns // 1_000_000_000,
        "TimeNano": event.time_ns,
    }


def line(event: Event) -> str:
    """ "2026-11-20T23:14:07.412345678+00:00 container start 3f2a… (image=base, name=web)"."""
    second, fraction = divmod(event.time_ns, 1_000_000_000)
    at = time.localtime(second)
    zone = time.strftime("%z", at)
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', at)}.{fraction:09d}{zone[:3]}:{zone[3:]}"
    text = ", ".join(f"{key}={value}" for key, value in sorted(_attributes(event).items()))
    return safe(f"{stamp} {event.type} {event.action} {event.id} ({text})")


def _attributes(event: Event) -> dict[str, str]:
    return {**event.labels, **event.attributes, "name": event.name}


def _readable_at(moment: int) -> int:
    """A descriptor that becomes readable at a time (ns since the epoch). Closing the other end of a pipe does it."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    import threading

    timer = threading.Timer(max(0.0, (moment - time.time_ns()) / 1e9), os.close, (writing,))
    timer.daemon = True
    timer.start()
    return reading
