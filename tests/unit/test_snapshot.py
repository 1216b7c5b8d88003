"""What a process of ours runs, kept for the one that goes on in its place. Each is an interpreter of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pyctr

HEAD = """
import os, sys
sys.path.insert(0, {top!r})
sys.dont_write_bytecode = {still}
from pyctr.core import bytecode
bytecode._SETTLED = 0
from pyctr.core import slots, snapshot
bytecode.done()
bytecode.done()  # in a copy
from pyctr.core import ring
def change(name):
    with open(f"{top}/pyctr/core/{{name}}.py", "a") as file:
        file.write("\\nCHANGED = True\\n")
"""


@pytest.fixture
def top(tmp_path: Path) -> Path:
    leave = shutil.ignore_patterns("__pycache__", "docs", "tests", ".*", "pyctr")
    shutil.copytree(Path(pyctr.__file__).parent, tmp_path / "pyctr", ignore=leave)
    return tmp_path


def run(top: Path, program: str, *, still: bool = True) -> str:
    code = HEAD.format(top=str(top), still=still) + program
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["slots", "ring", "bytecode"])
def test_what_has_changed_since_it_was_imported_is_not_taken_for_what_runs(top: Path, name: str) -> None:
    """Imported before all was there, later, or as one of the first."""
    program = f"""
change({name!r})
try:
    snapshot.take("some"), snapshot.first()
except OSError as error:
    print(error.strerror, error.filename)
"""
    assert run(top, program) == f"changed since it was imported {top}/pyctr/core/{name}.py"


def test_who_goes_on_with_it_is_as_old_as_who_has_taken_it(top: Path) -> None:
    """And can hand it on, long after all sources are others."""
    later = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pyctr.core import bytecode
bytecode.resume(os.pread(int(sys.argv[2]), 1 << 26, 0), "some")
from pyctr.core import ring, slots, snapshot
print(hasattr(slots, "CHANGED"), hasattr(ring, "CHANGED"))
again = bytecode.Finder("", bytecode.ROOT, os.pread(snapshot.take("some"), 1 << 26, 0))
print({"pyctr.core.slots", "pyctr.core.ring"} <= again.index.keys())
print("pyctr.core.signals" in again.index, "pyctr.core.signals" in sys.modules)
"""
    program = f"""
from pyctr.core import signals
fd = snapshot.take("some")
os.set_inheritable(fd, True)
change("slots")
change("ring")
os.execv(sys.executable, [sys.executable, "-I", "-c", {later!r}, sys.path[0], str(fd)])
"""
    assert run(top, program).split() == ["False", "False", "True", "True", "False"], "what it has not needed, too"


def test_it_keeps_what_others_have_put_there(top: Path) -> None:
    """A shim and a steward have most modules in common, and one file."""
    index = """
print(" ".join(bytecode.Finder("", bytecode.ROOT, os.pread(snapshot.take("some"), 1 << 26, 0)).index))
"""
    assert "pyctr.core.redo" in run(top, "from pyctr.core import redo" + index, still=False)
    assert {"pyctr.core.redo", "pyctr.core.hosthistory"} <= set(
        run(top, "from pyctr.core import hosthistory" + index, still=False).split()
    )


@pytest.mark.parametrize("still", [False, True])
def test_all_that_take_one_share_a_file_where_one_may_be_written(top: Path, still: bool) -> None:
    program = """
one, other = snapshot.take("some"), snapshot.take("some")
print(os.fstat(one).st_ino == os.fstat(other).st_ino, os.readlink(f"/proc/self/fd/{one}"))
"""
    same, place = run(top, program, still=still).split(maxsplit=1)
    begin = "/memfd:pyctr-some" if still else f"{top}/pyctr/__pycache__/some."
    assert place.startswith(begin) and same == str(not still)
