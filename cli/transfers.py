"""What pull and push share on the command line: the flags about registries, and progress on stderr.

On a terminal there is a line per layer, drawn anew where it stands; elsewhere a plain line for what happened.
"""

from __future__ import annotations

import os
import sys
import time

from pyctr.cli import output
from pyctr.cli.diagnostics import safe
from pyctr.core.images.access import Access
from pyctr.core.images.progress import DONE, DOWNLOADING, EXISTS, MOUNTED, NOTE, UNPACKING, UPLOADING, WAITING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.core.images.progress import Progress

_INTERVAL = 0.1
_BAR = 24
_WORDS = {
    WAITING: "Waiting",
    EXISTS: "Already exists",
    DOWNLOADING: "Downloading",
    UNPACKING: "Extracting",
    UPLOADING: "Pushing",
    MOUNTED: "Mounted from another repository",
}


def declare(parser: Declares) -> None:
    """The flags about registries, named as podman and skopeo name them."""
    add = parser.add_argument
    add("--authfile", metavar="FILE", default="", help="the only file with credentials to look at")
    add("--creds", metavar="USER:PASSWORD", default="", help="credentials for this once")
    add("--cert-dir", metavar="DIR", default="", help="authorities (*.crt) and client certificates (*.cert, *.key)")
    add("--tls-verify", action="store_true", default="", help="ask for valid certificates (=false does not)")


def access(args: Arguments) -> Access:
    """What those flags say."""
    return Access(
        authfile=args.authfile,
        creds=args.creds,
        cert_dir=args.cert_dir,
        tls_verify=args.tls_verify if isinstance(args.tls_verify, bool) else None,
    )


class Display:
    """Takes `Progress`, writes to stderr. A context manager: at the end the lines stand still."""

    def __init__(self, *, quiet: bool = False, past: str = "Pull complete", stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.past = past
        self.live = not quiet and self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.layers: dict[str, Progress] = {}
        self._drawn = 0
        self._next = 0.0

    def __call__(self, event: Progress) -> None:
        if self.quiet:
            return
        if event.what == NOTE:
            self._note(event.text)
            return
        before = self.layers.get(event.digest)
        if before is not None and before.what == DONE:
            return
        self.layers[event.digest] = event
        if not self.live:
            if before is None or before.what != event.what:
                self._plain(event)
            return
        if time.monotonic() >= self._next:
            self._draw()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        if self.live and self.layers:
            self._draw()

    def _plain(self, event: Progress) -> None:
        if event.what != WAITING:
            size = f" {output.decimal_size(event.total)}" if event.what in (DOWNLOADING, UPLOADING) else ""
            self.stream.write(f"{output.short_digest(event.digest)}: {self._words(event)}{size}\n")
            self.stream.flush()

    def _note(self, text: str) -> None:
        if self.live and self._drawn:
            self.stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0
        self.stream.write(safe(text) + "\n")
        self.stream.flush()
        if self.live and self.layers:
            self._draw()

    def _draw(self) -> None:
        self._next = time.monotonic() + _INTERVAL
        width, height = _window(self.stream)
        events = list(self.layers.values())
        if len(events) > height - 2:  # what moves is worth its line
            events = [event for event in events if event.what not in (DONE, EXISTS)][: height - 2]
        lines = [self._line(event)[: width - 1] for event in events]
        move = f"\x1b[{self._drawn}A" if self._drawn else ""
        self.stream.write(move + "\x1b[J" + "".join(line + "\n" for line in lines))
        self.stream.flush()
        self._drawn = len(lines)

    def _line(self, event: Progress) -> str:
        head = f"{output.short_digest(event.digest)}: {self._words(event)}"
        if event.what not in (DOWNLOADING, UPLOADING) or not event.total:
            return head
        full = min(_BAR, _BAR * event.done // event.total)
        bar = "=" * full + ">" * (full < _BAR) + " " * (_BAR - full - 1)
        return f"{head} [{bar}] {output.decimal_size(event.done)}/{output.decimal_size(event.total)}"

    def _words(self, event: Progress) -> str:
        return self.past if event.what == DONE else _WORDS.get(event.what, event.what)


def _window(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return size.columns or 80, size.lines or 24
