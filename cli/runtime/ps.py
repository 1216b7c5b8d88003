"""`pyctr-runtime ps`: the processes of a container, as the host's ps shows them."""

from __future__ import annotations

import os

from pyctr.cli.flags import REMAINDER
from pyctr.core import errors
from pyctr.core.runtime import ocistate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call

INTERSPERSED = False


def configure(parser: Declares) -> None:
    parser.add_argument(
        "-f", "--format", choices=("table", "json"), default="table", metavar="FORMAT", help="table, or json: the pids"
    )
    parser.add_argument("id", metavar="ID")
    parser.add_argument("options", nargs=REMAINDER, metavar="PS-OPTIONS ...")


def run(call: Call, args: Arguments) -> int:
    container = call.container(args.id)
    record = container.record()
    if not container.alive(record):
        raise ocistate.not_running(args.id)
    pids = container.manager(record).pids()
    if args.format == "json":
        from pyctr.core import jsontext

        print(jsontext.dumps(pids))
        return 0
    from pyctr.cli.diagnostics import safe

    for line in _rows(args.options or ["-ef"], set(pids)):
        print(safe(line))
    return 0


def _rows(options: list[str], pids: set[int]) -> list[str]:
    """The header, and the lines of these processes. Raises UsageError when ps does not show pids."""
    lines = _ps(options)
    header = lines[0].split()
    if "PID" not in header:
        raise errors.UsageError("ps: the output has no PID column", hint="add one: -o pid,...")
    column = header.index("PID")
    rows = [lines[0]]
    for line in lines[1:]:
        fields = line.split()
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            rows.append(line)
    return rows


def _ps(options: list[str]) -> list[str]:
    reader, writer = os.pipe()
    try:
        pid = os.posix_spawnp("ps", ["ps", *options], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
    except FileNotFoundError:
        os.close(reader)
        raise errors.Unsupported("ps: not found in $PATH of the host", hint="--format json needs none") from None
    finally:
        os.close(writer)
    with open(reader, "rb") as file:
        said = file.read()
    if os.waitpid(pid, 0)[1]:
        raise errors.UsageError(f"ps: 'ps {' '.join(options)}' failed", hint="its own words are above")
    return said.decode(errors="replace").splitlines() or [""]
