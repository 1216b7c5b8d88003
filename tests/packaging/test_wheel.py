"""The wheel holds exactly what git tracks, installs into an empty environment and runs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = ("core/", "cli/", "tui/", "themes/")


def sh(*words: str, cwd: Path = REPOSITORY, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    sh(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(REPOSITORY))
    return next(out.glob("*.whl"))


def test_the_wheel_holds_what_git_tracks(wheel: Path):
    tracked = sh("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    expected = {f"pyctr/{name}" for name in tracked if name.startswith(SHIPPED)}
    expected |= {"pyctr/__init__.py", "pyctr/__main__.py", "pyctr/py.typed"}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == expected


def test_an_installed_wheel_runs(wheel: Path, tmp_path: Path):
    sh(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    python = tmp_path / "venv/bin/python"
    sh(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    for command in ("pyctr", "pyctr-tui", "pyctr-runtime"):
        said = sh(str(tmp_path / "venv/bin" / command), "--version", cwd=tmp_path, env=clean)
        assert "0.1.0" in said
