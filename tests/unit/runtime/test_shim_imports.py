"""One shim sleeps beside every container: what it imports is counted."""

import subprocess
import sys

from pyctr.core.runtime import launch, spawned

FORBIDDEN = (
    "json re enum typing dataclasses pathlib logging subprocess asyncio contextlib tempfile signal socket shutil"
)


def test_a_shim_ready_to_start_has_imported_nothing_else() -> None:
    code = f"""
import sys
sys.path.insert(0, {launch.root()!r})
from pyctr.core.runtime import spawned
from pyctr.core.linux import process
process.close_range = process.set_dumpable = process.subreaper = lambda *a, **k: None
spawned.prepare()
from pyctr.core.runtime import attach, execute, oom, record, launcher
from pyctr.core import events
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    foreign = {name for name in loaded if not name.startswith("_")} - set(spawned.ALLOWED.split()) - {"pyctr"}
    assert foreign == set()
    assert "pyctr.core.runtime.flight" not in done.stdout.split(), "the recorder loads what it needs, when it is due"
    assert not loaded & set(FORBIDDEN.split())
    ours = {name for name in done.stdout.split() if name.startswith("pyctr.")}
    assert not {name for name in ours if name.startswith(("pyctr.cli", "pyctr.tui", "pyctr.core.images"))}
