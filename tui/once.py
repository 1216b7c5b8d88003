"""`pyctr-tui --once`: one look at the host, printed as text, picture, document or table."""

from __future__ import annotations

import sys
import time

from pyctr.core.engines.model import Log
from pyctr.core.errors import UsageError
from pyctr.core.moments import HINT, moment
from pyctr.core.parse import BadValue
from pyctr.tui import details, keymap
from pyctr.tui.snapshot import Focus
from pyctr.tui.sources import WANTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pyctr.tui.engine import Poller
    from pyctr.tui.theming import Theme

APART = 0.5
"""Seconds between the two looks that a rate needs."""


def once(poller: Poller, theme: Theme, arguments: argparse.Namespace, size: tuple[int, int]) -> int:
    """Print it; the exit code is 1 when something could not be read. Raises PyctrError, OSError."""
    for what, name, known in (
        ("tab", arguments.tab, [tab.name for tab in details.TABS]),
        ("screen", arguments.screen, list(keymap.SCREENS)),
    ):
        if name not in known:
            raise UsageError(f"no {what} '{name}'", hint=f"one of {', '.join(known)}")
    screen = arguments.screen = "triage" if arguments.triage else arguments.screen
    around = WANTED.get(screen, ())
    poller.look_at(Focus(sources=around))
    first = poller.collect()
    if arguments.at:
        poller.travel(_moment(arguments.at, poller.clock.time()))
        first = poller.collect()
    elif poller.live and (around or any(row.live for row in first.containers)):
        time.sleep(APART)
    chosen = next((row for row in first.containers if arguments.select in (row.name, row.id)), None)
    if arguments.select and chosen is None:
        raise UsageError(f"no container '{arguments.select}'", hint="pyctr ps -a")
    id, tab = (chosen.id, arguments.tab) if chosen is not None else ("", "")
    poller.look_at(Focus(selected=id, tab=tab, sources=around))
    snapshot = poller.collect()
    if tab in ("processes", "network") and poller.live and not arguments.at and (arguments.json or arguments.csv):
        time.sleep(details.find(tab).every)
        snapshot = poller.collect()
    log = poller.log(id) if id else Log()
    if arguments.json:
        import json

        from pyctr.tui import documents

        found = documents.document(poller.engine, snapshot, screen)
        if tab == "logs":
            found["log"] = [entry._asdict() for entry in documents.log(log)]
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    elif arguments.csv:
        from pyctr.tui import sheets

        sys.stdout.write(sheets.sheet(poller.engine, snapshot, screen, tab, log))
    else:
        from pyctr.tui.picture import picture

        sys.stdout.write(picture(poller, theme, snapshot, size, arguments, id, svg=arguments.svg))
        return 0
    problems = [snapshot.error, snapshot.detail.error if snapshot.detail is not None else ""]
    problems += [scene.error for scene in snapshot.scenes.values()]
    for problem in filter(None, problems):
        print(f"pyctr-tui: {problem}", file=sys.stderr)
    return 1 if any(problems) else 0


def _moment(text: str, now: float) -> float:
    """Seconds since the epoch. Raises UsageError for what is no time, or one to come."""
    try:
        at = moment(text, now)
    except BadValue as error:
        raise UsageError(str(error), hint=error.hint) from None
    if at >= now:
        raise UsageError(f"'{text}' is not in the past", hint=HINT)
    return at
