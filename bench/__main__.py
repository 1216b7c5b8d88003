"""`python -m bench [--only PART] [--rounds N] [--containers N] [--write]`; `--only` may be repeated."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from . import images, network, rails, traffic, watching
from .ours import Pyctr, pss
from .peers import Docker, Podman, bundle, rootfs, without_unified
from .screen import Screen
from .timing import Prepared, command, cycle, interleave

Row = tuple[str, str]
PARTS = ["starts", "network", "traffic", "rails", "images", "many", "watching"]
DOCUMENT = Path(__file__).resolve().parents[1] / "docs/performance.md"
_QUIET = 0.3
"""Seconds after which the kernel's grace periods, that starts back to back share, are each start's own again."""


def milliseconds(medians: dict[str, float]) -> str:
    """Every contender's median, and how many times ours fits into it."""
    ours = medians["pyctr"]
    parts = [f"**pyctr {ours * 1e3:.1f} ms**"]
    parts += [
        f"{name} {value * 1e3:.1f} ms ({value / ours:.1f}x)" for name, value in medians.items() if name != "pyctr"
    ]
    return ", ".join(parts)


def starts(pyctr: Pyctr, peers: dict[str, Podman | Docker], rounds: int) -> Iterator[Row]:
    for kind in ("none", "bridge"):
        contenders = {"pyctr": command(*pyctr.run("--network", kind), env=pyctr.env)}
        for name, peer in peers.items():
            contenders[name] = command(*peer.run("--network", kind))
        try:
            yield f"`run --rm` of true, network {kind}", milliseconds(interleave(contenders, rounds))
        except RuntimeError as error:
            yield f"`run --rm` of true, network {kind}", f"not measured: {error}"


def bundles(work: Path, rounds: int) -> Iterator[Row]:
    where = str(bundle(work, work / "rootfs"))
    runtimes = {"pyctr": str(Path(sys.executable).parent / "pyctr-runtime"), "runc": "runc", "crun": "crun"}
    runs, cycles = {}, {}
    for name, program in runtimes.items():
        if not shutil.which(program):
            continue
        words = (program, "--root", f"{work}/{name}")
        prepare = without_unified if name == "crun" else None
        runs[name] = command(*words, "run", "--bundle", where, f"b-{name}", prepare=prepare)
        cycles[name] = cycle(*words, bundle=where, id=f"c-{name}", prepare=prepare)
    yield "low-level runtime, `run` of a bundle with true", milliseconds(interleave(runs, rounds))
    yield "low-level runtime, `create`, `start`, `delete` of it", milliseconds(interleave(cycles, rounds))
    alone = {name: Prepared(run, lambda: time.sleep(_QUIET)) for name, run in cycles.items()}
    yield f"the same after {_QUIET} s in which nothing happened", milliseconds(interleave(alone, rounds))


def memory(pyctr: Pyctr, count: int) -> Iterator[Row]:
    started = 0
    for wanted in sorted({number for number in (1, 3, 10, count) if number <= count}):
        for number in range(started, wanted):
            pyctr.call("run", "-d", "--network", "none", "--name", f"idle-{number}", "localhost/base", "sleep", "900")
        started = wanted
        pyctr.settle()
        sizes = [pss(pid) / 2**20 for pid in pyctr.shims()]
        whole = sum(pss(pid) for pid in pyctr.processes()) / 2**20
        yield (
            f"PSS of a shim, {wanted} idle container{'s' if wanted > 1 else ''}",
            f"median {statistics.median(sizes):.2f} MiB, at most {max(sizes):.2f}; "
            f"all that runs of pyctr {whole / wanted:.2f} MiB a container",
        )


def screen(pyctr: Pyctr, count: int) -> Iterator[Row]:
    words = [str(Path(sys.executable).parent / "pyctr-tui")]
    first = []
    for _ in range(5):
        shown = Screen(words, pyctr.env)
        first.append(shown.until(b"idle-", 20))
        shown.close()
    yield f"TUI: first frame with the containers in it, {count} containers", f"median {statistics.median(first):.2f} s"
    shown = Screen(words, pyctr.env)
    shown.until(b"idle-", 20)
    shown.watch(5)
    cpu, rate = shown.watch(20)
    shown.close()
    yield f"TUI: CPU with {count} live containers", f"{cpu * 100:.1f} % of a core"
    yield "TUI: bytes to the terminal", f"{rate / 1000:.2f} kB/s"


