"""`pyctr doctor`."""

from __future__ import annotations

import sys

from pyctr.cli import output
from pyctr.cli.diagnostics import safe
from pyctr.core import doctor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

_GLYPHS = {doctor.GOOD: "✓", doctor.WARNING: "!", doctor.BAD: "✗"}
_ASCII = {doctor.GOOD: "+", doctor.WARNING: "!", doctor.BAD: "x"}


def configure(parser: Declares) -> None:
    parser.add_argument("--format", metavar="FORMAT", help="json or a template such as '{{.Topic}} {{.Level}}'")


def run(call: Call, args: Arguments) -> int:
    findings = doctor.examine(call.engine)
    if args.format:
        rows = [{key.capitalize(): value for key, value in finding.to_dict().items()} for finding in findings]
        output.listing(rows, [("Topic", "TOPIC"), ("Level", "LEVEL"), ("Text", "TEXT"), ("Hint", "HINT")], args.format)
    else:
        glyphs = _GLYPHS if "utf" in (sys.stdout.encoding or "").lower() else _ASCII
        width = max(len(finding.topic) for finding in findings)
        for finding in findings:
            output.write(f"{glyphs[finding.level]} {finding.topic:<{width}}  {safe(finding.text)}")
            if finding.hint:
                output.write(f"  {'':<{width}}  hint: {safe(finding.hint)}")
    return 1 if doctor.worst(findings) == doctor.BAD else 0
