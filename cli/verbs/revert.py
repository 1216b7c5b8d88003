"""`pyctr revert`."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.cli.each import each
from pyctr.core import reverts
from pyctr.core.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.reverts import Revert

_COLUMNS = (("Name", "NAME"), ("Engine", "ENGINE"), ("In", "IN"), ("Then", "THEN"))


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--keep", action="store_true", help="let what was done stay done")
    add("--format", metavar="FORMAT", help="json, table, or a Go template")
    add("container", nargs="*", metavar="CONTAINER", help="now, instead of in its time; none: list what is to come")


def run(call: Call, args: Arguments) -> int:
    reverts.make_up(call.engine)
    known = reverts.all(call.paths)
    if not args.container:
        output.listing([_row(one) for one in known], _COLUMNS, args.format)
        return 0

    def act(name: str) -> None:
        engine, _, ref = name.rpartition(":")
        asked = [one for one in known if engine in ("", one.engine)]
        meant = [one for one in asked if ref in (one.name, one.id)]
        meant = meant or [one for one in asked if len(ref) > 1 and one.id.startswith(ref)]
        if not meant:
            raise NotFound(f"nothing is to be taken back of '{name}'", hint="'pyctr revert' lists what is")
        for one in meant:
            if args.keep:
                reverts.keep(call.paths, one.id, one.kind)
            else:
                reverts.carry_out(call.engine, one)

    return each(args.container, act)


def _row(one: Revert) -> dict[str, object]:
    return {
        "ID": one.id,
        "Name": one.name,
        "Engine": one.engine,
        "Kind": one.kind,
        "In": f"{max(0.0, one.left):.0f}s",
        "Then": one.text.partition(": ")[2],
        "Writes": one.writes,
    }
