"""`pyctr deaths`."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.cli.diagnostics import safe
from pyctr.core import deaths, deathtext
from pyctr.core.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

_HEADINGS = ("ENDED", "NAME", "CODE", "CAUSE", "WHAT HAPPENED")


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="every death on record of the containers named, not the last alone")
    add("--json", action="store_true", help="the whole documents, one per line")
    add("--prune", action="store_true", help="forget them: of the containers named, or all")
    add("container", nargs="*", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    engine = call.engine
    if args.prune:
        output.write(str(deaths.forget(engine, args.container or None)))
        return 0
    if not args.container:
        found = deaths.everything(engine)
        if args.json:
            for document in found:
                output.write(output.json_line(document))
            return 0
        output.table(
            _HEADINGS,
            [
                [
                    deathtext.clock(one["finished_at"]),
                    one["name"],
                    str(one["code"]),
                    one["cause"],
                    deathtext.headline(one),
                ]
                for one in found
            ],
        )
        return 0
    for place, name in enumerate(args.container):
        found = deaths.find(engine, name)
        if not found and not args.json:
            raise NotFound(f"no death of container '{name}' is on record", hint="it ended well, or somebody stopped it")
        for document in found if args.all else found[:1]:
            if args.json:
                output.write(output.json_line(document))
                continue
            if place or document is not found[0]:
                output.write("")
            for line in deathtext.lines(document):
                output.write(safe(line))
    return 0
