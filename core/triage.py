"""Which container is sick, of what, and since when: measurements in, diagnoses out. Nothing is read here.

Every rule answers one question about one patient, with the numbers it went by. What is only a symptom of something
worse is left to the worse: a container that is killed for memory again and again does not also "crash".
"""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core.state import PAUSED, RESTARTING, RUNNING, STOPPED
from pyctr.core.thresholds import USUAL, Thresholds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.cgroupstats import Rates


class Death(NamedTuple):
    """An end that the journal tells of."""

    time: float
    code: int
    oom: bool = False


class Past(NamedTuple):
    """What the journal tells of a container within the window, oldest first. Epoch seconds."""

    kills: tuple[tuple[float, int], ...] = ()
    """When the kernel killed for memory, and how many processes."""
    deaths: tuple[Death, ...] = ()
    paused: float = 0.0
    unhealthy: float = 0.0
    """Since when its probes have failed; 0 where they have not."""
    counted: int = 0
    """Kills of this incarnation among `kills`: the journal counts from its start."""


class Disk(NamedTuple):
    """What it has written, in bytes."""

    layer: float
    log: float
    free: float
    """Left on the file system of its layer."""
    total: float
    growth: float | None = None
    """Of layer and log together, bytes per second; None as long as there is nothing to compare with."""


class Patient(NamedTuple):
    """One container at one moment; None and "" where nothing is known."""

    status: str
    rates: Rates | None = None
    past: Past = Past()
    cpu_limit: float | None = None
    """Cores."""
    memory_limit: float | None = None
    """Bytes; known of one that does not run just now, too."""
    health: str = ""
    streak: int = 0
    """Probes that failed in a row."""
    said: str = ""
    """What the last probe said."""
    watched: bool = True
    """False when its shim was killed."""
    restart: str = "no"
    wanted: str = ""
    code: int | None = None
    signal: int = 0
    error: str = ""
    started: float = 0.0
    """Epoch seconds, as `finished`."""
    finished: float = 0.0
    oom_killed: bool = False
    disk: Disk | None = None
    zombies: int = 0
    """Children of its first process that have ended and were never waited for."""
    waiting: int = 0
    """Tasks in uninterruptible sleep (state D)."""
    stuck: float = 0.0
    """Seconds for which the longest of these sleeps has lasted, as far as somebody looked."""
    waits: str = ""
    """The kernel function that one of them waits in."""


class Machine(NamedTuple):
    """What it competes for."""

    cpus: int | None = None
    cpu: float | None = None
    """Percent of all cores."""


class Fact(NamedTuple):
    """A number that led to a diagnosis. `unit`: bytes percent cores seconds (ago) duration count, or "" for words."""

    name: str
    value: float | str
    unit: str = ""


class Diagnosis(NamedTuple):
    """`rank` orders: 100 is worst. `helps` are names of acts (tui/keys.py) with what each does about it."""

    kind: str
    rank: int
    title: str
    facts: tuple[Fact, ...]
    why: str
    since: float = 0.0
    """Epoch seconds; 0 when only the present is known."""
    helps: tuple[tuple[str, str], ...] = ()


def diagnose(patient: Patient, machine: Machine, now: float, bounds: Thresholds = USUAL) -> tuple[Diagnosis, ...]:
    """Everything that is wrong with it, worst first; `now` in epoch seconds."""
    found = [diagnosis for rule in RULES if (diagnosis := rule(patient, machine, now, bounds)) is not None]
    kinds = {diagnosis.kind for diagnosis in found}
    found = [diagnosis for diagnosis in found if not kinds & _WORSE.get(diagnosis.kind, frozenset())]
    return tuple(sorted(found, key=lambda diagnosis: -diagnosis.rank))


_WORSE = {
    "crash-loop": frozenset({"oom"}),
    "failed": frozenset({"oom", "crash-loop"}),
    "memory": frozenset({"oom"}),
    "near-limit": frozenset({"oom", "memory"}),
}
"""kind -> kinds it is only a symptom of"""


def _alive(patient: Patient) -> bool:
    return patient.status in (RUNNING, PAUSED)


def _minutes(bounds: Thresholds) -> str:
    return f"{bounds.window_seconds / 60:.3g} min"


