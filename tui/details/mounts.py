"""What is mounted where: as asked for, and as the kernel has it."""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core.linux import mountinfo
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.tui.format import Line
    from pyctr.tui.snapshot import ContainerRow, Snapshot
    from pyctr.tui.table import Look


class Mounted(NamedTuple):
    asked: tuple[tuple[str, str, str, bool], ...]
    """(kind, source, target, read-only)"""
    there: tuple[tuple[str, str, str, str], ...]
    """(target, type, source, options) in the order of mounting, from /proc/PID/mountinfo"""


def collect(engine: Engine, container: Container, before: object) -> object:
    asked = tuple((mount.kind, mount.source, mount.target, mount.readonly) for mount in container.spec.mounts)
    there = []
    if pid := container.pid:
        for mount in mountinfo.read(pid, engine.paths.proc):
            options = ",".join(mount.options)
            if mount.super_options[0] not in ("", mount.options[0]):
                options = f"{options} ({mount.super_options[0]})"
            there.append((mount.target, mount.fstype, mount.source, options))
    return Mounted(asked, tuple(there))


def render(document: object, row: ContainerRow, snapshot: Snapshot, width: int, height: int, look: Look) -> list[Line]:
    from pyctr.tui.details import table

    if not isinstance(document, Mounted):
        return []
    lines: list[Line] = []
    if document.asked:
        rows = [
            [
                (f.neutral(kind), "accent"),
                ("ro" if readonly else "rw", "warn" if readonly else "muted"),
                (f.neutral(target), "strong"),
                (f.neutral(source) or ("anonymous" if kind == "volume" else ""), "text"),
            ]
            for kind, source, target, readonly in document.asked
        ]
        lines += table([("KIND", 6, "left"), ("", 2, "left"), ("IN IT", 24, "left"), ("FROM", 0, "left")], rows, width)
        lines.append(())
    if document.there:
        rows = [
            [
                (f.neutral(target), "text"),
                (f.neutral(kind), "accent" if kind in ("overlay", "ext4", "xfs", "btrfs") else "muted"),
                ("ro" if options.startswith("ro") else "rw", "faint"),
                (f.neutral(source), "faint"),
            ]
            for target, kind, source, options in document.there
        ]
        size = max(20, min(44, width // 2))
        headings = [("MOUNTED AT", size, "left"), ("TYPE", 8, "left"), ("", 2, "left"), ("SOURCE", 0, "left")]
        lines += table(headings, rows, width)
    elif not document.asked:
        lines.append((("nothing is mounted while it does not run", "faint"),))
    return lines
