"""What goes wrong: one line to stderr, and one to --log in the format that the caller reads.

conmon shows podman our stderr; containerd takes the last "error" of the JSON log, podman parses the whole log as one
document: so a failure is a single entry, without the warnings that came before it.
"""

from __future__ import annotations

import os
import sys
import time

from pyctr.core import errors, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.runtime import Call

PROG = "pyctr-runtime"


def error(call: Call, failure: Exception) -> None:
    message, hint = _words(call, failure)
    message = _line(message)
    _write(call, "error", message)
    from pyctr.cli.diagnostics import safe

    # an image says what its command is called, and a terminal may be what shows it
    print(f"{PROG}: {safe(message)}", file=sys.stderr)
    # a second line is for people: callers take all of stderr for the reason
    if hint and os.isatty(2):
        print(f"  hint: {safe(hint)}", file=sys.stderr)


_LONGEST = 1000


def _line(message: str) -> str:
    """One line that can be read; of a value as long as a bundle may have it, the beginning and the end."""
    line = " ".join(message.split())
    if len(line) <= _LONGEST:
        return line
    return f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"


def warnings(call: Call) -> None:
    for text in map(_line, call.warnings):
        if call.log:
            _write(call, "warning", text)
        else:
            from pyctr.cli.diagnostics import safe

            print(f"{PROG}: warning: {safe(text)}", file=sys.stderr)


def _words(call: Call, failure: Exception) -> tuple[str, str]:
    if isinstance(failure, errors.PyctrError):
        return failure.message, failure.hint
    if isinstance(failure, OSError):
        text = (failure.strerror or str(failure)).lower()
        return f"{call.verb or 'runtime'}: {text}" + (f" '{failure.filename}'" if failure.filename else ""), ""
    return f"{call.verb}: {type(failure).__name__}: {failure}", "this is a bug in pyctr; PYCTR_DEBUG=1 shows where"


def _write(call: Call, level: str, message: str) -> None:
    if not call.log:
        return
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if call.log_format == "json":
        line = jsontext.dumps({"level": level, "msg": message, "time": stamp})
    else:
        line = f'time="{stamp}" level={level} msg={jsontext.dumps(message)}'
    try:
        fd = os.open(call.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return  # stderr has it
    try:
        os.write(fd, line.encode() + b"\n")
    finally:
        os.close(fd)
