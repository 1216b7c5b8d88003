"""Interleaved timing of commands: every round runs each contender once, so that a noisy host is noisy for all."""

from __future__ import annotations

import os
import random
import select
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Command = Callable[[], None]

_PATIENCE = 240
"""Seconds that a command may take on a busy host."""


def command(*words: str, env: Mapping[str, str] | None = None, prepare: Callable[[], None] | None = None) -> Command:
    """A contender that runs a program to its end; a failure ends the benchmark with what the program said."""
    environment = dict(env or os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run() -> None:
        _run(words, environment, prepare)

    return run


def _run(words: Sequence[str], env: Mapping[str, str], prepare: Callable[[], None] | None) -> None:
    """Until the program itself has ended: what it leaves behind may have its streams for longer.

    `subprocess` waits with a time limit by asking in pauses that double, which makes 33 ms of 63 and 31 of 31; a pidfd
    tells at once.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            words,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            preexec_fn=prepare,
        )
        pidfd = os.pidfd_open(process.pid)
        try:
            if not select.select([pidfd], [], [], _PATIENCE)[0]:
                process.kill()
        finally:
            os.close(pidfd)
        if code := process.wait():
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
            raise RuntimeError(f"{' '.join(words)} -> {code}: {text[-400:]}")


def cycle(*words: str, bundle: str, id: str, prepare: Callable[[], None] | None = None) -> Command:
    """A contender that is an OCI runtime called as conmon does: create, start, wait for the end, delete."""
    from pyctr.core.linux import process

    # what a runtime leaves behind becomes our child, as it becomes conmon's
    process.subreaper()

    def verb(*more: str) -> None:
        _run([*words, *more], os.environ, prepare)

    def run() -> None:
        verb("create", "--bundle", bundle, "--pid-file", f"{bundle}/{id}.pid", id)
        verb("start", id)
        os.waitpid(int(Path(f"{bundle}/{id}.pid").read_text()), 0)
        verb("delete", id)

    return run


class Prepared:
    """A contender with what has to be done before each turn, which nobody counts."""

    def __init__(self, run: Command, before: Command) -> None:
        self.run = run
        self.before = before

    def __call__(self) -> None:
        self.run()


def interleave(
    contenders: Mapping[str, Command], rounds: int, warm: int = 3, limit: float = float("inf")
) -> dict[str, float]:
    """Median seconds of each contender over `rounds` rounds, after `warm` uncounted ones.

    After `limit` seconds no further round is begun, as soon as one has been counted. The order changes by a fixed seed:
    some contenders clean up after they have returned, at the cost of the next.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders.items())
    turns = random.Random(1)
    start = time.monotonic()
    for number in range(warm + rounds):
        if number > warm and time.monotonic() - start > limit:
            break
        turns.shuffle(order)
        for name, run in order:
            if isinstance(run, Prepared):
                run.before()
            began = time.perf_counter()
            run()
            if number >= warm:
                taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in taken.items()}
