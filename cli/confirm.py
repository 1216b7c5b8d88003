"""The question before something is lost for good."""

from __future__ import annotations

import sys


def confirm(warning: str, force: bool) -> bool:
    """Ask on stderr; anything but y is no. Without a terminal to ask on the answer is no, unless forced."""
    if force:
        return True
    sys.stderr.write(f"{warning} Go on? [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer:
        sys.stderr.write("\n  hint: --force does not ask\n")
    return answer.strip().lower() in ("y", "yes")
