"""Bundles run by `pyctr-runtime` as its callers run it, with a config.json that a test changes where it wants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyctr.core.linux import const, mount

from .bundle import Bundle

Done = subprocess.CompletedProcess[str]


def idmappable(directory: Path) -> None:
    """Mount on it what can be id-mapped: a tmpfs since Linux 6.3, before that hopefully what it is on already."""
    if tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (6, 3):
        mount.mount("tmpfs", str(directory), "tmpfs", 0, "mode=755")
    else:
        mount.mount(str(directory), str(directory), None, const.MS_BIND)


class Oci(Bundle):
    """`oci.config(...)` is a document to change, `oci.run_config` runs it, `oci.inside(script)` is both."""

    def command(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).parent / "pyctr-runtime"), *words]

    def cli(self, *words: str, stdin: str | None = None) -> Done:
        """Output goes to files: a created container holds on to it, so a pipe would have no end."""
        files = [self.path / "out", self.path / "err"]
        with open(files[0], "w") as out, open(files[1], "w") as err:
            done = subprocess.run(
                self.command(*words), env=self.host.env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=60
            )
        return subprocess.CompletedProcess(words, done.returncode, *(file.read_text() for file in files))

    def write(self, config: Any) -> None:
        (self.path / "config.json").write_text(json.dumps(config))

    def run_config(self, config: dict[str, Any], id: str = "one") -> Done:
        self.write(config)
        return self.cli("run", "--bundle", str(self.path), id)

    def inside(self, script: str, change: Callable[[dict[str, Any]], object] | None = None, **changes: Any) -> str:
        """What a shell in the container prints. `change` edits the document; `changes` as in `config`."""
        config = self.config("sh", "-ec", script, **changes)
        if change is not None:
            change(config)
        done = self.run_config(config)
        assert done.returncode == 0, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def refused(self, change: Callable[[dict[str, Any]], object], **changes: Any) -> str:
        """The one line that says why a configuration is not carried out."""
        config = self.config("true", **changes)
        change(config)
        done = self.run_config(config)
        assert done.returncode != 0, done.stdout
        lines = [line for line in done.stderr.splitlines() if not line.startswith("  hint: ")]
        assert len(lines) == 1, done.stderr
        return lines[0]

    def mount(self, destination: str, type: str = "", source: str = "", *options: str, **more: Any) -> dict[str, Any]:
        return {"destination": destination, "type": type, "source": source, "options": list(options), **more}
