"""`pyctr network`: create, ls, inspect, rm, prune, connect, disconnect, graph, which, check."""

from __future__ import annotations

from pyctr.cli import filters, output, prunes, values
from pyctr.core.parse import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

_COLUMNS = (("ID", "NETWORK ID"), ("Name", "NAME"), ("Driver", "DRIVER"), ("Scope", "SCOPE"))
_FILTERS = ("name", "id", "driver", "scope", "type", "label", "dangling")


def create_configure(parser: Declares) -> None:
    add = parser.add_argument
    add(
        "--subnet",
        action="append",
        type=_subnet,
        metavar="CIDR",
        help="such as 10.90.0.0/24; otherwise a free one; once more for IPv6",
    )
    add("--gateway", action="append", type=values.address, metavar="ADDRESS", help="the bridge's own address")
    add("--ipv6", action="store_true", help="IPv6 addresses too, of a unique local prefix without --subnet")
    add("--ip-range", action="append", type=_subnet, metavar="CIDR", help="the part that addresses are given from")
    add("--aux-address", action="append", type=values.pair, metavar="NAME=IP", help="an address never given out")
    add("--internal", action="store_true", help="no way out to the world")
    add("-d", "--driver", default="bridge", metavar="DRIVER", help="bridge, overlay, macvlan, ipvlan or cni")
    add(
        "-o",
        "--opt",
        action="append",
        type=values.pair,
        metavar="KEY=VALUE",
        help="an option: mtu=1400, parent=eth0, vni=42, peers=IP,IP, conflist=NAME",
    )
    add("--label", action="append", type=values.label, metavar="KEY=VALUE", help="metadata")
    add("name", metavar="NAME")


def create_run(call: Call, args: Arguments) -> int:
    """Make a network."""
    call.need_root("making a network")
    from pyctr.cli.verbs.inspect import network_id

    made = call.engine.networks.create(
        args.name,
        subnet=_one(args.subnet, "subnet", six=False),
        gateway=_one(args.gateway, "gateway", six=False),
        ipv6=args.ipv6,
        subnet6=_one(args.subnet, "subnet", six=True),
        gateway6=_one(args.gateway, "gateway", six=True),
        internal=args.internal,
        labels=dict(args.label),
        ip_range=_one(args.ip_range, "ip-range", six=False),
        ip_range6=_one(args.ip_range, "ip-range", six=True),
        reserved=dict(args.aux_address),
        options=dict(args.opt),
        driver=args.driver,
    )
    output.write(network_id(made.name))
    return 0


def ls_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-q", "--quiet", action="store_true", help="only ids")
    add("--no-trunc", action="store_true", help="whole ids")
    add("-f", "--filter", action="append", type=filters.read, metavar="KEY=VALUE", help=", ".join(_FILTERS))
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
            "Labels": ",".join(f"{key}={value}" for key, value in network.labels.items()),
            "CreatedAt": output.rfc3339(network.created_at),
            "IPv4": True,
            "IPv6": bool(network.subnet6),
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
            "Labels": "",
            "CreatedAt": "",
            "IPv4": name == "bridge",
            "IPv6": False,
        }
        for name, driver in built_in
    ]
    asked = filters.collect(args.filter, _FILTERS)
    rows = [row for row in rows if _wanted(call, row, asked)]
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
    parser.add_argument("-f", "--force", action="store_true", help="do not mind one that is not there")
    parser.add_argument("name", nargs="+", metavar="NETWORK")


def rm_run(call: Call, args: Arguments) -> int:
    """Remove networks that no container uses."""
    call.need_root("removing a network")
    from pyctr.cli.each import each
    from pyctr.core.errors import NotFound

    def remove(name: str) -> None:
        try:
            call.engine.networks.remove(name)
        except NotFound:
            if not args.force:
                raise

    return each(args.name, remove)


def prune_configure(parser: Declares) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="the default network too; sysctls as they were")
    prunes.declare(parser)


def prune_run(call: Call, args: Arguments) -> int:
    """Remove networks that no container is on."""
    from pyctr.cli.confirm import confirm

    call.need_root("removing networks")
    wanted = prunes.wanted(args)
    if not confirm("This removes all networks that no container is on.", args.force):
        return 1
    gone = call.engine.networks.prune(wanted, all=args.all)
    if gone:
        output.write("Deleted Networks:")
    for name in gone:
        output.write(name)
    return 0


def connect_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--ip", default="", type=values.address, metavar="ADDRESS", help="its address there")
    add("--ip6", default="", type=values.address, metavar="ADDRESS", help="its IPv6 address there")
    add("--mac-address", default="", type=values.mac, metavar="ADDRESS", help="its MAC address there")
    add("--alias", action="append", metavar="NAME", help="a further name on that network")
    add("network", metavar="NETWORK")
    add("container", metavar="CONTAINER")


def connect_run(call: Call, args: Arguments) -> int:
    """Put a container on a network, running or not."""
    from pyctr.core import connecting

    call.need_root("connecting a container")
    connecting.connect(
        call.engine, args.network, args.container, ip=args.ip, ip6=args.ip6, mac=args.mac_address, aliases=args.alias
    )
    return 0


def disconnect_configure(parser: Declares) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="even one that is gone")
    parser.add_argument("network", metavar="NETWORK")
    parser.add_argument("container", metavar="CONTAINER")


