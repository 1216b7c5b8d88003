"""Verbs on several names: every one is tried, each failure is said, and the exit code remembers them."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.cli.diagnostics import report
from pyctr.core.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def each(
    names: Iterable[str],
    act: Callable[[str], object],
    *,
    echo: bool = True,
    theirs: Callable[[str], object] | None = None,
) -> int:
    """Do `act` for every name and print the name after it, as Docker does; 1 if one failed.

    An `act` that says False did nothing: its name is not printed. `theirs` is for names such as `docker:web`.
    """
    code = 0
    for name in names:
        try:
            # none of ours has a colon in its name
            done = act(name) if theirs is None or ":" not in name else theirs(name)
        except PyctrError as error:
            report(error)
            code = 1
            continue
        if echo and done is not False:
            output.write(name)
    return code
