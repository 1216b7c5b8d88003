"""`pyctr logout`."""

from __future__ import annotations

from pyctr.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("--authfile", metavar="FILE", default="", help="the only file with credentials to look at")
    parser.add_argument("registry", nargs="?", metavar="REGISTRY", help="docker.io when left out")


def run(call: Call, args: Arguments) -> int:
    from pyctr.cli.verbs.login import host
    from pyctr.core.images.auth import Keyring

    registry = host(args.registry)
    Keyring(args.authfile).logout(registry)
    output.write(f"Removed login credentials for {registry}")
    return 0
