"""What is said on stderr, and the exit code that goes with it. stdout is data and is `output`'s."""

from __future__ import annotations

import sys

from pyctr.core.errors import PyctrError

INTERRUPTED = 130
"""128 + SIGINT, as a shell says it."""
BROKEN_PIPE = 141
"""128 + SIGPIPE: the reader of our stdout went away."""


def safe(text: str) -> str:
    """Text of unknown origin with everything that a terminal could act on made visible (`\\x1b`)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def say(text: str) -> None:
    """One line of talk."""
    print(text, file=sys.stderr)


def warn(text: str) -> None:
    say(f"pyctr: warning: {safe(text)}")


def report(error: BaseException) -> int:
    """Print an error as `pyctr: MESSAGE` and `  hint: HINT`; the exit code is its result."""
    if not isinstance(error, PyctrError):
        error = _domain(error)
    say(f"pyctr: {safe(error.message)}")
    if error.hint:
        say(f"  hint: {safe(error.hint)}")
    return error.exit_code


def _domain(error: BaseException) -> PyctrError:
    if isinstance(error, OSError):
        from pyctr.core.errors import from_oserror

        return from_oserror(error, "the system refused")
    if isinstance(error, ValueError):
        return PyctrError(str(error))
    return PyctrError(
        f"{type(error).__name__}: {error}", hint="this is a defect of pyctr; PYCTR_DEBUG=1 shows where it happened"
    )
