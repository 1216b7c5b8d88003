"""What init says through its gate, in a form of its own that must stay the one of `sync`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pyctr.core.runtime import gate, sync


def test_its_kinds_and_frames_are_those_of_the_wire() -> None:
    assert (gate.WARNING, gate.FAILED, gate.LISTENER) == (sync.WARNING, sync.FAILED, sync.LISTENER)
    assert gate.frame(b"!", b"x" * 300) == sync.frame(b"!", b"x" * 300)


def test_frames_come_whole_however_they_were_written(tmp_path: Path) -> None:
    go, said = gate.make(str(tmp_path))
    assert gate.waiting(str(tmp_path))

    def init() -> None:
        assert os.read(go, 1) == b"G"
        data = gate.frame(b"!", b"first") + gate.frame(b"F", b"")
        for at in range(0, len(data), 3):
            os.write(said, data[at : at + 3])
        os.close(go)
        os.close(said)

    other = threading.Thread(target=init)
    other.start()
    assert list(gate.release(str(tmp_path))) == [(b"!", b"first"), (b"F", b"")]
    other.join()
    assert not gate.waiting(str(tmp_path))
    with pytest.raises(OSError):
        list(gate.release(str(tmp_path)))


@pytest.mark.parametrize("verb", ["start", "delete"])
def test_verbs_of_every_container_load_no_shared_library_but_one(verb: str) -> None:
    """fcntl, for the lock: each of them takes as long as several modules of Python."""
    code = f"import sys; import pyctr.cli.runtime.{verb}, pyctr.core.cgroups.group; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert not {"ctypes", "_ctypes", "_socket", "_struct", "select", "_json", "json", "re", "argparse", "enum"} & set(
        done.stdout.split()
    )
