"""`--once`: every screen as data, table and text from the recorded host, harmless whatever a container calls itself."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.errors import UsageError
from pyctr.tui import keymap, main, theming
from pyctr.tui.once import once
from tests.support import screens

EVIL = "\x1b]0;owned\x07\x9b31m\u202e"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> screens.Replay:
    return screens.replay(tmp_path, monkeypatch)


def printed(host: screens.Replay, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    arguments = main.parser().parse_args(["--once", *words])
    code = once(host.poller, theming.load("dusk"), arguments, (80, 24))
    told = capsys.readouterr()
    assert code == 0, told.err
    return told.out


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("screen", keymap.SCREENS)
def test_every_screen_is_a_document_and_a_table(
    host: screens.Replay, capsys: pytest.CaptureFixture[str], screen: str
) -> None:
    document = json.loads(printed(host, capsys, "--json", "--screen", screen))
    assert [row["name"] for row in document["containers"]] == [row.name for row in host.snapshot.containers]
    table = rows(printed(host, capsys, "--csv", "--screen", screen))
    assert table
    assert all(None not in row and None not in row.values() for row in table), "every line has all columns"


def test_the_values_are_those_of_the_screen(host: screens.Replay, capsys: pytest.CaptureFixture[str]) -> None:
    api = next(row for row in host.snapshot.containers if row.name == "api-1")
    listed = {row["name"]: row for row in rows(printed(host, capsys, "--csv"))}
    assert float(listed["api-1"]["cpu"]) == api.cpu
    assert listed["seed"]["exit_code"] == "3"
    assert listed["seed"]["cpu"] == "", "what is not known is no zero"
    triage = rows(printed(host, capsys, "--csv", "--triage"))
    assert ("api-1", "throttled") in {(row["name"], row["kind"]) for row in triage}
    volumes = json.loads(printed(host, capsys, "--json", "--screen", "volumes"))["volumes"]
    assert [(volume["name"], volume["users"]) for volume in volumes] == [("pgdata", ["db"])]
    links = rows(printed(host, capsys, "--csv", "--screen", "networks"))
    assert {row["container"] for row in links} >= {"api-1", "db", "proxy"}
    actions = {row["action"] for row in rows(printed(host, capsys, "--csv", "--screen", "events"))}
    assert {"create", "start", "die", "oom"} <= actions


def test_tabs_of_one_container(host: screens.Replay, capsys: pytest.CaptureFixture[str]) -> None:
    processes = rows(printed(host, capsys, "--csv", "--select", "api-1", "--tab", "processes"))
    assert processes[0]["inside"] == "1" and int(processes[0]["memory"]) > 0
    lines = rows(printed(host, capsys, "--csv", "--select", "seed", "--tab", "logs"))
    assert [(line["stream"], line["text"]) for line in lines] == [("stderr", "cannot reach db")]
    detail = json.loads(printed(host, capsys, "--json", "--select", "db", "--tab", "inspect"))["detail"]
    assert detail["document"]["Name"] == "/db"
    with pytest.raises(UsageError, match="the tab 'inspect' is no table"):
        printed(host, capsys, "--csv", "--select", "db", "--tab", "inspect")
    with pytest.raises(UsageError, match="no container 'nobody'"):
        printed(host, capsys, "--json", "--select", "nobody")
    with pytest.raises(UsageError, match="no screen 'kitchen'"):
        printed(host, capsys, "--json", "--screen", "kitchen")


@pytest.mark.parametrize("screen", keymap.SCREENS)
@pytest.mark.parametrize("kind", ["--csv", "--json", "--text", "--svg"])
def test_no_name_and_no_log_reaches_a_terminal_as_a_command(
    host: screens.Replay, capsys: pytest.CaptureFixture[str], screen: str, kind: str
) -> None:
    for record in Path("root/containers").glob("*/state.json"):
        state: dict[str, Any] = json.loads(record.read_text())
        state["name"] += EVIL
        state["command"] = [f"sh{EVIL}"]
        state["image_name"] += EVIL
        record.write_text(json.dumps(state))
    journal = Path("root/events.jsonl")
    event = json.loads(journal.read_text().splitlines()[-1])
    event["attributes"]["command"] = EVIL
    event["name"] += EVIL
    journal.write_text(journal.read_text() + json.dumps(event) + "\n")
    for log in Path("root/containers").glob("*/log/ctr.log"):
        log.write_bytes(b"2026-11-20T23:14:07.412345678Z stdout F " + EVIL.encode() + b"\n")
    host.poller.collect()
    shown = printed(host, capsys, kind, "--screen", screen)
    if kind == "--csv" and screen == "containers":
        evil = "api-1\u241b]0;owned\u2407\ufffd31m\ufffd"
        assert evil in shown
        shown += printed(host, capsys, kind, "--select", "seed" + EVIL, "--tab", "logs")
    assert not {char for char in shown if char != "\n" and not char.isprintable()}


@pytest.mark.parametrize("kind", ["--csv", "--json"])
def test_data_costs_no_textual(tmp_path: Path, kind: str) -> None:
    """A fresh interpreter, every screen: a monitoring script must not wait for what it does not look at."""
    code = (
        "import sys\nfrom pyctr.tui import keymap, main\n"
        "for screen in keymap.SCREENS:\n"
        f"    code = main.main(['--once', '{kind}', '--screen', screen])\n"
        "print(sorted(set(sys.modules) & {'textual', 'rich'}), file=sys.stderr)\n"
    )
    where = ["PYCTR_ROOT", "PYCTR_RUNROOT"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **{name: str(tmp_path / name) for name in where}}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_what_cannot_be_done_is_one_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--once", "--json", "--screen", "kitchen"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[0] == "pyctr-tui: no screen 'kitchen'"
