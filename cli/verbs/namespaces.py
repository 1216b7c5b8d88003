"""`pyctr namespaces`."""

from __future__ import annotations

import sys

from pyctr.cli import output
from pyctr.core import namespacemap, targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.namespacemap import Namespace

_COLUMNS = (("Kind", "KIND"), ("Inode", "INODE"), ("Shared", "SHARED"), ("Who", "WHO"))


def configure(parser: Declares) -> None:
    parser.add_argument("containers", nargs="*", metavar="CONTAINER", help="only namespaces that these are in")
    parser.add_argument("--shared", action="store_true", help="only what more than one is in, or the host, too")
    parser.add_argument("--format", metavar="FORMAT", help="json, table, or a Go template")


def run(call: Call, args: Arguments) -> int:
    wanted = {(target.engine, target.id) for target in (_running(call, name) for name in args.containers)}
    found, unreadable = namespacemap.survey(namespacemap.everyone(call.engine), call.paths.proc)
    chosen = [
        one
        for one in found
        if one.members
        and (one.shared or not args.shared)
        and (not wanted or any((member.engine, member.id) in wanted for member in one.members))
    ]
    output.listing([_row(one, plain=args.format == "json") for one in chosen], _COLUMNS, args.format)
    if unreadable:
        sys.stderr.write(f"pyctr: {unreadable} containers are not yours to look at\n")
    return 0


def _running(call: Call, name: str) -> targets.Target:
    """Raises NotFound, and IllegalTransition for one that is in no namespace."""
    target = targets.find(call.engine, name)
    target.manager(call.engine)
    return target


def _row(one: Namespace, *, plain: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"Kind": one.kind, "Inode": one.inode, "Host": one.host}
    if plain:
        return {**row, "Containers": [member._asdict() for member in one.members]}
    names = [namespacemap.named(member) for member in one.members]
    return {
        **row,
        "Shared": "with the host" if one.host else "yes" if one.shared else "-",
        "Containers": ", ".join(names),
        "Who": ", ".join([*(["host"] if one.host else []), *names]),
    }
