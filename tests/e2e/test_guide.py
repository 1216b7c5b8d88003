"""docs/guide.md, every command in its order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.host import REPOSITORY, Host


@pytest.mark.timeout(240)
def test_every_command_of_the_guide_works(bare_host: Host, tmp_path: Path) -> None:
    text = (REPOSITORY / "docs/guide.md").read_text()
    env = bare_host.env | {"PATH": f"{Path(sys.executable).parent}:{bare_host.env['PATH']}"}
    said = {}
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        for line in block.strip().splitlines():
            done = subprocess.run(
                line,
                shell=True,
                cwd=tmp_path,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            said[line.partition(" #")[0].strip()] = done.stdout
    for start, shown in {
        "pyctr exec counter ps": "ps",
        "pyctr port web": "127.0.0.1:18080",
        "pyctr run --rm --network backend": "hello\n",
        "pyctr inspect -f '{{.State.Health": "healthy\n",
        "pyctr diff changed": "A /etc/motd\n",
        "pyctr run --name failed": "it ended with 3\n",
        "pyctr logs failed": "",
        "pyctr inspect -f '{{.State.ExitCode}}": "3 false\n",
    }.items():
        assert any(line.startswith(start) and shown in output for line, output in said.items()), (start, said)
    assert bare_host.census() == {}
