"""docs/cli.md and the manual pages say what the commands accept."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pyctr.cli import reference

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize("name", reference.documents())
def test_the_documents_are_the_declarations(name: str) -> None:
    assert (DOCS / name).read_text() == reference.documents()[name], "run: python -m pyctr.cli.reference"


def test_every_flag_says_what_it_does() -> None:
    commands = [*reference.engine(), *reference.low_level()]
    assert not [command.name for command in commands if not command.sentence]
    assert not [f"{command.name} {flag}" for command in commands for flag, meaning in command.flags if not meaning]


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff: apt install groff-base")
@pytest.mark.parametrize("name", ["man/pyctr.1", "man/pyctr-runtime.8"])
def test_the_manual_pages_are_clean_roff(name: str) -> None:
    words = ["groff", "-man", "-Tutf8", "-ww", "-rCHECKSTYLE=3", str(DOCS / name)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    assert "FLAGS" in done.stdout
