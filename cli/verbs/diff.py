"""`pyctr diff`."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.core import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("container", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    container = containers.find(call.engine, args.container)
    for kind, path in call.engine.storage.changes(container.id, call.engine.images.resolve(container.state.image_id)):
        output.write(f"{kind} {output.terminal_safe(path)}")
    return 0
