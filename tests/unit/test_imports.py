"""What a start may import, and what must never reach up: each checked in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SLOW = {
    "asyncio",
    "contextlib2",
    "dataclasses",
    "logging",
    "msgspec",
    "pathlib",
    "psutil",
    "pyroute2",
    "rich",
    "subprocess",
    "tempfile",
    "textual",
    "typing",
    "urllib3",
    "uuid",
}
START_PATH = [
    "pyctr.core.cgroups",
    "pyctr.core.cgroups.group",
    "pyctr.core.cgroupstats",
    "pyctr.core.errors",
    "pyctr.core.fsutil",
    "pyctr.core.paths",
    "pyctr.core.record",
    "pyctr.core.spec",
    "pyctr.core.state",
    "pyctr.cli.main",
]


def imported_by(module: str) -> set[str]:
    """The modules that `import module` adds to a bare interpreter."""
    program = (
        f"import sys; before = set(sys.modules); import {module}; added = set(sys.modules) - before;"
        "import json; print(json.dumps(sorted(added)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, env={"PYTHONPATH": "."}
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", START_PATH)
def test_the_start_path_stays_light(module: str):
    assert not imported_by(module) & SLOW


def test_the_check_sees_a_slow_import():
    assert imported_by("dataclasses") & SLOW
