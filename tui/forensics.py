"""A container's deaths as a page, read in a thread of its own: a sick disk may hang the page, never the screen."""

from __future__ import annotations

import threading

from pyctr.core import errors
from pyctr.core.engine import Engine
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.paths import Paths
    from pyctr.tui.format import Line


def read(paths: Paths, id: str, told: Callable[[list[Line], str], object]) -> None:
    """`told(lines, about)` is called in the thread when they are read."""

    def work() -> None:
        from pyctr.core import deaths

        try:
            found = deaths.find(Engine(paths), id)
            told(lines(found), f"{len(found)} on record" if found else "")
        except errors.NotFound:
            told(lines([]), "")
        except (errors.PyctrError, OSError) as problem:
            told([((f.reason(problem), "bad"),)], "")

    threading.Thread(target=work, name="forensics", daemon=True).start()


def lines(found: list[dict[str, Any]]) -> list[Line]:
    """The newest first."""
    from pyctr.core import deathtext

    if not found:
        return [
            (("no death is on record", "strong"),),
            (("it runs, it ended well, or somebody stopped it", "muted"),),
        ]
    page: list[Line] = []
    for document in found:
        if page:
            page += [(), ()]
        first, *rest = deathtext.lines(document)
        page.append(((f.neutral(first), "bad.strong"),))
        for line in rest:
            heading = line and not line.startswith(" ")
            page.append(((f.neutral(line), "heading" if heading else "text"),))
    return page
