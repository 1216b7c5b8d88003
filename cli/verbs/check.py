"""`pyctr check`: the verdicts of triage for a monitoring system, as an exit code and one line.

0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, and performance data behind a bar: the Monitoring Plugins' Development
Guidelines, which Nagios, Icinga, Naemon, Checkmk and Sensu read.
"""

from __future__ import annotations

from pyctr.cli import filters, others, output
from pyctr.cli.diagnostics import safe
from pyctr.core.errors import PyctrError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.rounds import Vital
    from pyctr.core.triage import Diagnosis, Fact

OK, WARNING, CRITICAL, UNKNOWN = range(4)
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
CRITICALS = ("oom", "unwatched", "crash-loop", "pids", "unhealthy")
WARNINGS = ("memory", "io", "throttled", "starved", "failed", "near-limit", "frozen", "disk", "zombies", "clock")
MOST = 10
"""Containers named in the line, and measured behind the bar; the rest is a number."""
_FILTERS = ("label", "name", "status")


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-c", "--critical", metavar="KIND,...", help=f"verdicts that are critical, {','.join(CRITICALS)} by default")
    add("-w", "--warning", metavar="KIND,...", help="verdicts that are a warning, all others by default")
    add("--ignore", metavar="KIND,...", default="", help="verdicts that are nothing")
    add("--running", action="store_true", help="those named must run: critical otherwise")
    add("-f", "--filter", action="append", type=filters.read, metavar="KEY=VALUE", help=", ".join(_FILTERS))
    add("--interval", type=float, default=1.0, metavar="SECONDS", help="between the two looks, 1 by default")
    add("-A", "--all-engines", action="store_true", help="docker's, podman's, Kubernetes' ... too")
    add("--engine", metavar="NAME,...", help="those of these engines: pyctr, docker, podman, systemd, ... or all")
    add("container", nargs="*", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    try:
        code, line = check(call, args)
    except PyctrError as error:
        # 3 is the only way to say that nothing was found out: a plugin's other codes are verdicts
        hint = f" ({error.hint})" if error.hint else ""
        code, line = UNKNOWN, f"{error.message}{hint}"
    except OSError as error:
        code, line = UNKNOWN, str(error)
    output.write(safe(f"PYCTR {WORDS[code]} - {line}"))
    return code


def check(call: Call, args: Arguments) -> tuple[int, str]:
    """The code, and the line behind its word. Raises PyctrError, OSError."""
    from pyctr.core import rounds, thresholds
    from pyctr.core.state import PAUSED

    levels = _levels(args)
    if not 0.2 <= args.interval <= 60:
        raise UsageError(f"--interval: {args.interval:g} is not between 0.2 and 60")
    wanted = filters.collect(args.filter, _FILTERS)
    engines = others.wanted(args)
    found = rounds.twice(call.engine, args.container, args.interval, thresholds.load(), engines)
    judged = [one for one in found if _fits(one[0], wanted)]
    sick: list[tuple[int, int, str]] = []
    for vital, diagnoses in judged:
        told = [(levels.get(one.kind, WARNING), one) for one in diagnoses]
        told = [(level, one) for level, one in told if level]
        worst = max((level for level, _ in told), default=OK)
        words = [_words(one) for level, one in told if level == worst]
        rank = max((one.rank for _, one in told), default=0)
        if args.running and not vital.live:
            worst, rank, words = CRITICAL, 200, [vital.status, *words]
        elif args.running and vital.status == PAUSED and worst == OK:
            worst, words = WARNING, [vital.status]
        if worst:
            sick.append((worst, rank, f"{vital.name}: {', '.join(words)}"))
    sick.sort(key=lambda one: (-one[0], -one[1], one[2]))
    code = max((level for level, _, _ in sick), default=OK)
    return code, f"{_summary(judged, sick)} | {_measured(judged, sick)}"


def _levels(args: Arguments) -> dict[str, int]:
    """Kind -> OK, WARNING or CRITICAL."""
    known = (*CRITICALS, *WARNINGS)

    def kinds(flag: str, text: str) -> list[str]:
        found = [kind.strip() for kind in text.split(",") if kind.strip()]
        for kind in found:
            if kind not in known:
                raise UsageError(f"{flag}: no verdict '{kind}'", hint=f"one of {', '.join(known)}")
        return found

    critical = kinds("--critical", args.critical) if args.critical is not None else list(CRITICALS)
    levels = dict.fromkeys(known, WARNING if args.warning is None else OK)
    levels |= dict.fromkeys(kinds("--warning", args.warning or ""), WARNING)
    if args.critical is not None or args.warning is None:
        levels |= dict.fromkeys(critical, CRITICAL)
    else:
        levels |= {kind: CRITICAL for kind in critical if levels[kind] != WARNING}
    return levels | dict.fromkeys(kinds("--ignore", args.ignore), OK)


def _fits(vital: Vital, wanted: dict[str, list[str]]) -> bool:
    if not filters.labels_match(vital.labels, wanted.get("label", ())):
        return False
    if "name" in wanted and not any(name in vital.container.name for name in wanted["name"]):
        return False
    return "status" not in wanted or vital.status in wanted["status"]


def _words(diagnosis: Diagnosis) -> str:
    facts = ", ".join(_fact(fact) for fact in diagnosis.facts[:2])
    return f"{diagnosis.title} ({facts})" if facts else diagnosis.title


def _fact(fact: Fact) -> str:
    value = fact.value
    if isinstance(value, str):
        return f"{fact.name} {' '.join(value.split())[:60]}"
    if fact.unit == "bytes":
        return f"{fact.name} {output.binary_size(int(value))}"
    return f"{fact.name} {value:.3g}{ {'percent': '%', 'seconds': ' s', 'cores': ' cores'}.get(fact.unit, '') }"


def _summary(judged: list[tuple[Vital, tuple[Diagnosis, ...]]], sick: list[tuple[int, int, str]]) -> str:
    total = f"{len(judged)} container{'' if len(judged) == 1 else 's'}"
    if not sick:
        return f"{total}, none needs anybody"
    named = "; ".join(text for _, _, text in sick[:MOST]).replace("|", "/")
    more = f"; and {len(sick) - MOST} more" if len(sick) > MOST else ""
    return f"{len(sick)} of {total}: {named}{more}"


def _measured(judged: list[tuple[Vital, tuple[Diagnosis, ...]]], sick: list[tuple[int, int, str]]) -> str:
    """'label'=value[unit];[warn];[crit];[min];[max]"""
    live = sum(vital.live for vital, _ in judged)
    words = [f"containers={len(judged)};;;0", f"running={live};;;0;{len(judged)}"]
    for name, level in (("warning", WARNING), ("critical", CRITICAL)):
        words.append(f"{name}={sum(one[0] == level for one in sick)};;;0;{len(judged)}")
    measured = [vital for vital, _ in judged if vital.sample is not None and vital.rates is not None]
    for vital in measured if len(measured) <= MOST else ():
        name, sample, rates = vital.name, vital.sample, vital.rates
        assert sample is not None and rates is not None
        if rates.cpu_percent is not None:
            top = f"{sample.cpu_limit * 100:g}" if sample.cpu_limit else ""
            words.append(f"'{name} cpu'={rates.cpu_percent:.1f}%;;;0;{top}")
        memory = sample.memory_working_set if sample.memory_working_set is not None else sample.memory_current
        if memory is not None:
            words.append(f"'{name} memory'={memory}B;;;0;{sample.memory_limit or ''}")
        if sample.pids is not None:
            words.append(f"'{name} pids'={sample.pids};;;0;{sample.pids_limit or ''}")
    return " ".join(words)
