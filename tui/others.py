"""Rows for containers of other engines: found in a thread of their own, measured in the poller's.

Their records are on disks, and in homes, that are not ours: one that hangs holds up the finding, never the list. What
was found last stays, and its numbers, which come from the kernel, go on.
"""

from __future__ import annotations

import threading

from pyctr.tui import format as f
from pyctr.tui.history import History
from pyctr.tui.snapshot import ContainerRow, figures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

    from pyctr.core.cgroupstats import Sampler
    from pyctr.core.engine import Engine
    from pyctr.core.engines.finder import Finder
    from pyctr.core.engines.model import Foreign

EVERY = 2.0
"""Seconds between two looks for them."""
SEEDS = 8
"""Of how many a look reads what was recorded before: 4 ms each."""
SLOW = 10.0
"""Seconds without an answer after which that is said."""


class Stranger:
    """One of them, as last found and measured; what the details need of it is called as for ours."""

    def __init__(self, one: Foreign) -> None:
        self.container = one
        self.stamp = (0, 0)
        self.before: Any = None
        self.rates: Any = None
        self.history = History()
        self.seeded = False


class Others:
    """`begin` starts looking; without it every `look` looks itself, which is what one frame needs."""

    def __init__(
        self, engine: Engine, wanted: Collection[str], sampler: Callable[[], Sampler], wake: Callable[[], None]
    ) -> None:
        self.known: dict[str, Stranger] = {}
        """By `Foreign.key`, which is the row's id."""
        self.limited = ""
        self._engine = engine
        self._wanted = frozenset(wanted)
        self._sampler = sampler
        self._wake = wake
        self._found: tuple[Foreign, ...] = ()
        self._finder: Finder | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._again = threading.Event()
        self.later = False
        """A thread will be begun soon: nothing is looked for until then."""
        self._asked = 0.0
        """When the thread began the look that has not answered yet; 0 while none is going on."""

    def begin(self) -> None:
        if self._wanted and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="other engines", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._again.set()

    def again(self) -> None:
        """Look at once: one of them was told to do something."""
        self._again.set()

    def _run(self) -> None:
        import time

        while not self._stopping.is_set():
            self._asked = time.monotonic()
            before = self._found
            try:
                self._find()
            except Exception as problem:
                # a mistake of ours: said on the screen, with those last found, instead of a list that stands still
                self.limited = f"other engines: {type(problem).__name__}: {problem}"
            self._asked = 0.0
            if [one.key for one in before] != [one.key for one in self._found]:
                self._wake()
            self._again.wait(EVERY)
            self._again.clear()

    def _find(self) -> None:
        from pyctr.core import errors
        from pyctr.core.engines.finder import Finder

        if self._engine.recorded is not None:
            self._found = tuple(one for one in self._engine.recorded.strangers() if one.engine in self._wanted)
            return
        try:
            if self._finder is None:
                layout = self._engine.layout
                self._finder = Finder(self._engine.paths, layout, services="systemd" in self._wanted)
            found = self._finder.look()
        except (errors.PyctrError, OSError) as problem:
            self.limited = f"other engines: {problem}"
            return
        self.limited = self._finder.limited
        # what holds a pod's namespaces and does nothing else is nobody's patient
        self._found = tuple(one for one in found if one.engine in self._wanted and not one.infra)

    def look(self, moment: float) -> tuple[ContainerRow, ...]:
        """Their rows at the monotonic `moment`."""
        if not self._wanted:
            return ()
        if self._thread is None and not self.later:
            self._find()
        elif self._asked and moment - self._asked > SLOW:
            self.limited = f"other engines' records have not answered for {moment - self._asked:.0f} s"
        found = {one.key: one for one in self._found}
        for key in self.known.keys() - found.keys():
            gone = self.known.pop(key)
            if gone.container.group:
                self._sampler().forget(gone.container.group)
        rows = []
        seeds = SEEDS
        for key, one in found.items():
            known = self.known.get(key)
            if known is None:
                known = self.known[key] = Stranger(one)
            elif (known.container.pid, known.container.group) != (one.pid, one.group):
                known.before = known.rates = None  # another incarnation
            known.container = one
            if one.group and one.running:
                self._sample(known, moment)
                if seeds and not known.seeded:
                    seeds -= 1
                    self._seed(known, moment)
            else:
                known.before = known.rates = None
            rows.append(_row(known, moment))
        return tuple(rows)

    def _seed(self, known: Stranger, moment: float) -> None:
        """What `pyctr record` wrote of the time before we looked, where it does."""
        import time

        from pyctr.core import history, hostrecord
        from pyctr.tui.containerlist import measured

        known.seeded = True
        now = time.time()
        try:
            record = history.read(hostrecord.place(self._engine.paths, known.container.group), now - 3600, now)
        except OSError:
            return  # not ours to read
        if record:
            known.history.seed([(moment - (now - past.time), measured(past.rates)) for past in record])

    def _sample(self, known: Stranger, moment: float) -> None:
        from pyctr.core import cgroupstats
        from pyctr.tui.containerlist import measured

        one = known.container
        sample = self._sampler().sample(one.group, one.pid if one.own_network else None)
        before = known.before
        if before is not None and sample.monotonic - before.monotonic < 0.2:
            return  # too short to divide by; the sample before stays the base
        known.rates = cgroupstats.rates(before or sample, sample)
        known.before = sample
        known.history.add(moment, measured(known.rates))


def _row(known: Stranger, moment: float) -> ContainerRow:
    one, got, before = known.container, known.rates, known.before
    live = one.running
    memory = None
    if got is not None:
        memory = got.memory_working_set if got.memory_working_set is not None else got.memory_current
    limit = before.memory_limit if before is not None else one.memory_limit
    return ContainerRow(
        id=one.key,
        name=one.name,
        engine=one.engine,
        pod=one.pod,
        image=one.image,
        status=one.status,
        pid=one.pid,
        command=" ".join(" ".join(one.command).split()),
        created_at=one.created_at or one.started_at,
        started_at=one.started_at,
        finished_at=one.finished_at if not live else 0.0,
        ran=max(0.0, one.finished_at - one.started_at) if one.finished_at and one.started_at and not live else None,
        exit_code=one.exit_code if not live else None,
        exit_error=one.error if not live else "",
        oom_killed=one.oom_killed if not live else False,
        wanted=one.wanted,
        restarts=one.restarts,
        restart_policy=f.neutral(one.restart_policy) or "no",
        health=one.health if live else "",
        network=f.neutral(one.network),
        address=f.neutral(", ".join(one.addresses)),
        ports=tuple(f.neutral(str(port)) for port in one.ports),
        cpu_limit=before.cpu_limit if before is not None else None,
        **figures(got, memory, limit),
        spark=known.history.spark.values(moment) if live else (),
    )
