from __future__ import annotations

from pathlib import Path

from pyctr.tui import keys
from tests.tui import rows


def test_no_key_means_two_things_on_the_main_screen() -> None:
    seen: dict[str, str] = {}
    for action in keys.in_scopes("app", "list", "containers"):
        for key in action.keys.split(","):
            assert key not in seen, f"{key}: {seen.get(key)} and {action.name}"
            seen[key] = action.name


def test_nothing_destructive_is_on_a_bare_control_letter() -> None:
    for action in keys.in_scopes("app", "list", "containers"):
        if action.changes:
            assert not any(key.startswith("ctrl+") for key in action.keys.split(","))


def test_read_only_offers_nothing_that_changes_anything() -> None:
    offered = keys.footer_actions(("app", "list", "containers"), rows.running("x"), True)
    assert offered
    assert not any(action.changes for action in offered)


def test_the_reference_in_docs_is_the_registry() -> None:
    path = Path(__file__).resolve().parents[3] / "docs" / "keys.md"
    assert path.read_text() == keys.reference(), "python -m pyctr.tui.keys > docs/keys.md"


def test_the_footer_offers_what_the_state_allows() -> None:
    def names(row: rows.ContainerRow) -> set[str]:
        return {action.name for action in keys.footer_actions(("containers",), row, False)}

    assert {"stop", "pause", "shell"} <= names(rows.running("x"))
    assert "start" not in names(rows.running("x"))
    assert {"start", "remove"} <= names(rows.ended("x"))
    assert "shell" not in names(rows.ended("x"))
    paused = rows.running("x", status="paused")
    assert keys.label(keys.find("pause"), paused) == "resume"