def _oom(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    kills = [(when, count) for when, count in patient.past.kills if when > now - bounds.window_seconds]
    total = sum(count for _, count in kills)
    fresh = patient.oom_killed and now - patient.finished < bounds.window_seconds
    if not total and not fresh:
        return None
    first, last = (kills[0][0], kills[-1][0]) if kills else (patient.finished, patient.finished)
    facts = [Fact(f"kills in {_minutes(bounds)}", max(total, 1), "count"), Fact("last", now - last, "seconds")]
    if patient.memory_limit:
        facts.append(Fact("limit", patient.memory_limit, "bytes"))
    if patient.rates is not None and patient.rates.memory_peak is not None:
        facts.append(Fact("peak", patient.rates.memory_peak, "bytes"))
    again = total > 1
    return Diagnosis(
        "oom",
        100 if again else 96,
        "OOM loop" if again else "OOM-killed",
        tuple(facts),
        "it needs more memory than its limit allows, and the kernel kills for it",
        first,
        (("limits", "raise its memory limit"), ("forensics", "who was killed"), ("logs", "its last lines")),
    )


def _unwatched(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    if patient.watched or not _alive(patient):
        return None
    return Diagnosis(
        "unwatched",
        95,
        "unwatched",
        (),
        "its shim was killed: its log, its exit code and its restart policy are lost",
        helps=(("restart", "gives it a new shim"),),
    )


def _crash_loop(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    deaths = [death for death in patient.past.deaths if death.time > now - bounds.window_seconds]
    bad = [death for death in deaths if death.code]
    if len(bad) < bounds.deaths or patient.restart == "no":
        return None
    codes = sorted({death.code for death in bad})
    facts = (
        Fact(f"ends in {_minutes(bounds)}", len(bad), "count"),
        Fact("exit code", ", ".join(map(str, codes))),
        Fact("last", now - bad[-1].time, "seconds"),
    )
    why = f"it ends by itself and its restart policy ({patient.restart}) brings it back"
    helps = (("forensics", "how it died"), ("logs", "its last lines"), ("stop", "ends the loop"))
    return Diagnosis("crash-loop", 90, "crash-looping", facts, why, bad[0].time, helps)


def _pids(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    rates = patient.rates
    if (
        rates is None
        or not rates.pids
        or not rates.pids_limit
        or rates.pids * 100 < bounds.pids_percent * rates.pids_limit
    ):
        return None
    # a limit of a few is meant
    if rates.pids_limit < 4:
        return None
    facts = (Fact("pids", rates.pids, "count"), Fact("limit", rates.pids_limit, "count"))
    why = "it cannot make further processes or threads: a leak, a fork bomb, or a limit that is too low"
    return Diagnosis("pids", 85, "out of pids", facts, why, helps=(("open", "its processes"), ("kill", "ends it")))


def _unhealthy(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    if patient.health != "unhealthy" or not _alive(patient):
        return None
    facts = [Fact("failed probes in a row", patient.streak, "count")]
    if patient.said:
        facts.append(Fact("it said", patient.said))
    why = "its own health check fails"
    helps = (("logs", "its log"), ("restart", "anew"))
    return Diagnosis("unhealthy", 80, "unhealthy", tuple(facts), why, patient.past.unhealthy, helps)


def _memory(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    rates = patient.rates
    if rates is None:
        return None
    share = rates.memory_percent_of_limit
    if share is None or share < bounds.memory_percent:
        if rates.psi_memory is None or rates.psi_memory < bounds.host_memory_stall_percent:
            return None
        facts = [Fact("psi memory", rates.psi_memory, "percent")]
        why = "it waits for memory far from a limit of its own: the host, or a group above it, has none to spare"
        return Diagnosis("memory", 75, "short of memory", tuple(facts), why, helps=(("open", "its charts"),))
    facts = [Fact("of its limit", share, "percent"), Fact("limit", rates.memory_limit or 0, "bytes")]
    helps = (("limits", "raise its memory limit"), ("open", "its processes"))
    if rates.psi_memory is None or rates.psi_memory < bounds.memory_stall_percent:
        why = "what it holds leaves little room below its limit"
        return Diagnosis("near-limit", 50, "near its memory limit", tuple(facts), why, helps=helps)
    facts.append(Fact("psi memory", rates.psi_memory, "percent"))
    why = "the kernel takes memory from it to stay below the limit, and it waits meanwhile"
    return Diagnosis("memory", 75, "short of memory", tuple(facts), why, helps=helps)


def _io(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    """By the share of time that was lost, or by one sleep that does not end: a hung disk or network file system
    costs a single task's time, and some waits are not accounted as pressure at all."""
    rates = patient.rates
    pressed = rates is not None and rates.psi_io is not None and rates.psi_io >= bounds.io_stall_percent
    # a frozen one's tasks look the same on v1
    hung = patient.status == RUNNING and patient.waiting > 0 and patient.stuck >= bounds.stuck_seconds
    if not pressed and not hung:
        return None
    facts = []
    if rates is not None and rates.psi_io is not None:
        facts.append(Fact("psi io", rates.psi_io, "percent"))
    if patient.waiting and patient.status == RUNNING:
        facts.append(Fact("tasks in D", patient.waiting, "count"))
    if hung:
        facts.append(Fact("the longest for", patient.stuck, "duration"))
        if patient.waits:
            facts.append(Fact("in", patient.waits))
    if rates is not None and pressed:
        facts.append(Fact("reads per second", rates.io_read or 0.0, "bytes"))
        facts.append(Fact("writes per second", rates.io_write or 0.0, "bytes"))
    why = "it waits for a disk: a throttle of its own, or a disk that others keep busy"
    if not pressed:
        why = "a task of it waits in the kernel, for a disk or a server that does not answer, and no signal reaches it"
    since = now - patient.stuck if hung else 0.0
    return Diagnosis("io", 70, "I/O stalled", tuple(facts), why, since, (("open", "its processes"),))


def _disk(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    disk = patient.disk
    if disk is None or disk.total <= 0:
        return None
    facts = [Fact("layer", disk.layer, "bytes"), Fact("log", disk.log, "bytes"), Fact("disk left", disk.free, "bytes")]
    helps = (("pause", "stops it from writing"), ("logs", "what it writes"), ("open", "its layers"))
    if (
        disk.growth is not None
        and disk.growth >= bounds.growth_bytes_per_second
        and disk.free / disk.growth <= bounds.full_in_seconds
    ):
        facts.insert(0, Fact("full in", disk.free / disk.growth, "duration"))
        facts.insert(1, Fact("grows per minute", disk.growth * 60, "bytes"))
        soon = disk.free / disk.growth <= 600
        why = "what it writes will have filled the disk soon, for everybody"
        return Diagnosis("disk", 88 if soon else 72, "disk filling", tuple(facts), why, helps=helps)
    if (
        disk.free * 100 < bounds.full_percent * disk.total
        and (disk.layer + disk.log) * 100 >= bounds.much_percent * disk.total
    ):
        why = "the disk is as good as full, and it has much of it"
        return Diagnosis("disk", 72, "disk full", tuple(facts), why, helps=helps)
    return None


def _zombies(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    if not _alive(patient) or patient.zombies < bounds.zombies:
        return None
    facts = [Fact("never waited for", patient.zombies, "count")]
    if patient.waiting and patient.status == RUNNING:
        facts.append(Fact("tasks in D", patient.waiting, "count"))  # it may be why nobody reaps
    why = "its first process does not reap what has ended: each keeps a pid until it does (run it with --init)"
    return Diagnosis(
        "zombies", 45, "zombies", tuple(facts), why, helps=(("open", "its processes"), ("restart", "ends them"))
    )


def _cpu(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    """Its own quota and a busy host look alike from inside: the numbers of both tell them apart."""
    rates = patient.rates
    if rates is None:
        return None
    stalled = Fact("psi cpu", rates.psi_cpu or 0.0, "percent")
    if rates.throttled_percent is not None and rates.throttled_percent >= bounds.throttled_percent:
        facts = [Fact("throttled periods", rates.throttled_percent, "percent"), stalled]
        if patient.cpu_limit:
            facts.append(Fact("quota", patient.cpu_limit, "cores"))
        why = "its own quota is what holds it back"
        if machine.cpus and machine.cpu is not None:
            idle = machine.cpus * (100 - machine.cpu) / 100
            facts.append(Fact("idle on the host", idle, "cores"))
            why += ", not the host" if idle >= 0.5 else "; the host has nothing to spare either"
        return Diagnosis("throttled", 65, "CPU-throttled", tuple(facts), why, helps=(("open", "its processes"),))
    if (
        rates.psi_cpu is None
        or rates.psi_cpu < bounds.cpu_stall_percent
        or machine.cpu is None
        or machine.cpu < bounds.host_busy_percent
    ):
        return None
    if rates.cpu_percent_of_limit is not None and rates.cpu_percent_of_limit >= bounds.at_quota_percent:
        return None  # what it waits for is its next period
    facts = [stalled, Fact("host cpu", machine.cpu, "percent")]
    why = "it waits for a core that others have, not for its quota"
    return Diagnosis("starved", 60, "starved of CPU", tuple(facts), why, helps=(("open", "its processes"),))


def _failed(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    if patient.status not in (STOPPED, RESTARTING) or patient.wanted in ("stopped", "removing"):
        return None
    if not patient.code and not patient.error:
        return None
    facts = [Fact("exit code", str(patient.code))]
    if patient.error:
        facts.append(Fact("error", patient.error))
    elif patient.signal == 9:
        # who sees 137 thinks of memory first
        facts.append(Fact("SIGKILL", "killed for memory" if patient.oom_killed else "not by the kernel for memory"))
    rank = 55 if now - patient.finished < bounds.stale_seconds else 20
    why = "it ended by itself" if not patient.signal else f"signal {patient.signal} ended it"
    helps = (("forensics", "how it died"), ("logs", "its last lines"), ("start", "anew"))
    return Diagnosis("failed", rank, "failed", tuple(facts), why, patient.finished, helps)


def _frozen(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    if patient.status != PAUSED:
        return None
    why = "somebody paused it: whoever talks to it waits"
    return Diagnosis("frozen", 30, "frozen", (), why, patient.past.paused, (("pause", "thaws it"),))


def _clock(patient: Patient, machine: Machine, now: float, bounds: Thresholds) -> Diagnosis | None:
    ahead = patient.started - now
    if not _alive(patient) or ahead < bounds.ahead_seconds:
        return None
    why = "the host's clock was set back since it started: until it is past that, times of its log and history overlap"
    helps = (("logs", "whose times overlap"),)
    return Diagnosis("clock", 25, "starts in the future", (Fact("by", ahead, "duration"),), why, helps=helps)


RULES: tuple[Callable[[Patient, Machine, float, Thresholds], Diagnosis | None], ...] = (
    _oom,
    _unwatched,
    _crash_loop,
    _pids,
    _unhealthy,
    _memory,
    _disk,
    _io,
    _cpu,
    _failed,
    _zombies,
    _frozen,
    _clock,
)
