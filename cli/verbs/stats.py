"""`pyctr stats`."""

from __future__ import annotations

import sys
import time

from pyctr.cli import output, values
from pyctr.core import cgroupstats, containers
from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.containers import Container

_COLUMNS = (
    ("Container", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
)
_INTERVAL = 1.0
_UNKNOWN = "--"


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="stopped ones too")
    add("--no-stream", action="store_true", help="once")
    add("--no-trunc", action="store_true", help="whole ids")
    add("--history", action="store_true", help="what was used in the past, as every container's own record has it")
    add("--since", type=values.moment, metavar="TIME", help="with --history: -5m, 03:12, a date; 15 minutes ago")
    add("--until", type=values.moment, metavar="TIME", help="with --history: up to this time; now")
    add("--json", action="store_true", help="with --history: every record, one document per line, sizes in bytes")
    add("--format", metavar="FORMAT", help="table, json or a template such as '{{.Name}} {{.CPUPerc}}'")
    add("container", nargs="*", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    if args.history:
        from pyctr.cli import past

        return past.show(_named(call, args), args.since, args.until, json=args.json or args.format == "json")
    for flag in ("since", "until", "json"):
        if getattr(args, flag):
            raise UsageError(f"--{flag} is of the past", hint="with --history")
    engine = call.engine
    sampler = cgroupstats.Sampler(engine.layout, proc=call.paths.proc)
    host = sampler.sample_host().memory_total
    live = sys.stdout.isatty() and not args.no_stream and args.format != "json"
    before = {container.id: _sample(sampler, container) for container in _chosen(call, args)}
    if live:
        sys.stdout.write("\x1b[2J")
    while True:
        # rates are differences over time: this is the interval they are measured over
        time.sleep(_INTERVAL)
        rows, after = [], {}
        for container in _chosen(call, args):
            now = after[container.id] = _sample(sampler, container)
            first = before.get(container.id)
            rates = cgroupstats.rates(first, now) if first is not None and now is not None else None
            rows.append(_row(container, now, rates, host, whole=args.no_trunc))
        for id in before.keys() - after.keys():
            before.pop(id)
        before = after
        _show(rows, args, live=live)
        if args.no_stream or (args.container and not any(after.values())):
            return 0


def _show(rows: list[dict[str, Any]], args: Arguments, *, live: bool) -> None:
    if not live:
        output.listing(rows, _COLUMNS, args.format)
        sys.stdout.flush()
        return
    import io

    # whole frames, written at once over the last one: a cleared screen would flicker
    real, sys.stdout = sys.stdout, io.StringIO()
    try:
        output.listing(rows, _COLUMNS, args.format)
        frame = sys.stdout.getvalue()
    finally:
        sys.stdout = real
    sys.stdout.write("\x1b[H" + frame.replace("\n", "\x1b[K\n") + "\x1b[J")
    sys.stdout.flush()


def _chosen(call: Call, args: Arguments) -> list[Container]:
    if args.container:
        return [containers.find(call.engine, name) for name in args.container]
    found = containers.all(call.engine)
    return found if args.all else [container for container in found if container.pid]


def _named(call: Call, args: Arguments) -> list[Container]:
    """Stopped ones have a past, too: without names all."""
    return _chosen(call, args) if args.container else containers.all(call.engine)


def _sample(sampler: cgroupstats.Sampler, container: Container) -> cgroupstats.Sample | None:
    pid = container.pid
    if not pid:
        return None
    sample = sampler.sample(container.state.group, pid, fresh=True)
    return sample if sample.known else None


def _row(
    container: Container,
    sample: cgroupstats.Sample | None,
    rates: cgroupstats.Rates | None,
    host: int | None,
    *,
    whole: bool,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "Container": container.id if whole else container.short_id,
        "ID": container.id if whole else container.short_id,
        "Name": container.name,
        "CPUPerc": _UNKNOWN,
        "CPULimitPerc": _UNKNOWN,
        "Throttled": _UNKNOWN,
        "MemUsage": f"{_UNKNOWN} / {_UNKNOWN}",
        "MemPerc": _UNKNOWN,
        "NetIO": _UNKNOWN,
        "BlockIO": _UNKNOWN,
        "PIDs": _UNKNOWN,
    }
    if sample is None:
        return row
    if rates is not None:
        row["CPUPerc"] = _percent(rates.cpu_percent)
        row["CPULimitPerc"] = _percent(rates.cpu_percent_of_limit)
        row["Throttled"] = _percent(rates.throttled_percent)
    used, limit = sample.memory_working_set, sample.memory_limit or host
    row["MemUsage"] = f"{_binary(used)} / {_binary(limit)}"
    if used is not None and limit:
        row["MemPerc"] = _percent(100 * used / limit)
    if sample.net is not None:
        received = sum(values[0] for name, values in sample.net.items() if name != "lo")
        sent = sum(values[1] for name, values in sample.net.items() if name != "lo")
        row["NetIO"] = f"{output.decimal_size(received)} / {output.decimal_size(sent)}"
    row["BlockIO"] = f"{_decimal(sample.io_read_bytes)} / {_decimal(sample.io_write_bytes)}"
    row["PIDs"] = _UNKNOWN if sample.pids is None else str(sample.pids)
    return row


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.2f}%"


def _binary(value: int | None) -> str:
    return _UNKNOWN if value is None else output.binary_size(value)


def _decimal(value: int | None) -> str:
    return _UNKNOWN if value is None else output.decimal_size(value)
