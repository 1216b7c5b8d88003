"""`python -m bench.cgroupstats [--groups N]`: microseconds per sample of a container, as root, on this host's cgroups.

Prints the median over rounds of three cases: what every tick reads; all files; all files and the network; and what a
container costs at one tick a second, with the caches cold as they are then.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

from pyctr.core import cgroups
from pyctr.core.cgroups.group import Manager
from pyctr.core.cgroupstats import Sampler

ROUNDS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=100)
    count = parser.parse_args().groups
    layout = cgroups.detect()
    parent = f"/pyctr-bench-{os.getpid()}"
    managers = [cgroups.manager(layout, f"{parent}/{number}") for number in range(count)]
    limits = {"memory": {"limit": 64 << 20}, "cpu": {"quota": 20_000, "period": 100_000}, "pids": {"limit": 9}}
    sampler = Sampler(layout, max_open=20 * count)
    try:
        for manager in managers:
            manager.create(limits)
            sampler.sample(manager.group)
        measure("tick", managers, lambda manager: sampler.sample(manager.group))
        measure("all files", managers, lambda manager: sampler.sample(manager.group, fresh=True))
        measure("all files + network", managers, lambda manager: sampler.sample(manager.group, os.getpid(), fresh=True))
        spent = time.process_time()
        for _ in range(10):
            time.sleep(1)
            for manager in managers:
                sampler.sample(manager.group)
        print(f"{'at one tick a second':24}{(time.process_time() - spent) / 10 / count * 1e6:8.1f} us of CPU")
    finally:
        sampler.close()
        for manager in managers:
            manager.remove()
        cgroups.manager(layout, parent).remove()


def measure(name: str, managers: list[Manager], sample: Callable[[Manager], object]) -> None:
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for manager in managers:
            sample(manager)
        taken.append((time.perf_counter() - start) / len(managers))
    print(f"{name:24}{statistics.median(taken) * 1e6:8.1f} us")


if __name__ == "__main__":
    main()
