"""What is kept of a container's death: how it ended, why, and what it did before. One JSON document each.

Written by the shim for every end that nobody asked for and that was no success, before the end is on record: whoever
sees the container stopped finds its document. The newest KEPT lie in the container's directory until it is removed;
those of --rm containers, which have none by then, in `<root>/deaths`, the newest KEPT_GONE of all.

An attached --rm container that ended with a code of its own leaves nothing: its user has seen it end.
"""

from __future__ import annotations

import os
import time

from pyctr.core import fsutil, heaviest, redo, ring
from pyctr.core.cgroupstats import Sampler
from pyctr.core.state import STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.cgroups import Layout
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.history import Moment
    from pyctr.core.paths import Paths

DIRECTORY = "deaths"
KEPT, KEPT_GONE = 5, 50
BEFORE = 65.0
"""Seconds before the end of which the samples are kept: the last minute, and one to measure from."""
LINES, LINE = 20, 400
"""Log lines kept, and characters of each."""
EVENTS = 20
_SIGKILL = 9
_FAULTS = (4, 5, 6, 7, 8, 11, 31)
"""Signals by which a program's own mistake ends it."""

OOM, KILLED, CRASHED, FAILED, LOST = "oom", "killed", "crashed", "failed", "lost"
"""Causes: for want of memory, by somebody's signal, by its own mistake, with a code of its own, nobody saw how."""


def worth_keeping(wishes: dict[str, Any], exit: dict[str, Any], desired: str) -> bool:
    """Whether an end is a death: not success, and not what the user had asked for."""
    if not exit["code"] or (desired in ("stopped", "removing") and not exit["oom_killed"]):
        return False
    seen = wishes.get("attach") and wishes.get("auto_remove") and not exit["signal"] and not exit["oom_killed"]
    return not seen


def write(wishes: dict[str, Any], layout: Layout, state: dict[str, Any], exit: dict[str, Any]) -> None:
    """The document of an end that is `worth_keeping`; its group must still be there.

    Raises OSError.
    """
    from pyctr.core.paths import Paths

    paths = Paths(**wishes["paths"])
    last = Sampler(layout, paths.proc, 0).sample(state.get("group") or "", fresh=True)
    document = build(paths, wishes, state, exit, last)
    gone = bool(wishes.get("auto_remove"))
    directory = f"{paths.root}/{DIRECTORY}" if gone else f"{wishes['bundle']}/{DIRECTORY}"
    if gone:
        fsutil.make_private_directory(directory)
    else:
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            pass  # not its first death
    name = f"{int(exit['finished_at'] * 1000):013}-{wishes['id'][:12]}.json"
    fsutil.write_json(f"{directory}/{name}", document, durable=False)
    for old in sorted(_names(directory))[: -(KEPT_GONE if gone else KEPT)]:
        os.unlink(f"{directory}/{old}")


def build(
    paths: Paths, about: dict[str, Any], state: dict[str, Any], exit: dict[str, Any], last: Any
) -> dict[str, Any]:
    """The document. `about` has id, name, image, bundle; `last` is the last sample of its group."""
    from pyctr.core import history

    process = state.get("process") or {}
    finished = exit["finished_at"]
    readings = [
        reading
        for reading in _readings(f"{about['bundle']}/{ring.FILE}", finished)
        if reading.pid == process.get("pid")
    ]
    first = readings[0].sample.memory_events if readings else None
    final = None
    if last is not None and last.known:
        last.monotonic = time.clock_gettime(time.CLOCK_BOOTTIME)
        boot = readings[-1].boot if readings else 0
        final = ring.Reading(finished, boot, int(process.get("pid") or 0), ring.TIERS[0][0], last)
    moments = history.moments([*readings, *([final] if final else [])])
    evidence = kernel(state.get("group") or "", process, exit)
    document = {
        "version": 1,
        "id": about["id"],
        "name": about.get("name") or state.get("name") or "",
        "image": about.get("image") or state.get("image_name") or "",
        "command": state.get("command") or [],
        "started_at": process.get("started_at") or 0.0,
        "finished_at": finished,
        "pid": process.get("pid") or 0,
        "code": exit["code"],
        "signal": exit["signal"],
        "oom_killed": bool(exit["oom_killed"]),
        "error": exit.get("error") or "",
        "restarts": state.get("restarts") or 0,
        "memory": {
            "limit": last.memory_limit if final else None,
            "peak": last.memory_peak if final else None,
            "events_before": first,
            "events": last.memory_events if final else None,
        },
        "kernel": evidence,
        "samples": [brief(moment) for moment in moments],
        "processes": processes(f"{about['bundle']}/{heaviest.FILE}", int(process.get("pid") or 0), finished),
        "log": _last_lines(f"{about['bundle']}/log/ctr.log"),
        "events": _events(paths, about["id"]),
    }
    document["cause"] = cause(document)
    return document


def cause(document: dict[str, Any]) -> str:
    """One of the words above. A kill for want of memory counts where it explains the end: SIGKILL, seen from here or
    passed on as 137 by a shell, or a record of the kernel's that names the container's first process."""
    if document.get("lost"):
        return LOST
    killed = _SIGKILL in (document["signal"], document["code"] - 128)
    named = any(kill["pid"] == document["pid"] for kill in document["kernel"]["oom"])
    if document["oom_killed"] and (killed or named):
        return OOM
    if document["signal"]:
        return CRASHED if document["signal"] in _FAULTS else KILLED
    return FAILED


def _readings(path: str, finished: float) -> list[ring.Reading]:
    try:
        return ring.read(path, finished - BEFORE, finished)
    except OSError:
        return []


