"""The `pyctr` command."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is its result."""
    import sys

    from pyctr import __version__

    words = list(sys.argv[1:] if argv is None else argv)
    if words in (["version"], ["--version"]):
        print(f"pyctr version {__version__}")
        return 0
    print("pyctr: no such command", file=sys.stderr)
    return 125
