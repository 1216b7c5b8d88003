"""`pyctr lsof`."""

from __future__ import annotations

import sys

from pyctr.cli import output
from pyctr.core import openfiles, targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.openfiles import OpenFile, OpenFiles

_COLUMNS = (
    ("Kind", "KIND"), ("Mode", "MODE"), ("Processes", "PROCS"), ("Pid", "PID"), ("Size", "SIZE"), ("Name", "NAME"),
)  # fmt: skip


def configure(parser: Declares) -> None:
    parser.add_argument("container", metavar="CONTAINER", help="of any engine, such as docker:web")
    parser.add_argument("--deleted", action="store_true", help="only deleted files that still take space")
    parser.add_argument("--format", metavar="FORMAT", help="json, table, or a Go template")


def run(call: Call, args: Arguments) -> int:
    target = targets.find(call.engine, args.container)
    found = openfiles.read(target.manager(call.engine).pids(), call.paths.proc)
    files = found.deleted if args.deleted else found.files
    output.listing([_row(file, plain=args.format == "json") for file in files], _COLUMNS, args.format)
    for word in notes(found):
        sys.stderr.write(f"pyctr: {word}\n")
    return 0


def _row(file: OpenFile, *, plain: bool) -> dict[str, Any]:
    if plain:
        fields = {name.capitalize(): value for name, value in file._asdict().items()}
        return {**fields, "Pids": list(file.pids)}
    more = "+" if file.processes > 1 else ""
    return {
        "Kind": file.kind,
        "Mode": file.mode or "-",
        "Processes": file.processes,
        "Descriptors": file.descriptors,
        "Pid": f"{file.pids[0]}{more}",
        "Pids": " ".join(map(str, file.pids)),
        "Size": "-" if file.size is None else output.decimal_size(file.size),
        "Path": file.path,
        "Deleted": file.deleted,
        "Held": output.decimal_size(file.held),
        "Name": f"{file.path} (deleted, holds {output.decimal_size(file.held)})" if file.deleted else file.path,
    }


def notes(found: OpenFiles) -> list[str]:
    """What the list does not show, and the sum of what it is asked for most."""
    words = []
    if found.deleted:
        number = len(found.deleted)
        size = output.decimal_size(found.held)
        words.append(f"{number} deleted {'file holds' if number == 1 else 'files hold'} {size} until closed")
    if found.left_out:
        words.append(f"{found.left_out} descriptors were left out, {found.descriptors} were looked at")
    if found.passed_over:
        words.append(f"{found.passed_over} processes were left out, {found.processes} were looked at")
    if found.unreadable:
        words.append(f"{found.unreadable} processes are not yours to look at")
    return words
