"""`pyctr volume`: create, ls, inspect, rm, prune."""

from __future__ import annotations

from pyctr.cli import filters, output, prunes, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

_COLUMNS = (("Driver", "DRIVER"), ("Name", "VOLUME NAME"))
_FILTERS = ("dangling", "label", "name", "driver")


def create_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-l", "--label", action="append", type=values.label, metavar="KEY=VALUE", help="metadata")
    add("-d", "--driver", choices=("local",), default="local", help="local is the only one")
    add("-o", "--opt", action="append", type=values.pair, metavar="KEY=VALUE", help="an option of the driver")
    add("name", nargs="?", type=values.name, metavar="NAME")


def create_run(call: Call, args: Arguments) -> int:
    """Make a volume."""
    made = call.engine.volumes.create(args.name or "", labels=dict(args.label), driver_opts=dict(args.opt))
    output.write(made.name)
    return 0


def ls_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-q", "--quiet", action="store_true", help="only names")
    add("-f", "--filter", action="append", type=filters.read, metavar="KEY=VALUE", help=", ".join(_FILTERS))
    add("--format", metavar="FORMAT", help="table, json or a template such as '{{.Name}}'")


def ls_run(call: Call, args: Arguments) -> int:
    """List volumes."""
    wanted = filters.collect(args.filter, _FILTERS)
    volumes = call.engine.volumes
    rows = []
    for volume in volumes.list():
        if not filters.labels_match(volume.labels, wanted.get("label", ())):
            continue
        if "name" in wanted and not any(text in volume.name for text in wanted["name"]):
            continue
        if "dangling" in wanted and (wanted["dangling"][-1] in ("true", "1")) == bool(volumes.users(volume.name)):
            continue
        if "driver" in wanted and "local" not in wanted["driver"]:
            continue
        labels = ",".join(f"{key}={value}" for key, value in volume.labels.items())
        rows.append(
            {"Driver": "local", "Name": volume.name, "Mountpoint": volume.path, "Scope": "local", "Labels": labels}
        )
    if args.quiet:
        for row in rows:
            output.write(row["Name"])
        return 0
    output.listing(rows, _COLUMNS, args.format)
    return 0


def inspect_configure(parser: Declares) -> None:
    parser.add_argument("-f", "--format", metavar="FORMAT", help="json or a template such as '{{.Mountpoint}}'")
    parser.add_argument("name", nargs="+", metavar="VOLUME")


def inspect_run(call: Call, args: Arguments) -> int:
    """Everything about volumes as JSON."""
    from pyctr.cli.verbs.inspect import show

    return show(call.engine, args.name, args.format, ("volume",))


def rm_configure(parser: Declares) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="do not mind one that is not there")
    parser.add_argument("name", nargs="+", metavar="VOLUME")


def rm_run(call: Call, args: Arguments) -> int:
    """Remove volumes that no container uses."""
    from pyctr.cli.each import each
    from pyctr.core.errors import NotFound

    def remove(name: str) -> None:
        try:
            call.engine.volumes.remove(name)
        except NotFound:
            if not args.force:
                raise

    return each(args.name, remove)


def prune_configure(parser: Declares) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="named ones too, not only anonymous")
    prunes.declare(parser)


def prune_run(call: Call, args: Arguments) -> int:
    """Remove volumes that no container uses, with what is in them."""
    from pyctr.core import prune

    wanted = prunes.wanted(args)
    return prunes.run(call, prune.Plan(volumes=prune.idle_volumes(call.engine, args.all, set(), wanted)), args.force)
