"""`pyctr-runtime state` and `list`."""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.runtime import ocistate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call


def configure(parser: Declares) -> None:
    parser.add_argument("id", metavar="ID")


def list_configure(parser: Declares) -> None:
    parser.add_argument(
        "-f", "--format", choices=("table", "json"), default="table", metavar="FORMAT", help="table or json"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="ids only")


def run(call: Call, args: Arguments) -> int:
    import json

    container = call.container(args.id)
    print(json.dumps(ocistate.shown(container, container.record()), indent=2))
    return 0


def list_run(call: Call, args: Arguments) -> int:
    states: list[dict[str, Any]] = []
    for container in call.containers.all():
        try:
            states.append(ocistate.shown(container, container.record()))
        except errors.NotFound:
            continue  # removed just now
        except ocistate.Damaged as error:
            call.warn(str(error))
    if args.quiet:
        for state in states:
            print(state["id"])
    elif args.format == "json":
        from pyctr.core import jsontext

        print(jsontext.dumps(states) if states else "null")
    else:
        _table(states)
    return 0


def _table(states: list[dict[str, Any]]) -> None:
    from pyctr.cli.diagnostics import safe

    rows: list[tuple[str, ...]] = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
    rows += [tuple(safe(str(state[key.lower()])) for key in rows[0]) for state in states]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        print("   ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]))
