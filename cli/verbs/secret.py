"""`pyctr secret`: create, ls, inspect, rm."""

from __future__ import annotations

import os

from pyctr.cli import filters, output, values
from pyctr.core.errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.secrets import Kept

_COLUMNS = (("ID", "ID"), ("Name", "NAME"), ("Driver", "DRIVER"), ("CreatedAt", "CREATED"))
_FILTERS = ("name", "id", "label")


def create_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--env", action="store_true", help="the value is that of the variable, not a file's content")
    add("-d", "--driver", choices=("file",), default="file", help="file is the only one")
    add("-l", "--label", action="append", type=values.label, metavar="KEY=VALUE", help="metadata")
    add("--replace", action="store_true", help="in the place of one of that name")
    add("name", metavar="NAME")
    add("file", nargs="?", default="-", metavar="FILE", help="a file, - for stdin, or with --env a variable")


def create_run(call: Call, args: Arguments) -> int:
    """Keep a value, and print its id."""
    from pyctr.core import secrets

    if args.env:
        value = os.environb.get(os.fsencode(args.file))
        if value is None:
            raise UsageError(f"there is no variable '{args.file}'", hint="pyctr secret create --env NAME VARIABLE")
    else:
        value = secrets.read(args.file, f"secret '{args.name}'")
    output.write(call.engine.secrets.create(args.name, value, dict(args.label), replace=args.replace).id)
    return 0


def ls_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-q", "--quiet", action="store_true", help="only ids")
    add("-f", "--filter", action="append", type=filters.read, metavar="KEY=VALUE", help=", ".join(_FILTERS))
    add("--format", metavar="FORMAT", help="table, json or a template such as '{{.Name}}'")


def ls_run(call: Call, args: Arguments) -> int:
    """List secrets."""
    wanted = filters.collect(args.filter, _FILTERS)
    rows = []
    for kept in call.engine.secrets.list():
        if "name" in wanted and not any(text in kept.name for text in wanted["name"]):
            continue
        if "id" in wanted and not any(kept.id.startswith(text) for text in wanted["id"]):
            continue
        if filters.labels_match(kept.labels, wanted.get("label", ())):
            rows.append(
                {
                    "ID": kept.id,
                    "Name": kept.name,
                    "Driver": "file",
                    "CreatedAt": output.rfc3339(kept.created_at),
                    "Labels": ",".join(f"{key}={value}" for key, value in kept.labels.items()),
                }
            )
    if args.quiet:
        for row in rows:
            output.write(row["ID"])
        return 0
    output.listing(rows, _COLUMNS, args.format)
    return 0


def inspect_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-f", "--format", metavar="FORMAT", help="json or a template such as '{{.ID}}'")
    add("--showsecret", action="store_true", help="its value, too")
    add("secret", nargs="+", metavar="SECRET")


def inspect_run(call: Call, args: Arguments) -> int:
    """Everything about secrets as JSON, but for their values."""
    found = [_document(call, kept, args.showsecret) for kept in map(call.engine.secrets.get, args.secret)]
    if not args.format:
        output.write(output.json_document(found))
    else:
        for document in found:
            output.document(document, args.format)
    return 0


def _document(call: Call, kept: Kept, reveal: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ID": kept.id,
        "CreatedAt": output.rfc3339(kept.created_at),
        "Spec": {"Name": kept.name, "Driver": {"Name": "file"}, "Labels": kept.labels},
    }
    if reveal:
        document["SecretData"] = os.fsdecode(call.engine.secrets.value(kept))
    return document


def rm_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="all of them")
    add("-i", "--ignore", action="store_true", help="do not mind one that is not there")
    add("secret", nargs="*", metavar="SECRET")


def rm_run(call: Call, args: Arguments) -> int:
    """Remove secrets; containers that were made with them keep theirs."""
    from pyctr.cli.each import each

    if bool(args.secret) == args.all:
        raise UsageError("which secrets?", hint="names, ids, or --all")

    def remove(ref: str) -> None:
        try:
            call.engine.secrets.remove(ref)
        except NotFound:
            if not args.ignore:
                raise

    return each([kept.id for kept in call.engine.secrets.list()] if args.all else args.secret, remove)
