"""A recording in a real terminal: opened, walked through, left, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from pyctr.core.capture import archive
from pyctr.core.capture.moments import Recording, from_json
from tests.support.host import REPOSITORY
from tests.support.screens import HOST
from tests.support.terminal import Terminal


@pytest.mark.parametrize("number", [0, signal.SIGTERM, signal.SIGHUP])
def test_a_recording_is_looked_at_and_leaves_nothing_however_it_ends(tmp_path: Path, number: int) -> None:
    out = bytearray()
    archive.pack(Recording({"host": "web-01"}, from_json(str(HOST)).moments), out.extend)
    (tmp_path / "web.capture").write_bytes(out)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PYCTR_")},
        "TMPDIR": str(tmp_path),
        "HOME": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
    }
    words = [sys.executable, "-m", "pyctr.tui.main", "--replay", str(tmp_path / "web.capture")]
    terminal = Terminal(words, env=environment, columns=120, rows=40, cwd=REPOSITORY)
    try:
        terminal.wait_for(r"recorded 20\d\d-\d\d-\d\d")
        terminal.wait_for(r"q quit")
        terminal.press("7")
        terminal.wait_for(r"OOM-killed|CPU-throttled")
        assert list(tmp_path.glob("pyctr-replay-*"))
        if number:
            os.kill(terminal.pid(), number)
        else:
            terminal.press("q")
        if number == signal.SIGHUP:
            terminal.wait_dead()  # who lost the terminal has two seconds to leave, and is made to
        else:
            assert terminal.exit_status() == (128 + number if number else 0), terminal.screen()
    finally:
        terminal.close()
    assert not list(tmp_path.glob("pyctr-replay-*"))
