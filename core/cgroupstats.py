"""Counters of a container -> samples -> rates, one shape for cgroup v1, v2 and hybrid hosts.

    Sampler.sample(group, pid) ─> Sample ─┐
                                          ├─> rates(before, after) -> Rates
    Sampler.sample(group, pid) ─> Sample ─┘

Needs no privilege beyond reading. Files stay open between samples and are read with pread(2) (1 us instead
of 5). A value that cannot be known (file missing, controller off, group gone, no limit) is None, never 0. Times are
CLOCK_MONOTONIC seconds, sizes bytes, `_us` microseconds.
"""

from __future__ import annotations

import os
from time import monotonic

from pyctr.core.cgroups import read
from pyctr.core.cgroups.fields import Fields, delta, growth
from pyctr.core.cgroups.host import HostRates, HostSample, cpu_counters, host_rates, memory_gauges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.cgroups import Layout

    Pressure = tuple[float, float | None, int, int | None]
    Interface = tuple[int, int, int, int, int, int, int, int]

__all__ = ["HostRates", "HostSample", "Rates", "Sample", "Sampler", "host_rates", "rates"]

SIZE = 4096
"""Bytes of one read; a file that is longer (io.stat with many disks) is read again in full."""


class Sample(Fields):
    """One container at one moment."""

    monotonic: float = 0.0
    cpu_usage_us: int | None = None
    cpu_user_us: int | None = None
    cpu_system_us: int | None = None
    cpu_periods: int | None = None
    cpu_throttled: int | None = None
    cpu_throttled_us: int | None = None
    cpu_limit: float | None = None
    """Cores."""
    cpu_period_us: int | None = None
    memory_current: int | None = None
    memory_working_set: int | None = None
    """Usage minus inactive_file: what the kernel cannot take back for free."""
    memory_inactive_file: int | None = None
    memory_cache: int | None = None
    memory_anon: int | None = None
    memory_kernel: int | None = None
    memory_peak: int | None = None
    memory_limit: int | None = None
    memory_swap: int | None = None
    memory_events: dict[str, int] | None = None
    """low, high, max, oom, oom_kill as the host counts them; on v1 oom_kill, max, swap_max (memory + swap)."""
    memory_refaults: int | None = None
    """Pages that were read again soon after they had been taken from it: what it needs does not fit."""
    pids: int | None = None
    pids_limit: int | None = None
    pids_failures: int | None = None
    """Forks and clones that the limit refused."""
    io: dict[str, tuple[int, int, int, int]] | None = None
    """MAJOR:MINOR -> read bytes, written bytes, reads, writes."""
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    net: dict[str, Interface] | None = None
    """Interface -> rx bytes, tx bytes, rx packets, tx packets, rx errors, tx errors, rx dropped, tx dropped."""
    psi: dict[str, Pressure] | None = None
    """cpu, memory, io -> some avg10 (percent), full avg10, some total (us), full total (us)."""
    psi_monotonic: float | None = None
    """When `psi` was read."""
    processes: int | None = None
    """This, and what follows, is of who looked closely (core/closelook); a Sampler does not."""
    threads: int | None = None
    open_files: int | None = None
    """Descriptors of all its processes."""
    waiting: int | None = None
    """Tasks in uninterruptible sleep (state D)."""
    stuck: float | None = None
    """Seconds for which the longest of these sleeps has lasted while somebody looked."""
    layer: int | None = None
    """Bytes on disk of its writable layer."""
    log: int | None = None
    """Bytes on disk of its log, rotated files included."""
    load: float | None = None
    """Of a host's record, see core/hosthistory."""

    @property
    def known(self) -> bool:
        """False if the group is gone, or nothing of it may be read."""
        return self.memory_current is not None or self.cpu_usage_us is not None or self.pids is not None


