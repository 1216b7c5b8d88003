"""Tables, sizes and times in Docker's words; nothing from a container reaches the terminal raw."""

from __future__ import annotations

import pytest

from pyctr.cli import output
from pyctr.cli.diagnostics import safe


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (3.9, "3 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (300, "5 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (7200, "2 hours"),
        (47 * 3600, "47 hours"),
        (3 * 86400, "3 days"),
        (20 * 86400, "2 weeks"),
        (100 * 86400, "3 months"),
        (1000 * 86400, "2 years"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert output.human_duration(seconds) == expected


@pytest.mark.parametrize(
    ("count", "decimal", "binary"),
    [
        (0, "0B", "0B"),
        (999, "999B", "999B"),
        (1000, "1kB", "1000B"),
        (1536, "1.54kB", "1.5KiB"),
        (12_300_000, "12.3MB", "11.73MiB"),
        (999_960, "1000kB", "976.5KiB"),
        (1 << 30, "1.07GB", "1GiB"),
    ],
)
def test_sizes(count: int, decimal: str, binary: str) -> None:
    assert output.decimal_size(count) == decimal
    assert output.binary_size(count) == binary


def test_a_table_aligns_and_neutralises(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["NAME", "NOTE"], [["a", "x"], ["evil\x1b[2Jname", "y\nz\u202e"], ["中文", "wide"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "NAME              NOTE"
    assert lines[2] == "evil\\x1b[2Jname   y\\nz\\u202e"
    assert lines[3] == "中文              wide"


def test_listing_by_template_with_headings(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"Names": "web", "RunningFor": "2 hours"}, {"Names": "database", "RunningFor": "1 second"}]
    output.listing(rows, [("Names", "NAMES")], "table {{.Names}}\\t{{.RunningFor}}")
    assert capsys.readouterr().out == "NAMES      RUNNING FOR\nweb        2 hours\ndatabase   1 second\n"
    output.listing(rows, [("Names", "NAMES")], "{{.Names}}")
    assert capsys.readouterr().out == "web\ndatabase\n"
    output.listing(rows[:1], [("Names", "NAMES")], "json")
    assert capsys.readouterr().out == '{"Names":"web","RunningFor":"2 hours"}\n'


def test_json_keeps_letters_and_escapes_controls() -> None:
    assert output.json_line({"a": "é\x1b\x9b\u202e"}) == '{"a":"é\\u001b\\u009b\\u202e"}'


def test_undecodable_names_survive() -> None:
    assert safe("a\udcff") == "a\\udcff"


def test_zero_time_is_gos() -> None:
    assert output.rfc3339(0) == "0001-01-01T00:00:00Z"
    assert output.rfc3339(1767323045.25) == "2026-01-02T03:04:05.25Z"
