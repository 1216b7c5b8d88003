"""The thread that reads layers for the images screen: always what was wished for last, given up when that changes.

What was read serves further wishes: from one layer of an image to the next nothing is read twice.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from pyctr.core import errors
from pyctr.core.images import tally
from pyctr.core.images.stack import Stack
from pyctr.core.images.waste import Waste
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEP = 1000
"""Entries between two looks at what is wished for now."""
KEPT = 2
"""Stacks that are kept for further wishes."""
_INTERVAL = 0.2
"""Seconds between two words about progress."""


class Wanted(NamedTuple):
    """`key` names the node and its state; layers bottom first; `again`: the topmost has changed since."""

    key: str
    directories: tuple[str, ...]
    whole: bool
    again: bool = False


class Read(NamedTuple):
    """An answer. `done` False is a word about progress: only `key` and `looked` mean something then."""

    key: str
    looked: int
    done: bool = False
    stack: Stack | None = None
    waste: Waste | None = None
    problem: str = ""


class _Outdated(Exception):
    """Something else is wished for meanwhile."""


class Reader:
    """`told` is called in the thread. While `idle` nothing changes in what was answered."""

    def __init__(self, told: Callable[[Read], None]) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._wanted: Wanted | None = None
        self._busy = False
        self._stacks: list[Stack] = []

    @property
    def idle(self) -> bool:
        return not self._busy

    def want(self, wanted: Wanted) -> None:
        with self._lock:
            self._wanted = wanted
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._run, name="layer files", daemon=True).start()

    def stop(self) -> None:
        """Nothing is wished for any more."""
        with self._lock:
            self._wanted = None

    def _run(self) -> None:
        wanted: Wanted | None = None
        while True:
            with self._lock:
                if self._wanted is wanted or self._wanted is None:
                    self._wanted, self._busy = None, False
                    return
                wanted = self._wanted
            try:
                answer = self._read(wanted)
            except _Outdated:
                continue
            except (OSError, errors.PyctrError) as error:
                answer = Read(wanted.key, 0, True, problem=f.reason(error))
            with self._lock:
                if self._wanted is not wanted:
                    continue
                self._wanted, self._busy = None, False
            self._told(answer)
            return

    def _read(self, wanted: Wanted) -> Read:
        stack = next((one for one in self._stacks if one.serves(wanted.directories)), None)
        if stack is None:
            stack = Stack()
        self._stacks = [stack, *(one for one in self._stacks if one is not stack)][:KEPT]
        before, spoken = stack.looked, time.monotonic()
        stack.want(wanted.directories, again=wanted.again)
        try:
            while stack.step(STEP):
                self._check(wanted)
                if time.monotonic() - spoken > _INTERVAL:
                    spoken = time.monotonic()
                    self._told(Read(wanted.key, stack.looked - before))
        finally:
            stack.close()
        layer = len(wanted.directories) - 1
        self._all(tally.count(stack, layer, wanted.whole), wanted)
        waste = Waste(stack, layer)
        while waste.step(STEP):
            self._check(wanted)
        return Read(wanted.key, stack.looked - before, True, stack, waste)

    def _all(self, work: Iterator[None], wanted: Wanted) -> None:
        for number, _ in enumerate(work):
            if number % STEP == 0:
                self._check(wanted)

    def _check(self, wanted: Wanted) -> None:
        if self._wanted is not wanted:
            raise _Outdated
