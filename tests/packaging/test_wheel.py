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
    assert done.returncode == 0, done.stdout + done.stderr
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
    pages = {name for name in packed if ".data/data/share/man/" in name}
    assert {Path(name).name for name in pages} == {"pyctr.1", "pyctr-runtime.8"}
    scripts = {name for name in packed if ".data/scripts/" in name}
    assert {Path(name).name for name in scripts} == {"pyctr-runtime"}
    assert packed - pages - scripts == expected


def test_an_installed_wheel_runs(wheel: Path, tmp_path: Path):
    sh(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    python = tmp_path / "venv/bin/python"
    sh(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    for command in ("pyctr", "pyctr-tui", "pyctr-runtime"):
        said = sh(str(tmp_path / "venv/bin" / command), "--version", cwd=tmp_path, env=clean)
        assert "0.1.0" in said


@pytest.mark.timeout(900)  # a whole environment, and the screens after it
def test_the_screens_look_the_same_on_another_python(wheel: Path, tmp_path: Path):
    """The pictures under tests/tui/pictures are made with the oldest Python; this reads them with a newer one."""
    known = [f"python3.{minor}" for minor in (13, 14, 12) if minor != sys.version_info.minor]
    # those that pyenv has but does not put on the PATH
    known += [str(found) for found in Path.home().glob(".pyenv/versions/3.1[2-9]*/bin/python3")]
    other = next((name for name in known if works(name)), None)
    if other is None:
        pytest.skip("no other Python on this host: python3.13 would compare the screens")
    sh(other, "-m", "venv", str(tmp_path / "venv"))
    python = str(tmp_path / "venv/bin/python")
    needed = ("pytest", "pytest-timeout", "hypothesis", "pyte")
    sh(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel), *needed)
    sh(python, "-m", "pytest", "-x", "tests/tui/test_pictures.py")


def works(name: str) -> bool:
    try:
        return subprocess.run([name, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("way", ["pipx", "uv tool", "editable"])
def test_other_ways_to_install_give_the_three_commands(way: str, wheel: Path, tmp_path: Path):
    """With tools and places of its own: nothing of the user's is touched."""
    home = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "UV_", "PIPX_", "XDG_"))}
    home |= {"HOME": str(tmp_path), "PIPX_HOME": f"{tmp_path}/pipx", "PIPX_BIN_DIR": f"{tmp_path}/bin"}
    home |= {"UV_TOOL_DIR": f"{tmp_path}/uv", "UV_TOOL_BIN_DIR": f"{tmp_path}/bin", "UV_CACHE_DIR": f"{tmp_path}/cache"}
    sh(sys.executable, "-m", "venv", str(tmp_path / "tools"))
    pip = (str(tmp_path / "tools/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    if way == "editable":
        sh(*pip, "-e", str(REPOSITORY))
        bin = tmp_path / "tools/bin"
    elif way == "pipx":
        sh(*pip, "pipx")
        sh(str(tmp_path / "tools/bin/pipx"), "install", "--python", sys.executable, str(wheel), env=home)
        bin = tmp_path / "bin"
    else:
        sh(*pip, "uv")
        sh(str(tmp_path / "tools/bin/uv"), "tool", "install", "--python", sys.executable, str(wheel), env=home)
        bin = tmp_path / "bin"
    for command in ("pyctr", "pyctr-tui", "pyctr-runtime"):
        assert "0.1.0" in sh(str(bin / command), "--version", cwd=tmp_path, env=home)
