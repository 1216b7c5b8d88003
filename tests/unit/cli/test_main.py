"""The front door: verbs are found, near ones suggested, mistakes give one line and 125, little is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyctr import __version__
from pyctr.cli import main as front

HEAVY = {
    *("argparse", "json", "re", "enum", "typing", "dataclasses", "pathlib", "logging", "subprocess", "asyncio"),
    *("contextlib", "tempfile", "shutil", "uuid", "datetime", "urllib", "textual", "rich", "psutil"),
}


@pytest.fixture(autouse=True)
def own_roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYCTR_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("PYCTR_RUNROOT", str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("stpo", "'pyctr' has no command 'stpo'", "did you mean 'stop'?"),
        ("strat", "'pyctr' has no command 'strat'", "did you mean 'start'?"),
        ("--bridge sixteenletters16 ps", "bad bridge name 'sixteenletters16'", "at most 15"),
        ("--cgroup-parent ../x ps", "bad cgroup parent '../x'", "a name below"),
        ("--root /dev/null ps", "--root: '/dev/null' is not a directory", "name one"),
        ("xyzzy", "'pyctr' has no command 'xyzzy'", "'pyctr --help' lists them"),
        ("volume lst", "'pyctr volume' has no command 'lst'", "did you mean 'ls'?"),
        ("--rot /x ps", "'pyctr' has no flag '--rot'", "did you mean '--root'?"),
        ("--root", "--root: needs a value", ""),
        ("ps surplus", "'pyctr ps' does not know what to do with 'surplus'", "'pyctr ps --help' shows how"),
        ("stop", "'pyctr stop' needs at least one CONTAINER", "'pyctr stop --help' shows how"),
        ("rename one", "'pyctr rename' needs a NEW-NAME", "'pyctr rename --help' shows how"),
        ("stop --tim 3 x", "'pyctr stop' has no flag '--tim'", "did you mean '--time'?"),
        ("ps --filter colour=red", "--filter: 'colour' is not known", "known are id, name"),
        ("ps --filter status=nice", "--filter: status 'nice' does not exist", "one of created"),
        ("logs --tail many x", "--tail: 'many' is not a number of lines", "give a number or all"),
        ("update x", "'pyctr update' was told nothing to change", "such as --memory 512m"),
    ],
)
def test_mistakes_give_one_line_and_125(line: str, message: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(line.split()) == 125
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == f"pyctr: {message}"
    assert lines[1:] == [] or lines[1].startswith(f"  hint: {hint}")
    assert bool(lines[1:]) == bool(hint)


def test_what_is_not_there_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["stop", "a", "b"]) == 1
    err = capsys.readouterr().err
    assert "no container 'a'" in err
    assert "no container 'b'" in err


def test_escape_sequences_in_messages_are_neutralised(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["stop", "a\x1b]0;owned\x07"]) == 1
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_version(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main([flag]) == 0
    assert capsys.readouterr().out == f"pyctr version {__version__}\n"


def test_every_verb_has_a_help_page(capsys: pytest.CaptureFixture[str]) -> None:
    from pyctr.cli.verbs.completion import verbs

    pages = verbs()
    assert {"run", "container ls", "image ls", "volume prune", "demo up", "system df"} <= set(pages)
    for words in pages:
        assert front.main([*words.split(), "--help"]) == 0, words
        assert f"usage: pyctr {words}" in capsys.readouterr().out
    for group in front.GROUPS:
        assert front.main([group, "--help"]) == 0
        assert f"Usage: pyctr {group}" in capsys.readouterr().out


def test_help_of_run_shows_dockers_letters(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["run", "--help"]) == 0
    out = capsys.readouterr().out
    for words in ("-d, --detach", "-p [[IP:]HOST:]PORT[/udp]", "-h NAME, --hostname NAME", "--memory-swap SIZE"):
        assert words in out


def test_listings_of_an_empty_pyctr(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["ps"]) == 0
    assert capsys.readouterr().out.split() == [
        "CONTAINER",
        "ID",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ]
    assert front.main(["container", "ls", "-aq"]) == 0
    assert front.main(["images", "--format", "json"]) == 0
    assert front.main(["volume", "ls", "-q"]) == 0
    assert capsys.readouterr().out == ""


def loaded(*words: str) -> set[str]:
    """Modules in memory after a command, in an interpreter without site."""
    code = "import sys; from pyctr.cli.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, *words], capture_output=True, text=True, check=True, cwd=root
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [["--version"], ["ps", "-a"], ["images"], ["volume", "ls"]])
def test_common_verbs_import_nothing_heavy(words: list[str]) -> None:
    assert HEAVY & loaded(*words) == set()


def test_a_broken_pipe_is_quiet() -> None:
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-m", "pyctr", "completion", "bash"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=root,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() in (0, 141)


@pytest.mark.parametrize("words", [["run", "base"], ["create", "base"], ["start", "web"], ["demo", "up"]])
def test_without_root_starting_is_refused_in_words(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert front.main(words) == 126
    message, hint = capsys.readouterr().err.splitlines()
    assert "root" in message
    assert "sudo pyctr" in hint


def test_closed_descriptors_do_no_harm() -> None:
    root = Path(__file__).parents[3]
    script = f"{sys.executable} -m pyctr ps >&- 2>&- <&-"
    assert subprocess.run(["sh", "-c", script], cwd=root, check=False).returncode == 0


def test_output_written_before_a_failure_is_kept() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "pyctr", "inspect", "no-such-thing"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert "no-such-thing" in done.stderr


@pytest.mark.parametrize("words", [["network", "create", "nn"], ["network", "rm", "nn"]])
def test_without_root_no_network_is_recorded_that_could_not_be_removed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert front.main(words) == 126
    assert f"sudo pyctr {words[0]} {words[1]} …" in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_without_root_a_list_says_that_root_may_have_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYCTR_ROOT")
    monkeypatch.setattr("pyctr.core.paths.Paths.root", str(tmp_path))
    assert front.main(["ps", "-q"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "pyctr: only what is yours; root's is seen with 'sudo pyctr ps'\n")
    monkeypatch.setattr("pyctr.core.paths.Paths.root", str(tmp_path / "nowhere"))
    assert front.main(["ps", "-q"]) == 0
    assert capsys.readouterr().err == ""
