"""The commands of a checkout: `site` is looked at when a package is wanted, and not before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import scripts

ROOT = Path(__file__).resolve().parents[2]


def python(program: str) -> subprocess.CompletedProcess[str]:
    begin = f"import sys; sys.path.append({str(ROOT)!r}); from pyctr.__main__ import LateSite;"
    begin += "sys.meta_path.append(LateSite());"
    return subprocess.run([sys.executable, "-PS", "-c", begin + program], capture_output=True, text=True)


def test_a_start_needs_no_installed_package():
    done = python(
        "import pyctr.cli.main, pyctr.cli.verbs.run, pyctr.core.lifecycle, pyctr.cli.runtime.create,"
        "pyctr.core.runtime.spawned; print('site' in sys.modules)"
    )
    assert done.stdout == "False\n", done.stderr


def test_an_installed_package_is_found_when_it_is_wanted():
    done = python("import psutil, rich; print(psutil.__file__)")
    assert "site-packages" in done.stdout, done.stderr


def test_what_is_not_installed_is_said_to_be_missing_as_ever():
    done = python("import surely_nowhere")
    assert "ModuleNotFoundError: No module named 'surely_nowhere'" in done.stderr
    done = python("import pyctr.core.surely_nowhere")
    assert "ModuleNotFoundError: No module named 'pyctr.core.surely_nowhere'" in done.stderr


@pytest.mark.parametrize("name", ["pyctr", "pyctr-runtime"])
def test_the_script_is_the_command(name: str, tmp_path: Path):
    scripts.write(tmp_path, Path(sys.executable), ROOT)
    said = subprocess.run([tmp_path / name, "--version"], capture_output=True, text=True, cwd="/", check=True).stdout
    assert said.startswith(f"{name} version")
    wrong = subprocess.run([tmp_path / name, "surely-no-verb"], capture_output=True, text=True, cwd="/")
    assert wrong.returncode != 0 and "surely-no-verb" in wrong.stderr


def test_an_interpreter_that_no_first_line_can_name_is_left_to_the_installer(tmp_path: Path):
    scripts.write(tmp_path, Path("/some where/python"), ROOT)
    assert not list(tmp_path.iterdir())
