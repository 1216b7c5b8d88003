"""This checkout as a contender: its own roots, its installed command, its shims and its screen."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path


class Pyctr:
    def __init__(self, work: Path) -> None:
        self.script = str(Path(sys.executable).parent / "pyctr")
        self.env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        self.env |= {
            "PYCTR_ROOT": f"{work}/pyctr",
            "PYCTR_RUNROOT": f"{work}/pyctr-run",
            "PYCTR_CGROUP_PARENT": "pyctr-bench",
            "PYCTR_BRIDGE": "pyctrbench0",
        }
        self.call("run", "--rm", "--network", "none", "localhost/base", "true")

    def call(self, *words: str) -> str:
        done = subprocess.run([self.script, *words], env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"pyctr {' '.join(words)} -> {done.returncode}: {done.stderr.strip()[-400:]}")
        return done.stdout

    def run(self, *flags: str) -> list[str]:
        return [self.script, "run", "--rm", *flags, "localhost/base", "true"]

    def shims(self) -> list[int]:
        """Pids of the shims of our containers: the parents of their first processes."""
        ids = self.call("ps", "-q").split()
        pids = [int(self.call("inspect", "-f", "{{.State.Pid}}", id)) for id in ids]
        return [int(re.search(r"PPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) for pid in pids]  # type: ignore[index]

    def processes(self) -> dict[int, str]:
        """pid -> name of whatever runs of ours: shims, their launcher, the steward."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self.env["PYCTR_RUNROOT"].encode() in (entry / "cmdline").read_bytes():
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def settle(self) -> None:
        """Wait until the launcher has gone, and shims have looked at what they cost: of that nothing tells but its
        hour, 12 s after a start."""
        for pid, name in self.processes().items():
            if name == "pyctr-launcher":
                with contextlib.suppress(ProcessLookupError):
                    pidfd = os.pidfd_open(pid)
                    select.select([pidfd], [], [])
                    os.close(pidfd)
        time.sleep(5)

    def close(self) -> None:
        ids = self.call("ps", "-aq").split()
        if ids:
            self.call("rm", "-f", *ids)


def pss(pid: int) -> int:
    """Proportional set size in bytes: proc_pid_smaps_rollup(5)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)[1]) * 1024  # type: ignore[index]
