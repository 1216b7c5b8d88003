"""`pyctr version`."""

from __future__ import annotations

import os
import sys

from pyctr import __version__
from pyctr.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    parser.add_argument("-f", "--format", metavar="FORMAT", help="json or a template")


def run(call: Call, args: Arguments) -> int:
    host = os.uname()
    found = {
        "Version": __version__,
        "Python": sys.version.partition(" ")[0],
        "KernelVersion": host.release,
        "Os": host.sysname.lower(),
        "Arch": host.machine,
    }
    if args.format:
        output.document(found, args.format)
        return 0
    output.write(f"pyctr version {__version__}")
    output.write(f" Python:  {found['Python']}")
    output.write(f" Kernel:  {host.release}")
    output.write(f" OS/Arch: {found['Os']}/{host.machine}")
    return 0
