"""A host with containers of other engines, made of files: what the readers need of /proc, cgroups and records."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from pyctr.core.cgroups import detect
from pyctr.core.engines.finder import Finder
from pyctr.core.engines.model import Foreign
from pyctr.core.paths import Paths

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "engines"
V1 = ("memory", "pids", "freezer")


class EngineTree:
    """`mode` is v1, v2 or hybrid."""

    def __init__(self, top: Path, mode: str = "v2") -> None:
        self.top = top
        self.mode = mode
        cgroup = top / "sys/fs/cgroup"
        if mode == "v2":
            self.hierarchies = [cgroup]
        else:
            self.hierarchies = [cgroup / name for name in V1] + ([cgroup / "unified"] if mode == "hybrid" else [])
        for hierarchy in self.hierarchies:
            hierarchy.mkdir(parents=True)
            unified = hierarchy.name in ("cgroup", "unified")
            (hierarchy / ("cgroup.controllers" if unified else "tasks")).write_text(
                "memory pids" if mode == "v2" else ""
            )
        self.write("proc/stat", "cpu 1 1 1 1 1 1 1 1 0 0\nbtime 1795287000\n")
        self.paths = Paths(
            root=str(top / "own/root"),
            run=str(top / "own/run"),
            cgroup_root=str(cgroup),
            proc=str(top / "proc"),
            host=str(top),
        )

    def write(self, path: str, content: str | bytes | dict[str, object] | list[object]) -> Path:
        file = self.top / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, (dict, list)):
            content = json.dumps(content)
        file.unlink(missing_ok=True)  # as engines do: another inode
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def golden(self, name: str, path: str) -> None:
        """A record that a real engine wrote."""
        content = (GOLDEN / name).read_bytes()
        self.write(path, gzip.decompress(content) if name.endswith(".gz") else content)

    def group(self, path: str, *pids: int, frozen: bool = False) -> None:
        for hierarchy in self.hierarchies:
            directory = hierarchy / path.lstrip("/")
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
            if hierarchy.name == "freezer":
                (directory / "freezer.state").write_text("FROZEN\n" if frozen else "THAWED\n")
            if hierarchy.name in ("unified",) or self.mode == "v2":
                (directory / "cgroup.events").write_text(f"populated 1\nfrozen {int(frozen)}\n")

    def ungroup(self, path: str) -> None:
        import shutil

        for hierarchy in self.hierarchies:
            shutil.rmtree(hierarchy / path.lstrip("/"))

    def process(
        self,
        pid: int,
        comm: str,
        *words: str,
        parent: int = 1,
        group: str = "/",
        cwd: str = "/",
        born: int = 1000,
        inner: int = 0,
    ) -> None:
        """`inner` is its pid in its own pid namespace."""
        here = f"proc/{pid}"
        fields = f"S {parent} {pid} {pid} 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 {born} 1000 100"
        self.write(f"{here}/stat", f"{pid} ({comm}) {fields}\n")
        self.write(f"{here}/comm", f"{comm}\n")
        self.write(f"{here}/cmdline", "".join(f"{word}\0" for word in words or (comm,)))
        self.write(f"{here}/status", f"Name:\t{comm}\nNSpid:\t{pid}" + (f"\t{inner}" if inner else "") + "\n")
        line = "0::{0}\n" if self.mode == "v2" else "4:memory:{0}\n0::{0}\n"
        self.write(f"{here}/cgroup", line.format(group))
        link = self.top / here / "cwd"
        link.unlink(missing_ok=True)
        link.symlink_to(cwd)

    def end(self, pid: int) -> None:
        import shutil

        shutil.rmtree(self.top / f"proc/{pid}")

    def finder(self, *, services: bool = False) -> Finder:
        return Finder(self.paths, detect(self.paths.cgroup_root), services=services)

    def look(self, *, services: bool = False) -> dict[str, Foreign]:
        """By name."""
        return {one.name: one for one in self.finder(services=services).look()}
