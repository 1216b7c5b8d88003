"""`pyctr capture`."""

from __future__ import annotations

import sys

from pyctr.cli import output, values
from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-o", "--output", metavar="FILE", default="", help="the file to write, for pyctr-tui --replay")
    add("--seconds", type=float, default=5.0, metavar="N", help="how long to read the host, 5 by default")
    add("--max-size", type=values.size, default=32 << 20, metavar="SIZE",
        help="of the file, 32m by default: what does not fit is left out, logs first")  # fmt: skip
    add("--no-redact", action="store_true", help="keep passwords in environments, command lines and logs")
    add("-q", "--quiet", action="store_true", help="say nothing")


def run(call: Call, args: Arguments) -> int:
    from pyctr.core.capture.capture import Wishes, capture

    if not args.output:
        raise UsageError("no file to write", hint="pyctr capture -o host.capture")
    if not 0 <= args.seconds <= 3600:
        raise UsageError(f"--seconds: {args.seconds:g} is not between 0 and 3600")
    call.need_root("reading the whole host")
    live = sys.stderr.isatty() and not args.quiet

    def tell(text: str) -> None:
        if live:
            sys.stderr.write(f"\r\x1b[Kpyctr capture: {text}")
            sys.stderr.flush()

    try:
        done = capture(call.engine, args.output, Wishes(args.seconds, args.max_size, not args.no_redact), tell)
    finally:
        if live:
            sys.stderr.write("\r\x1b[K")
    if not args.quiet:
        parts = [f"{output.decimal_size(done.size)}, {done.moments} readings"]
        if done.left_out:
            parts.append(f"without {done.left_out}")
        parts.append("nothing is redacted" if args.no_redact else f"{done.masked} values redacted")
        print(f"pyctr capture: '{args.output}': {'; '.join(parts)}", file=sys.stderr)
    return 0