class Rates(Fields):
    """What happened between two samples. Bytes per second; percent where the name says so."""

    interval: float = 0.0
    cpu_percent: float | None = None
    """Of one core: 200 is two cores."""
    cpu_user_percent: float | None = None
    cpu_system_percent: float | None = None
    cpu_percent_of_limit: float | None = None
    throttled_percent: float | None = None
    """Of the periods in which it wanted to run; None without a quota."""
    memory_current: int | None = None
    memory_working_set: int | None = None
    memory_cache: int | None = None
    memory_anon: int | None = None
    memory_kernel: int | None = None
    memory_peak: int | None = None
    memory_limit: int | None = None
    memory_swap: int | None = None
    memory_percent_of_limit: float | None = None
    """Working set."""
    oom_kills: int | None = None
    """In this interval."""
    memory_refaults: float | None = None
    """Pages per second."""
    pids: int | None = None
    pids_limit: int | None = None
    pids_failures: int | None = None
    """In this interval."""
    io_read: float | None = None
    io_write: float | None = None
    io_reads: float | None = None
    io_writes: float | None = None
    net_rx: float | None = None
    net_tx: float | None = None
    """All interfaces but lo."""
    net_rx_packets: float | None = None
    net_tx_packets: float | None = None
    net_errors: float | None = None
    net_dropped: float | None = None
    psi_cpu: float | None = None
    """`some` avg10, percent."""
    psi_memory: float | None = None
    psi_io: float | None = None
    processes: int | None = None
    threads: int | None = None
    open_files: int | None = None
    waiting: int | None = None
    stuck: float | None = None
    layer: int | None = None
    log: int | None = None
    load: float | None = None


_SLOW_PER_SECOND = 25
"""Groups whose every file is read in a second, at most: some 70 us each when the caches are cold."""


class _File:
    """One file of a group: its descriptor, if kept, and what it said last."""

    __slots__ = ("fd", "gone", "parse", "path", "text")

    def __init__(self, path: str, parse: Any) -> None:
        self.path = path
        self.parse = parse
        self.fd = -1
        self.gone = False
        self.text: bytes | None = None


class _Group:
    """The files of a group by level, when the dearer levels are due again, and the values of the last sample."""

    __slots__ = ("kept", "levels", "medium", "moved", "slow", "used", "values")

    def __init__(self) -> None:
        self.levels: tuple[list[_File], ...] = ([], [], [], [])
        self.medium = self.slow = 0.0
        self.moved = True  # since the last reading of the MEDIUM files
        self.values: dict[str, Any] = {}
        self.kept = 0
        self.used = 0.0


