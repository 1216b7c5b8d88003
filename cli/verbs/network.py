"""`pyctr network`: create, ls, inspect, rm."""

from __future__ import annotations

from pyctr.cli import output, values
from pyctr.core.parse import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

_COLUMNS = (("ID", "NETWORK ID"), ("Name", "NAME"), ("Driver", "DRIVER"), ("Scope", "SCOPE"))


def create_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--subnet", default="", type=_subnet, metavar="CIDR", help="such as 10.90.0.0/24; otherwise a free one")
    add("--gateway", default="", type=values.address, metavar="ADDRESS", help="the bridge's own address")
    add("--internal", action="store_true", help="no way out to the world")
    add("-d", "--driver", choices=("bridge",), default="bridge", help="bridge is the only one")
    add("--label", action="append", type=values.label, metavar="KEY=VALUE", help="metadata")
    add("name", metavar="NAME")


def create_run(call: Call, args: Arguments) -> int:
    """Make a bridge network."""
    call.need_root("making a network")
    from pyctr.cli.verbs.inspect import network_id

    made = call.engine.networks.create(
        args.name, subnet=args.subnet, gateway=args.gateway, internal=args.internal, labels=dict(args.label)
    )
    output.write(network_id(made.name))
    return 0


def ls_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-q", "--quiet", action="store_true", help="only ids")
    add("--no-trunc", action="store_true", help="whole ids")
    add("--format", metavar="FORMAT", help="table, json or a template such as '{{.Name}} {{.Subnet}}'")


def ls_run(call: Call, args: Arguments) -> int:
    """List networks."""
    from pyctr.cli.verbs.inspect import network_id

    rows = [
        {
            "ID": network_id(network.name),
            "Name": network.name,
            "Driver": network.driver,
            "Scope": "local",
            "Subnet": network.subnet,
            "Gateway": network.gateway,
            "Bridge": network.bridge,
            "Internal": network.internal,
        }
        for network in call.engine.networks.list()
    ]
    built_in = [("host", "host"), ("none", "null")]
    if not any(row["Name"] == "bridge" for row in rows):
        built_in.insert(0, ("bridge", "bridge"))  # made when the first container starts
    rows += [
        {
            "ID": network_id(name),
            "Name": name,
            "Driver": driver,
            "Scope": "local",
            **dict.fromkeys(("Subnet", "Gateway", "Bridge"), ""),
            "Internal": name == "none",
        }
        for name, driver in built_in
    ]
    for row in rows:
        row["ID"] = row["ID"] if args.no_trunc else str(row["ID"])[:12]
    if args.quiet:
        for row in rows:
            output.write(str(row["ID"]))
        return 0
    output.listing(rows, _COLUMNS, args.format)
    return 0


def inspect_configure(parser: Declares) -> None:
    parser.add_argument("-f", "--format", metavar="FORMAT", help="json or a template such as '{{.Bridge}}'")
    parser.add_argument("name", nargs="+", metavar="NETWORK")


def inspect_run(call: Call, args: Arguments) -> int:
    """Everything about networks as JSON."""
    from pyctr.cli.verbs.inspect import show

    return show(call.engine, args.name, args.format, ("network",))


def rm_configure(parser: Declares) -> None:
    parser.add_argument("name", nargs="+", metavar="NETWORK")


def rm_run(call: Call, args: Arguments) -> int:
    """Remove networks that no container uses."""
    call.need_root("removing a network")
    from pyctr.cli.each import each

    return each(args.name, call.engine.networks.remove)


def _subnet(text: str) -> str:
    address, slash, prefix = text.partition("/")
    if not slash or not prefix.isdecimal() or int(prefix) > 32 or "." not in address:
        raise BadValue(f"'{text}' is not a subnet", "give something like 10.90.0.0/24")
    values.address(address)
    return text
