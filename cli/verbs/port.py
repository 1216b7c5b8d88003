"""`pyctr port`."""

from __future__ import annotations

from pyctr.cli import describe, output
from pyctr.core import containers
from pyctr.core.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("port", nargs="?", metavar="PORT[/PROTOCOL]")


def run(call: Call, args: Arguments) -> int:
    container = containers.find(call.engine, args.container)
    wanted, _, protocol = (args.port or "").partition("/")
    protocol = protocol or "tcp"
    found = False
    for port in describe.ports(container):
        ip = port.get("host_ip") or "0.0.0.0"
        outside = f"[{ip}]:{port['host_port']}" if ":" in ip else f"{ip}:{port['host_port']}"
        if not wanted:
            output.write(f"{port['container_port']}/{port.get('protocol', 'tcp')} -> {outside}")
        elif (str(port["container_port"]), port.get("protocol", "tcp")) == (wanted, protocol):
            output.write(outside)
            found = True
    if wanted and not found:
        raise NotFound(
            f"container '{container.name}' does not publish '{wanted}/{protocol}'",
            hint=f"'pyctr port {container.name}' lists what it publishes",
        )
    return 0
