"""What may stand where the cursor is, from the declarations alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyctr.cli.completing import candidates
from pyctr.cli.verbs.completion import verbs


@pytest.fixture(autouse=True)
def own_roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYCTR_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("PYCTR_RUNROOT", str(tmp_path / "run"))


def offered(line: str) -> set[str]:
    """Candidates at the end of a line; a blank there begins a new word."""
    return {text for text, _ in candidates({}, line.split(" "))[0]}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("unpa", {"unpause"}),
        ("--ro", {"--root"}),
        ("--bridge x unpa", {"unpause"}),
        ("volume r", {"rm"}),
        ("volume nosuch ", set()),
        ("nosuch ", set()),
        ("run --pull ", {"always", "missing", "never"}),
        ("run --pull=a", {"--pull=always"}),
        ("run --init=", {"--init=true", "--init=false"}),
        ("run -itd --pul", {"--pull"}),
        ("run -eA=1 --pul", {"--pull"}),
        ("run -e --pul --pul", {"--pull"}),
        ("run -e --pul", set()),
        ("run --restart on", {"on-failure"}),
        ("run --cap-add NET_A", {"NET_ADMIN"}),
        ("run --network h", {"host"}),
        ("kill -s SIGK", {"SIGKILL"}),
        ("run image --pul", set()),
        ("exec web ", set()),
        ("ps -- --al", set()),
        ("completion ", {"bash", "zsh", "fish"}),
        ("ps --engine po", {"podman"}),
        ("stats --engine=n", {"--engine=nspawn"}),
    ],
)
def test_what_is_offered(line: str, expected: set[str]) -> None:
    assert offered(line) == expected


@pytest.mark.parametrize(
    ("line", "files"), [("run --env-file /e", True), ("run -v /e", True), ("run --name /e", False)]
)
def test_paths_where_paths_may_stand(line: str, files: bool) -> None:
    assert candidates({}, line.split(" "))[1] is files


def test_every_verb_offers_its_flags_and_makes_no_root(tmp_path: Path) -> None:
    for words in verbs():
        assert "--help" in offered(f"{words} -"), words
        offered(f"{words} ")
    assert not (tmp_path / "root").exists()
