"""`pyctr-tui --replay`: every screen from a recording, by the same readers as of a living host.

    archive ─> Stage: files in a private directory ─> Poller, with the clock of the recording

All moments are gone through once, so that charts begin where the recording does; then its last moment stays.
"""

from __future__ import annotations

import shutil

from pyctr.core.capture import archive
from pyctr.core.capture.answers import RecordedEngine
from pyctr.core.capture.moments import Stage
from pyctr.core.errors import from_oserror
from pyctr.core.thresholds import USUAL, Thresholds
from pyctr.tui import format as f
from pyctr.tui.engine import OURS, Clock, Poller
from pyctr.tui.room import Room
from pyctr.tui.snapshot import Focus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from pyctr.core.capture.moments import Recording
    from pyctr.tui.snapshot import Snapshot

START = 1000.0
"""The monotonic clock at the first moment."""
APART = 1.0
"""Seconds between the two moments that rates of a tab come from, at least."""
_QUICK = ("networks", "machine", "triage")
"""Sources that learn from one look to the next."""


class RecordedClock(Clock):
    """Stands still between two moments."""

    def __init__(self) -> None:
        self.epoch = 0.0
        self.since = START

    def monotonic(self) -> float:
        return self.since

    def time(self) -> float:
        return self.epoch


class RecordedPoller(Poller):
    """Looks at the files of a stage; `show` puts another moment on it."""

    live = False

    def __init__(
        self,
        stage: Stage,
        *,
        recorded: str = "",
        read_only: str = "",
        engines: Collection[str] = (OURS,),
        bounds: Thresholds = USUAL,
    ) -> None:
        self.stage = stage
        self.still = RecordedClock()
        self.recorded = recorded
        self._looked_at = ("", "")
        engine = RecordedEngine(stage)
        super().__init__(
            engine.paths, clock=self.still, read_only=read_only, engine=engine, engines=engines, bounds=bounds
        )

    def abandon(self) -> None:
        shutil.rmtree(self.stage.directory, ignore_errors=True)

    def make_engine(self) -> RecordedEngine:
        return RecordedEngine(self.stage)

    def show(self, number: int) -> Snapshot:
        """Put the host into one of its moments, and look."""
        moments = self.stage.recording.moments
        moment = self.stage.show(number)
        self.still.epoch = moment.time
        self.still.since = START + moment.time - moments[0].time
        return super().collect()

    def prime(self) -> Snapshot:
        """Go through all moments, to the last."""
        focus, self.focus = self.focus, Focus(sources=_QUICK)
        for number in range(len(self.stage.recording.moments)):
            snapshot = self.show(number)
        self.focus = focus
        return snapshot

    def collect(self) -> Snapshot:
        """Of another container or tab than before two moments are looked at: its rates are between them."""
        moments = self.stage.recording.moments
        wanted = (self.focus.selected, self.focus.tab)
        if wanted != self._looked_at and self.focus.tab:
            self._looked_at = wanted
            before = [n for n, moment in enumerate(moments) if moment.time <= moments[-1].time - APART]
            if before:
                self.show(before[-1])
            return self.show(len(moments) - 1)
        return super().collect()


class Replay:
    """A recording that is open. Raises PyctrError for a file that is none."""

    def __init__(self, path: str, engines: Collection[str] = (OURS,), bounds: Thresholds = USUAL) -> None:
        recording = archive.unpack(path)
        try:
            self._room = Room()
        except OSError as error:
            raise from_oserror(error, "making room for the recording", hint="TMPDIR names another place") from None
        try:
            about = f"{_word(recording, 'host')}, {f.stamp(recording.moments[-1].time)[:16]}"
            stage = Stage(self._room.path, recording)
            self.poller = RecordedPoller(
                stage, recorded=about, read_only=f"a recording of {about}", engines=engines, bounds=bounds
            )
        except BaseException:
            self._room.close()
            raise
        try:
            self.poller.prime()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave nothing of it behind."""
        self.poller.stop()
        self._room.close()


def _word(recording: Recording, name: str) -> str:
    return f.cut(f.neutral(str(recording.manifest.get(name) or "?")), 64)
