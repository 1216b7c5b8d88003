"""`python -m bench.cgroupstats [--groups N...]`: what a sample of a container costs, as root, on this host's cgroups.

Prints for 10, 100 and 1,000 of them the processor time of one sample in microseconds, the median over rounds, in three
cases: what every tick reads; all files; all files and the network; and what a container costs at one tick a second,
with the caches cold as they are then. Processor time, because others are at work on the machine, too; that makes
caches cold.
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
    parser.add_argument("--groups", type=int, nargs="+", default=[10, 100, 1000])
    load = os.getloadavg()[0]
    print(f"{'':24}{'one sample':>11}   load average {load:.1f} on {os.cpu_count()} processors")
    for count in parser.parse_args().groups:
        measured(count)


def measured(count: int) -> None:
    layout = cgroups.detect()
    parent = f"/pyctr-bench-{os.getpid()}"
    managers = [cgroups.manager(layout, f"{parent}/{number}") for number in range(count)]
    limits = {"memory": {"limit": 64 << 20}, "cpu": {"quota": 20_000, "period": 100_000}, "pids": {"limit": 9}}
    sampler = Sampler(layout, max_open=20 * count)
    try:
        for manager in managers:
            manager.create(limits)
            sampler.sample(manager.group)
        measure(f"{count:5} tick", managers, lambda manager: sampler.sample(manager.group))
        measure(f"{count:5} all files", managers, lambda manager: sampler.sample(manager.group, fresh=True))
        measure(
            f"{count:5}   and the network",
            managers,
            lambda manager: sampler.sample(manager.group, os.getpid(), fresh=True),
        )
        taken = []
        for _ in range(ROUNDS):
            time.sleep(1)
            spent = time.process_time()
            for manager in managers:
                sampler.sample(manager.group)
            taken.append((time.process_time() - spent) / count)
        each = statistics.median(taken)
        print(f"{count:5} at one tick a second {each * 1e6:7.1f} us, {each * count * 100:.2f} % of a core")
    finally:
        sampler.close()
        for manager in managers:
            manager.remove()
        cgroups.manager(layout, parent).remove()


def measure(name: str, managers: list[Manager], sample: Callable[[Manager], object]) -> None:
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for manager in managers:
            sample(manager)
        taken.append((time.process_time() - start) / len(managers))
    print(f"{name:24}{statistics.median(taken) * 1e6:8.1f} us")


if __name__ == "__main__":
    main()