def processes(path: str, pid: int, finished: float) -> dict[str, Any] | None:
    """Those that were seen last, if that was in this life of it: of that first process."""
    try:
        seen = heaviest.at(path, finished)
    except OSError:
        return None
    return seen.to_dict() if seen is not None and seen.first == pid else None


def brief(moment: Moment) -> dict[str, Any]:
    """Only what is known, in no more digits than mean something. After its end a group's memory is what is left."""
    over = moment.rates.pids == 0
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in moment.to_dict().items()
        if value is not None and value is not False and not (over and name.startswith(("memory", "pids")))
    }


def kernel(group: str, process: dict[str, Any], exit: dict[str, Any]) -> dict[str, Any]:
    """The kernel log is read only where it may have something to say: it is long."""
    from pyctr.core.linux import kmsg

    oom: list[dict[str, Any]] = []
    faults: list[str] = []
    begun = float(process.get("started_monotonic") or 0.0)
    if exit["oom_killed"] and group:
        # its clock and ours differ a little
        oom = [kill for kill in kmsg.oom_kills(group, kmsg.records()) if kill["at"] > begun - 10]
    elif exit["signal"] in _FAULTS and process.get("pid"):
        said = [(at, text) for at, text in kmsg.records() if at > begun - 10]
        faults = kmsg.faults(int(process["pid"]), said)
    return {"oom": oom[-10:], "faults": faults[-5:]}


def _last_lines(path: str) -> list[list[Any]]:
    """[ns since the epoch, stream, text] of the end of its log."""
    from pyctr.core import logreading

    try:
        return [line(at, stream, text) for at, stream, text in logreading.read(path, tail=LINES)]
    except OSError:
        return []


def line(at: int, stream: str, text: bytes) -> list[Any]:
    """As it is kept."""
    return [at, stream, text.decode("utf-8", "replace").rstrip("\n")[:LINE]]


def _events(paths: Paths, id: str) -> list[dict[str, Any]]:
    from pyctr.core.events import Events

    try:
        found, _ = Events(paths).appended(tail=1 << 16)
    except OSError:
        return []
    mine = [event for event in found if event.id == id]
    return [{"time_ns": one.time_ns, "action": one.action, "attributes": one.attributes} for one in mine[-EVENTS:]]


def _names(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.endswith(".json")]
    except FileNotFoundError:
        return []


def _load(directory: str) -> list[dict[str, Any]]:
    found = []
    for name in sorted(_names(directory), reverse=True):
        try:
            document = fsutil.read_json(f"{directory}/{name}")
        except (OSError, ValueError):
            continue  # removed meanwhile, or torn by a power cut
        if isinstance(document, dict) and document.get("version") == 1:
            found.append(document)
    return found


def of(container: Container) -> list[dict[str, Any]]:
    """The deaths of a container, newest first. Raises OSError when they may not be read."""
    found = _load(container.path(DIRECTORY))
    if (lost := _lost(container)) is not None:
        found.insert(0, lost)
    return found


def _lost(container: Container) -> dict[str, Any] | None:
    """Of an end that nobody saw, made of what is on record."""
    exit = container.state.exit
    if exit is None and container.state.process is not None and container.status == STOPPED:
        from pyctr.core import repair

        exit = repair.lost(container)  # not on record yet: the next verb on it writes this down
    if exit is None or not exit.lost or container.state.process is None or container.alive:
        return None
    about = {"id": container.id, "bundle": container.path()}
    known = exit.to_dict()
    if not exit.finished_at:
        # nobody knows when: some time after it was measured last
        redo.mend(container.engine.paths)
        readings = ring.read(container.path(ring.FILE))
        known["finished_at"] = readings[-1].time if readings else container.state.process.started_at
    document = build(container.engine.paths, about, container.state.to_dict(), known, None)
    return {**document, "lost": True, "cause": LOST}


def gone(engine: Engine) -> list[dict[str, Any]]:
    """Those of --rm containers, newest first."""
    return _load(f"{engine.paths.root}/{DIRECTORY}")


def everything(engine: Engine) -> list[dict[str, Any]]:
    """All that are on record, newest first."""
    from pyctr.core import containers

    found = gone(engine)
    for container in containers.all(engine):
        found += of(container)
    return sorted(found, key=lambda document: float(document["finished_at"]), reverse=True)


def find(engine: Engine, ref: str) -> list[dict[str, Any]]:
    """Those of a container by name, id or its beginning, also of one that is gone, or of another engine's
    (`docker:web`). Raises NotFound, Ambiguous, OSError."""
    from pyctr.core import containers, errors

    left = [one for one in gone(engine) if ref and (one["name"] == ref or one["id"].startswith(ref))]
    try:
        return [*of(containers.find(engine, ref)), *left]
    except errors.NotFound as refused:
        if left:
            return left
        from pyctr.core import foreigndeaths
        from pyctr.core.engines import lookup

        try:
            return foreigndeaths.of(engine, lookup.find(engine, ref))
        except errors.NotFound as neither:
            raise (neither if ":" in ref else refused) from None


def forget(engine: Engine, refs: list[str] | None = None) -> int:
    """Remove the documents of these containers, or all there are; how many there were. Raises NotFound, OSError."""
    from pyctr.core import containers

    directories = [f"{engine.paths.root}/{DIRECTORY}"]
    directories += [container.path(DIRECTORY) for container in containers.all(engine)]
    wanted = None if refs is None else {one["id"][:12] for ref in refs for one in find(engine, ref)}
    count = 0
    for directory in directories:
        for name in _names(directory):
            if wanted is None or name.partition("-")[2].removesuffix(".json") in wanted:
                os.unlink(f"{directory}/{name}")
                count += 1
    return count
