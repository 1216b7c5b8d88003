"""A death in words, the same for every face: what happened, what tells so, what it did before."""

from __future__ import annotations

import time

from pyctr.core import deaths, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MEANINGS = {
    1: "its terminal or its master went away",
    2: "interrupted, as by ctrl-c",
    3: "asked to quit, with a core dump",
    4: "it ran into an instruction that does not exist: built for another processor, or corrupted",
    6: "it gave itself up, as abort() and failed assertions do",
    7: "it used memory that its file or device does not have (a truncated file that was mapped, a full /dev/shm)",
    8: "it computed what cannot be, as a division by zero",
    9: "killed outright: nothing can catch or ignore it",
    11: "it used memory that is not its own",
    13: "it wrote into a pipe that nobody reads",
    14: "an alarm of its own went off",
    15: "asked to end",
    24: "its processor time was up (ulimit -t)",
    25: "a file was about to become larger than allowed (ulimit -f)",
    31: "a system call that is not allowed: a seccomp profile, most often",
}


def headline(document: dict[str, Any]) -> str:
    """Half a line: `OOM-killed at 256.0M of 256.0M`, `killed by SIGKILL from outside, not for memory`."""
    memory, signal, code = document["memory"], document["signal"], document["code"]
    cause = document["cause"]
    if cause == deaths.OOM:
        of = f" at {size(memory['peak'])} of {size(memory['limit'])}" if memory["peak"] and memory["limit"] else ""
        whole = any(kill["whole_host"] for kill in document["kernel"]["oom"])
        return f"the host was out of memory, and it was chosen{of}" if whole else f"OOM-killed{of}"
    if cause == deaths.LOST:
        return "nobody saw how it ended"
    if cause == deaths.CRASHED:
        return f"crashed: {signals.name(signal)}"
    if cause == deaths.KILLED:
        return f"killed by {signals.name(signal)} from outside" + (", not for memory" if signal == 9 else "")
    if 128 < code < 128 + 65:
        return f"exit code {code}: as a shell says that a child of its own ended by {signals.name(code - 128)}"
    return f"exit code {code}"


def evidence(document: dict[str, Any]) -> list[str]:
    """What tells so, a sentence each."""
    memory, signal = document["memory"], document["signal"]
    said = []
    if document["error"]:
        said.append(document["error"])
    if signal:
        said.append(f"{signals.name(signal)} ({signal}): {MEANINGS.get(signal, 'a signal')}")
    for kill in document["kernel"]["oom"]:
        own = "its first process" if kill["pid"] == document["pid"] else "a process of it"
        said.append(f"the kernel killed {own}, {kill['name']} (pid {kill['pid']}), which had {size(kill['rss'])}")
    said += [f"the kernel says: {line}" for line in document["kernel"]["faults"]]
    events = memory["events"]
    if events is not None and "oom_kill" in events:
        before = (memory["events_before"] or {}).get("oom_kill", 0)
        kills = events["oom_kill"]
        said.append(
            f"processes of it killed for memory: {kills}" + (f", {kills - before} in the last minute" if kills else "")
        )
    if memory["peak"] is not None:
        limit = f" of {size(memory['limit'])}" if memory["limit"] else ", without a limit"
        said.append(f"the most memory it ever had: {size(memory['peak'])}{limit}")
    if document["oom_killed"] and not document["kernel"]["oom"]:
        said.append("the kernel log has no record of it (any more), or may not be read")
    return said


def lines(document: dict[str, Any]) -> list[str]:
    """All of it, as a page. Log lines are the container's own words: make them harmless before showing them."""
    ran = document["finished_at"] - document["started_at"] if document["started_at"] else 0.0
    page = [
        f"{document['name']}: {headline(document)}",
        "",
        f"  ended     {clock(document['finished_at'])}, code {document['code']}"
        + (f", after {_span(ran)}" if ran > 0 else ""),
        f"  container {document['id'][:12]}, {document['image'] or 'no image'}, restarts {document['restarts']}",
        f"  command   {' '.join(document['command'])}",
        *(f"  {sentence}" for sentence in evidence(document)),
    ]
    if document["samples"]:
        page += [
            "",
            "What it used before",
            f"  {'':>8}  {'CPU %':>7}  {'MEMORY':>8}  {'PIDS':>5}  {'READ/s':>8}  {'WRITE/s':>8}",
        ]
        page += [f"  {_sample(sample, document['finished_at'])}" for sample in document["samples"]]
    if seen := document.get("processes"):
        page += ["", *_processes(seen, document["finished_at"])]
    if document["log"]:
        page += ["", "Last lines of its log"]
        page += [
            f"  {time.strftime('%H:%M:%S', time.localtime(at / 1e9))} {stream:6} {text}"
            for at, stream, text in document["log"]
        ]
    if document["events"]:
        page += ["", "Events before"]
        page += [
            f"  {clock(event['time_ns'] / 1e9)}  {event['action']}{_attributes(event)}" for event in document["events"]
        ]
    return page


def _processes(seen: dict[str, Any], finished: float) -> list[str]:
    rows, total = seen["rows"], seen["total"]
    many = f"the {len(rows)} heaviest of {total}" if total > len(rows) else f"all {total}"
    page = [f"Its processes {max(0.0, finished - seen['time']):.0f} s before its end: {many if rows else total}"]
    if rows:
        page.append(f"  {'PID':>8}  {'CPU %':>7}  {'MEMORY':>8}  STATE  NAME")
    for one in rows:
        cpu = "-" if one["cpu"] is None else f"{one['cpu']:.1f}"
        page.append(f"  {one['pid']:>8}  {cpu:>7}  {size(one['memory']):>8}  {one['state']:5}  {one['name']}")
    return page


def _sample(sample: dict[str, Any], finished: float) -> str:
    back = sample["time"] - finished
    when = "the end" if back > -0.001 else f"-{-back:.0f} s"
    cpu = sample.get("cpu_percent")
    pids = sample.get("pids")
    return (
        f"{when:>8}  {'-' if cpu is None else f'{cpu:.1f}':>7}  {size(sample.get('memory_working_set')):>8}"
        f"  {'-' if pids is None else pids:>5}  {size(sample.get('io_read')):>8}  {size(sample.get('io_write')):>8}"
    )


def _attributes(event: dict[str, Any]) -> str:
    kept = {key: value for key, value in event["attributes"].items() if key != "image"}
    return "".join(f" {key}={value}" for key, value in kept.items())


def clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    return f"{minutes:.0f} min" if minutes < 60 else f"{hours:.1f} h" if hours < 48 else f"{days:.0f} d"


def size(count: float | None) -> str:
    """`12.3M`, in powers of 1024; `-` for what is not known."""
    if count is None:
        return "-"
    value, unit = float(count), ""
    for unit in ("", "K", "M", "G", "T"):
        if value < 1000 or unit == "T":
            break
        value /= 1024
    return f"{value:.0f}{unit}" if not unit or value >= 100 else f"{value:.1f}{unit}"
