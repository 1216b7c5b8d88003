"""`pyctr search`."""

from __future__ import annotations

from pyctr.cli import output, transfers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

_COLUMNS = (("Name", "NAME"), ("Description", "DESCRIPTION"), ("StarCount", "STARS"), ("IsOfficial", "OFFICIAL"))


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--limit", type=int, default=25, metavar="N", help="at most so many (25)")
    add("--list-tags", action="store_true", help="the tags of one repository instead")
    add("--no-trunc", action="store_true", help="whole descriptions")
    add("--format", metavar="FORMAT", help="table, json or a template such as '{{.Name}}'")
    transfers.declare(parser)
    add("term", metavar="[REGISTRY/]TERM")


def run(call: Call, args: Arguments) -> int:
    from pyctr.core.images import remote

    access = transfers.access(args)
    if args.list_tags:
        rows = [{"Name": name, "Tag": tag} for name, tag in remote.tags(args.term, access)[: args.limit]]
        output.listing(rows, (("Name", "NAME"), ("Tag", "TAG")), args.format)
        return 0
    found = [
        {
            "Name": hit.name,
            "Description": hit.description if args.no_trunc else output.ellipsis(hit.description, 45),
            "StarCount": hit.stars,
            "IsOfficial": "[OK]" if hit.official else "",
        }
        for hit in remote.search(args.term, args.limit, access)
    ]
    output.listing(found, _COLUMNS, args.format)
    return 0