def sampling(count: int) -> Iterator[Row]:
    from pyctr.core.cgroups import detect
    from pyctr.core.cgroupstats import Sampler

    layout = detect()
    groups = [f"/pyctr-bench/{name}" for name in os.listdir(_first_hierarchy())]
    groups = [group for group in groups if os.path.isdir(f"{_first_hierarchy()}/{group.rpartition('/')[2]}")]
    sampler = Sampler(layout)
    contenders = {"pyctr": lambda: [sampler.sample(group) for group in groups] and None}
    median = interleave(contenders, 50)["pyctr"]
    sampler.close()
    yield (
        "one sample of one container from its cgroup",
        f"{median / len(groups) * 1e6:.0f} us ({len(groups)} containers)",
    )


def _first_hierarchy() -> str:
    for top in ("/sys/fs/cgroup/pids/pyctr-bench", "/sys/fs/cgroup/pyctr-bench"):
        if os.path.isdir(top):
            return top
    raise RuntimeError("no cgroup of ours to sample")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--containers", type=int, default=200)
    parser.add_argument("--only", action="append", choices=PARTS, help="this part of the rows")
    parser.add_argument("--write", action="store_true", help=f"also write {DOCUMENT.name}")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench: needs root: it starts real containers", file=sys.stderr)
        return 1
    if not options.inside:
        # docker's and podman's bridges and rules stay in a network of their own; the address gives them an uplink
        script = (
            "mount --rbind /sys/fs/cgroup /media && mount -t sysfs sysfs /sys && mount --rbind /media /sys/fs/cgroup &&"
            "umount -l /media && ip link set lo up &&"
            "ip link add up0 type veth peer name up1 && ip addr add 198.51.100.2/24 dev up0 && ip link set up0 up &&"
            'ip link set up1 up && ip route add default via 198.51.100.1; exec "$@"'
        )
        words = ["unshare", "--net", "--mount", "sh", "-c", script, "bench"]
        words += [sys.executable, "-m", "bench", "--inside", *sys.argv[1:]]
        return subprocess.run(words).returncode
    return measure(options.rounds, options.containers, options.write, options.only or PARTS)


def measure(rounds: int, containers: int, write: bool, parts: list[str]) -> int:
    rows: list[Row] = []

    def show(found: Iterator[Row]) -> None:
        for row in found:
            rows.append(row)
            print(f"{row[0]}: {row[1]}", flush=True)

    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pyctr-bench-", ignore_cleanup_errors=True)))
        rootfs(work)
        pyctr = Pyctr(work)
        stack.callback(pyctr.close)
        peers: dict[str, Podman | Docker] = {}
        for name, kind, needs in (("podman", Podman, "podman"), ("docker", Docker, "dockerd")):
            parts_of = {"starts", "images", "traffic"} | ({"watching"} if kind is Docker else set())
            if shutil.which(needs) and parts_of & set(parts):
                peers[name] = kind(work)
                stack.callback(peers[name].close)
        if "starts" in parts:
            show(starts(pyctr, peers, rounds))
            if shutil.which("runc"):
                show(bundles(work, rounds))
        if "network" in parts:
            show(network.rows(pyctr, rounds))
        if "traffic" in parts:
            show(traffic.rows(pyctr, peers, max(3, rounds // 3)))
        if "rails" in parts:
            show(rails.rows(pyctr))
        if "images" in parts:
            show(images.rows(pyctr, peers, work, max(1, rounds // 3)))
        if "many" in parts:
            show(memory(pyctr, containers))
            show(sampling(containers))
            show(screen(pyctr, containers))
        if "watching" in parts:
            pyctr.close()  # those of the rows before would be watched, too
            docker = peers.get("docker")
            show(watching.rows(pyctr, docker if isinstance(docker, Docker) else None))
    if write:
        text = DOCUMENT.read_text()
        # what is said below the table stays
        DOCUMENT.write_text(document(updated(text, rows)) + text.rpartition("\n| ")[2].partition("\n")[2])
    return 0


def updated(text: str, rows: list[Row]) -> list[Row]:
    """The rows of a table that is there, with those that were measured now in their places or at the end."""
    cells = [line.strip("| ").split(" | ", 1) for line in text.splitlines() if line.startswith("| ")]
    found = {what: value for what, value in cells if what != "What"}
    return list({**found, **dict(rows)}.items())


def document(rows: list[Row]) -> str:
    lines = [
        "# Performance",
        "",
        "Medians; the contenders take turns within one run, in a private network namespace. Read the ratios.",
        "Repeat with `make bench ARGS=--write` (root; podman, docker, buildah, skopeo, umoci, runc, crun are taken",
        "along where installed; `--only images` measures a part).",
        "",
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "",
        "| What | Measured |",
        "|---|---|",
        *[f"| {what} | {value} |" for what, value in rows],
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