class Sampler:
    """Reads groups again and again. One thread at a time.

    `max_open` bounds the descriptors kept (default: half of the soft RLIMIT_NOFILE). When it is reached, groups not
    sampled for `idle` seconds lose theirs, longest unused first; if all are in use, more groups are read unkept.
    `medium` and `slow` are the seconds after which memory.stat and pressure, and limits, are read again; of a group
    that did not run, everything but CPU time, memory usage and I/O waits for `slow`. More than some hundred groups wait
    longer for that, so that it costs no more than it does then. `clock` gives the seconds of the samples.
    """

    def __init__(
        self,
        layout: Layout,
        proc: str = "/proc",
        max_open: int | None = None,
        *,
        medium: float = 2.0,
        slow: float = 5.0,
        idle: float = 5.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if max_open is None:
            import resource

            max_open = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self.layout = layout
        self.proc = proc
        self.max_open = max_open
        self.open = 0
        """Descriptors kept now."""
        self._clock = clock
        self._medium = medium
        self._slow = slow
        self._idle = idle
        self._spread = 0.0
        # in order of use, longest unused first
        self._groups: dict[str, _Group] = {}
        self._host: dict[str, int] = {}

    def sample(self, group: str, pid: int | None = None, *, fresh: bool = False) -> Sample:
        """Counters of a group ("/pyctr/<id>") now; of its network through `pid`, any process in it.

        Never raises for what is missing: see `Sample.known`. `fresh` reads also what is not due yet.
        """
        known = self._groups.pop(group, None) or self._new(group)
        self._groups[group] = known
        sample = Sample()
        if not self._read(known, sample, fresh):
            # gone, or remade under the same name: then its old descriptors say ENODEV and new ones work
            self.forget(group)
            known = self._groups[group] = self._new(group)
            sample = Sample()
            if not self._read(known, sample, True):
                self.forget(group)
                sample = Sample()
                sample.monotonic = self._clock()
                return sample
        sample.net = self._network(pid) if pid is not None else None
        return sample

    def _new(self, group: str) -> _Group:
        layout = self.layout
        unified = layout.unified + group
        twin = layout.mode == "hybrid" and os.path.isdir(unified)
        new = _Group()
        for level, controller, file, parse in read.readers(layout, twin=twin):
            directory = layout.controllers[controller] + group if controller else unified
            new.levels[level].append(_File(f"{directory}/{file}", parse))
        return new

    def _read(self, group: _Group, sample: Sample, fresh: bool) -> bool:
        """Fill the sample; False if the group is gone, or a file that was there is.

        A text that is the same as last time is not parsed again: an idle group costs little more than its reads.
        """
        now = group.used = self._clock()
        values = sample.__dict__
        values.update(group.values)
        values["monotonic"] = now
        slow = fresh or now >= group.slow
        try:
            moved = self._level(group, read.ACTIVITY, sample, slow)
            if moved:
                group.moved = True
            if moved or slow:
                self._level(group, read.FAST, sample, slow)
            if slow or (group.moved and now >= group.medium):
                self._level(group, read.MEDIUM, sample, slow)
                group.medium = now + self._medium
                group.moved = False
                values["psi_monotonic"] = now if sample.psi is not None else None
            if slow:
                self._level(group, read.SLOW, sample, slow)
                group.slow = now + self._until_slow()
        except OSError:
            # ENODEV: the group was removed, or a file of it (a controller or pressure switched off)
            return False
        if not sample.known:
            return False
        if sample.memory_current is not None and sample.memory_inactive_file is not None:
            # the two are not read at the same instant, so the part may be larger than the whole
            values["memory_working_set"] = max(sample.memory_current - sample.memory_inactive_file, 0)
        group.values = values
        return True

    def _until_slow(self) -> float:
        """Of many groups those that were begun together are not all due together: they spread by the golden ratio."""
        interval = max(self._slow, len(self._groups) / _SLOW_PER_SECOND)
        if interval == self._slow:
            return interval
        self._spread = (self._spread + 0.618) % 1
        return interval * (0.75 + self._spread / 2)

    def _level(self, group: _Group, level: int, sample: Sample, again: bool) -> bool:
        """Read the files of one level; whether any of them says something new. Raises OSError if one went."""
        moved = False
        for file in group.levels[level]:
            if file.fd >= 0:
                text = os.pread(file.fd, SIZE, 0)
                if len(text) == SIZE:
                    text = os.pread(file.fd, SIZE * 16, 0)
            else:
                first = self._first(group, file, again)
                if first is None:
                    continue
                text = first
            if text != file.text:
                file.text = text
                file.parse(sample, text)
                moved = True
        return moved

    def _first(self, group: _Group, file: _File, again: bool) -> bytes | None:
        """Open and read a file, keeping the descriptor if the bound allows; None if it cannot be read.

        ENOENT: a controller that is off; EOPNOTSUPP: pressure is off; EACCES: not ours to read. All mean that the
        value is not known; it is tried `again` when limits are due. Raises OSError if it could be read before.
        """
        if file.gone and not again:
            return None
        try:
            fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                text = os.pread(fd, SIZE * 16, 0)
            except BaseException:
                os.close(fd)
                raise
        except OSError:
            if file.text is not None:
                raise
            file.gone = True
            return None
        file.gone = False
        if self.open < self.max_open or self._evict(group):
            file.fd = fd
            group.kept += 1
            self.open += 1
        else:
            os.close(fd)
        return text

    def _evict(self, asking: _Group) -> bool:
        """Close the longest unused group's files, if it is idle."""
        for group in self._groups.values():
            if group.kept and group is not asking:
                if group.used > asking.used - self._idle:
                    return False  # the rest is younger still
                self._close(group)
                return True
        return False

    def _close(self, group: _Group) -> None:
        for level in group.levels:
            for file in level:
                if file.fd >= 0:
                    os.close(file.fd)
                    file.fd = -1
        self.open -= group.kept
        group.kept = 0

    def _network(self, pid: int) -> dict[str, Interface] | None:
        # never kept open: a descriptor of it would keep the network namespace alive after the container
        try:
            fd = os.open(f"{self.proc}/{pid}/net/dev", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return read.network(os.read(fd, 65536))
        except OSError:
            return None  # EINVAL: it died between the two calls
        finally:
            os.close(fd)

    def forget(self, group: str) -> None:
        """Close a group's files, and read its limits anew next time (after an update)."""
        known = self._groups.pop(group, None)
        if known is not None:
            self._close(known)

    def close(self) -> None:
        """Close everything; the Sampler can be used again."""
        for group in list(self._groups):
            self.forget(group)
        for fd in self._host.values():
            os.close(fd)
        self._host.clear()

    def _proc(self, name: str) -> bytes | None:
        fd = self._host.get(name)
        try:
            if fd is None:
                fd = self._host[name] = os.open(f"{self.proc}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(fd, 65536, 0)
        except OSError:
            return None  # not there, or EOPNOTSUPP: pressure is off

    def sample_host(self) -> HostSample:
        """CPU, memory, pressure and load of the host now, from `proc`."""
        sample = HostSample()
        sample.monotonic = self._clock()
        if text := self._proc("stat"):
            cpu_counters(sample, text)
        if text := self._proc("meminfo"):
            memory_gauges(sample, text)
        if text := self._proc("loadavg"):
            words = text.split()
            sample.load = (float(words[0]), float(words[1]), float(words[2]))
            running, _, tasks = words[3].partition(b"/")
            sample.tasks_running, sample.tasks = int(running), int(tasks)
        if text := self._proc("uptime"):
            sample.uptime = float(text.split()[0])
        for resource in ("cpu", "memory", "io"):
            text = self._proc(f"pressure/{resource}")
            if text and (pressure := read.pressure(text)):
                sample.psi = {**(sample.psi or {}), resource: pressure}
        return sample


def rates(before: Sample, after: Sample) -> Rates:
    """The rates between two samples of the same container; None for what either does not know."""
    out = Rates()
    out.interval = interval = after.monotonic - before.monotonic
    for name in (
        "memory_current", "memory_working_set", "memory_cache", "memory_anon", "memory_kernel", "memory_peak",
        "memory_limit", "memory_swap", "pids", "pids_limit", "processes", "threads", "open_files", "waiting", "stuck",
        "layer", "log", "load",
    ):  # fmt: skip
        setattr(out, name, getattr(after, name))
    if out.memory_limit and out.memory_working_set is not None:
        out.memory_percent_of_limit = 100 * out.memory_working_set / out.memory_limit
    if after.psi:
        for resource, values in after.psi.items():
            setattr(out, f"psi_{resource}", values[0])
    if interval <= 0:
        return out

    def per_second(amount: int | None) -> float | None:
        return None if amount is None else amount / interval

    def percent(amount: int | None) -> float | None:
        return None if amount is None else amount / interval / 10_000

    usage = delta(before.cpu_usage_us, after.cpu_usage_us)
    out.cpu_percent = percent(usage)
    if usage is not None:
        out.cpu_user_percent = percent(delta(before.cpu_user_us, after.cpu_user_us))
        out.cpu_system_percent = percent(delta(before.cpu_system_us, after.cpu_system_us))
    if out.cpu_percent is not None and after.cpu_limit:
        out.cpu_percent_of_limit = out.cpu_percent / after.cpu_limit
    periods = delta(before.cpu_periods, after.cpu_periods)
    throttled = delta(before.cpu_throttled, after.cpu_throttled)
    if after.cpu_limit is not None and periods is not None and throttled is not None:
        out.throttled_percent = min(100 * throttled / periods, 100.0) if periods else 0.0
    if before.memory_events is not None and after.memory_events is not None:
        out.oom_kills = delta(before.memory_events.get("oom_kill"), after.memory_events.get("oom_kill"))
    out.memory_refaults = per_second(delta(before.memory_refaults, after.memory_refaults))
    out.pids_failures = delta(before.pids_failures, after.pids_failures)
    out.io_read = per_second(growth(before.io, after.io, 0))
    out.io_write = per_second(growth(before.io, after.io, 1))
    out.io_reads = per_second(growth(before.io, after.io, 2))
    out.io_writes = per_second(growth(before.io, after.io, 3))
    if before.net is not None and after.net is not None:
        columns = [growth(before.net, after.net, column) for column in range(8)]
        out.net_rx, out.net_tx, out.net_rx_packets, out.net_tx_packets = (per_second(amount) for amount in columns[:4])
        if (rx := columns[4]) is not None and (tx := columns[5]) is not None:
            out.net_errors = per_second(rx + tx)
        if (rx := columns[6]) is not None and (tx := columns[7]) is not None:
            out.net_dropped = per_second(rx + tx)
    return out
