"""`pyctr stats`."""

from __future__ import annotations

import sys
import time

from pyctr.cli import output, values
from pyctr.core import cgroupstats, containers, growth
from pyctr.core.errors import NotFound, UsageError
from pyctr.core.rounds import Vital

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.containers import Container
    from pyctr.core.engines.finder import Finder
    from pyctr.core.engines.model import Foreign

    Columns = tuple[tuple[str, str], ...]

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
_WITH_ENGINE = (_COLUMNS[0], ("Engine", "ENGINE"), *_COLUMNS[1:])
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
    add("-A", "--all-engines", action="store_true", help="docker's, podman's, Kubernetes' ... too")
    add("--engine", metavar="NAME,...", help="those of these engines: pyctr, docker, podman, systemd, ... or all")
    add("container", nargs="*", metavar="CONTAINER")


class _Subject:
    """What is measured: a container of ours, or of another engine."""

    def __init__(
        self, id: str, name: str, group: str, pid: int, engine: str = "pyctr", *, of: Container | Foreign
    ) -> None:
        self.id = id
        self.short_id = id[:12] if len(id) == 64 else id
        self.name = name
        self.group = group
        self.pid = pid
        self.engine = engine
        self.networked = getattr(of, "own_network", True)
        self.of = of


class _Choice:
    """Which containers are wanted, looked up anew for every frame."""

    def __init__(self, call: Call, args: Arguments) -> None:
        self._call = call
        self._args = args
        self._finder: Finder | None = None
        self.engines: tuple[str, ...] = ()
        if args.all_engines or args.engine:
            from pyctr.core.engines import lookup

            self.engines = lookup.engines(args.engine or "all")

    def look(self) -> list[_Subject]:
        engine = self._call.engine
        if self._args.container:
            return [self._named(name) for name in self._args.container]
        found = []
        if not self.engines or "pyctr" in self.engines:
            everyone = containers.all(engine)
            found = [_ours(container) for container in everyone if self._args.all or container.pid]
        if self.engines:
            theirs = [_theirs(one) for one in self._others().look() if one.engine in self.engines and not one.infra]
            found += [subject for subject in theirs if self._args.all or subject.pid]
        return found

    def _named(self, name: str) -> _Subject:
        try:
            return _ours(containers.find(self._call.engine, name))
        except NotFound as refused:
            from pyctr.cli import others

            return _theirs(others.instead(self._call.engine, name, refused, self._others()))

    def _others(self) -> Finder:
        if self._finder is None:
            from pyctr.core.engines.finder import Finder

            engine = self._call.engine
            self._finder = Finder(engine.paths, engine.layout, services="systemd" in self.engines)
        return self._finder


def _ours(container: Container) -> _Subject:
    return _Subject(container.id, container.name, container.state.group, container.pid, of=container)


def _theirs(one: Foreign) -> _Subject:
    return _Subject(one.id, one.name, one.group, one.pid, one.engine, of=one)


def run(call: Call, args: Arguments) -> int:
    if args.history:
        from pyctr.cli import past

        rings = [past.ring_of(call.engine, name) for name in args.container] or past.all_rings(call.engine)
        return past.show(rings, args.since, args.until, json=args.json or args.format == "json")
    for flag in ("since", "until", "json"):
        if getattr(args, flag):
            raise UsageError(f"--{flag} is of the past", hint="with --history")
    engine = call.engine
    choice = _Choice(call, args)
    sampler = cgroupstats.Sampler(engine.layout, proc=call.paths.proc)
    host = sampler.sample_host().memory_total
    live = sys.stdout.isatty() and not args.no_stream and args.format != "json"
    before = {subject.id: _sample(sampler, subject) for subject in choice.look()}
    closer: dict[str, growth.Closer] = {}
    if live:
        sys.stdout.write("\x1b[2J")
    while True:
        # rates are differences over time: this is the interval they are measured over
        time.sleep(_INTERVAL)
        rows, after = [], {}
        for subject in choice.look():
            now = after[subject.id] = _sample(sampler, subject)
            first = before.get(subject.id)
            rates = cgroupstats.rates(first, now) if first is not None and now is not None else None
            row = _row(subject, now, rates, host, whole=args.no_trunc)
            if args.format not in (None, "table"):
                known = closer.get(subject.id)
                if now is not None:
                    closer[subject.id] = known = growth.closer(engine, subject.of, known)
                row |= _more(subject, now, rates, known)
            rows.append(row)
        for id in before.keys() - after.keys():
            before.pop(id)
        before = after
        several = choice.engines or any(row["Engine"] != "pyctr" for row in rows)
        _show(rows, args, _WITH_ENGINE if several else _COLUMNS, live=live)
        if args.no_stream or (args.container and not any(after.values())):
            return 0


def _show(rows: list[dict[str, Any]], args: Arguments, columns: Columns, *, live: bool) -> None:
    if not live:
        output.listing(rows, columns, args.format)
        sys.stdout.flush()
        return
    import io

    # whole frames, written at once over the last one: a cleared screen would flicker
    real, sys.stdout = sys.stdout, io.StringIO()
    try:
        output.listing(rows, columns, args.format)
        frame = sys.stdout.getvalue()
    finally:
        sys.stdout = real
    sys.stdout.write("\x1b[H" + frame.replace("\n", "\x1b[K\n") + "\x1b[J")
    sys.stdout.flush()


def _sample(sampler: cgroupstats.Sampler, subject: _Subject) -> cgroupstats.Sample | None:
    if not subject.pid:
        return None
    sample = sampler.sample(subject.group, subject.pid if subject.networked else None, fresh=True)
    return sample if sample.known else None


def _row(
    subject: _Subject,
    sample: cgroupstats.Sample | None,
    rates: cgroupstats.Rates | None,
    host: int | None,
    *,
    whole: bool,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "Container": subject.id if whole else subject.short_id,
        "ID": subject.id if whole else subject.short_id,
        "Name": subject.name,
        "Engine": subject.engine,
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


def _more(
    subject: _Subject, sample: cgroupstats.Sample | None, rates: cgroupstats.Rates | None, closer: growth.Closer | None
) -> dict[str, Any]:
    """What the table has no room for, or takes a closer look: for JSON and templates. Numbers, None where unknown."""
    vital = Vital(subject.of, subject.of.status)
    found = closer.sample if closer is not None and sample is not None else cgroupstats.Sample()
    return {
        "PIDsLimit": sample.pids_limit if sample is not None else None,
        "PIDsRefused": sample.pids_failures if sample is not None else None,
        "Processes": found.processes,
        "Threads": found.threads,
        "OpenFiles": found.open_files,
        "StateD": found.waiting,
        "StateDSeconds": found.stuck,
        "Refaults": rates.memory_refaults if rates is not None else None,
        "LayerSize": found.layer,
        "LogSize": found.log,
        "Growth": closer.growth if closer is not None else None,
        "Restarts": vital.restarts,
        "Health": vital.health,
        "PSI": {name: values[:2] for name, values in (sample.psi or {}).items()} if sample is not None else None,
    }


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.2f}%"


def _binary(value: int | None) -> str:
    return _UNKNOWN if value is None else output.binary_size(value)


def _decimal(value: int | None) -> str:
    return _UNKNOWN if value is None else output.decimal_size(value)