def disconnect_run(call: Call, args: Arguments) -> int:
    """Take a container off a network, running or not."""
    from pyctr.core import connecting

    call.need_root("disconnecting a container")
    connecting.disconnect(call.engine, args.network, args.container, force=args.force)
    return 0


def graph_configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--text", action="store_true", help="an indented list (the default)")
    add("--json", action="store_true", help="everything, counters too")
    add("--dot", action="store_true", help="for Graphviz")
    add("--svg", action="store_true", help="a drawing")
    add("--talks", action="store_true", help="and who talks to whom, with bytes where they are counted")


def graph_run(call: Call, args: Arguments) -> int:
    """Interfaces, networks, containers and ports of this host as a graph."""
    from pyctr.core import containers, jsontext, netpicture, networks
    from pyctr.core.errors import UsageError

    if sum((args.text, args.json, args.dot, args.svg)) > 1:
        raise UsageError("--text, --json, --dot and --svg exclude each other", hint="give one of them")
    known = containers.all(call.engine)
    graph = networks.graph(call.engine, known)
    talks = None
    if args.talks:
        from pyctr.core import nettalks

        call.need_root("looking into containers' networks")
        talks = nettalks.talks(graph, known, call.engine.paths.proc)
    if args.json:
        output.write(jsontext.dumps(netpicture.document(graph, talks)))
        return 0
    draw = netpicture.dot if args.dot else netpicture.svg if args.svg else netpicture.text
    output.write(draw(graph, talks or ()).removesuffix("\n"))
    return 0


def which_configure(parser: Declares) -> None:
    parser.add_argument("--format", metavar="FORMAT", help="table, json or a template such as '{{.Host}}'")
    parser.add_argument("name", nargs="?", metavar="CONTAINER|INTERFACE")


def which_run(call: Call, args: Arguments) -> int:
    """Which interface of this host is whose, by either's name; without one, all."""
    from pyctr.core import containers, netwhich
    from pyctr.core.errors import NotFound

    call.need_root("looking into containers' networks")
    found = netwhich.pairs(call.engine)
    if args.name:
        chosen = [pair for pair in found if args.name in (pair.host, pair.container)]
        if not chosen:
            try:
                name = containers.find(call.engine, args.name).name
            except NotFound:
                raise NotFound(
                    f"'{args.name}' is no container and no interface of one", hint="'pyctr network which' lists them"
                ) from None
            chosen = [pair for pair in found if pair.container == name]
        found = chosen
    columns = (("Container", "CONTAINER"), ("Inside", "INSIDE"), ("Host", "HOST"), ("Master", "BRIDGE"), ("Mac", "MAC"))
    rows = [{key.capitalize(): value for key, value in pair._asdict().items()} for pair in found]
    output.listing(rows, columns, args.format)
    return 0


def repair_configure(parser: Declares) -> None:
    pass


def repair_run(call: Call, args: Arguments) -> int:
    """Put back firewall rules that others took out; the names of the networks concerned."""
    call.need_root("repairing the firewall's rules")
    for name in call.engine.networks.repair():
        call.engine.events.record("repair", name, name, type="network")
        output.write(name)
    return 0


def check_configure(parser: Declares) -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("target", metavar="TARGET[:PORT]")


def check_run(call: Call, args: Arguments) -> int:
    """Whether a container reaches another, a name or an address, step by step; 1 if not."""
    from pyctr.cli.diagnostics import safe
    from pyctr.core import netcheck

    call.need_root("looking into a container's network")
    good = True
    for step in netcheck.check(call.engine, args.container, args.target):
        output.write(f"{'ok  ' if step.good else 'FAIL'}  {step.name:<9}  {safe(step.words)}")
        good = good and step.good
    return 0 if good else 1


def _wanted(call: Call, row: dict[str, object], asked: dict[str, list[str]]) -> bool:
    """Whether a row of `ls` passes Docker's filters."""
    name, built_in = str(row["Name"]), row["Name"] in ("bridge", "host", "none")
    facts = {"driver": str(row["Driver"]), "scope": "local", "type": "builtin" if built_in else "custom"}
    if any(key in facts and facts[key] not in words for key, words in asked.items()):
        return False
    if "name" in asked and not any(text in name for text in asked["name"]):
        return False
    if "id" in asked and not any(str(row["ID"]).startswith(text) for text in asked["id"]):
        return False
    if "dangling" in asked:
        idle = not built_in and not call.engine.networks.users(name)
        if idle != (asked["dangling"][-1] in ("true", "1")):
            return False
    labels = dict(pair.partition("=")[::2] for pair in str(row["Labels"]).split(",") if pair)
    return filters.labels_match(labels, asked.get("label", ()))


def _one(given: list[str], flag: str, *, six: bool) -> str:
    """The one value of a family. Raises UsageError for two."""
    from pyctr.core.errors import UsageError

    found = [value for value in given if (":" in value) == six]
    if len(found) > 1:
        raise UsageError(f"--{flag}: '{found[1]}' is one too many", hint="one for IPv4 and one for IPv6")
    return found[0] if found else ""


def _subnet(text: str) -> str:
    address, slash, prefix = text.partition("/")
    most = 128 if ":" in address else 32
    if not slash or not prefix.isdecimal() or int(prefix) > most or not ("." in address or ":" in address):
        raise BadValue(f"'{text}' is not a subnet", "give something like 10.90.0.0/24")
    values.address(address)
    return text
