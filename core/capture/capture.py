"""`pyctr capture`: the whole host as it is for some seconds, in one file of bounded size."""

from __future__ import annotations

import json
import os
import time
from typing import NamedTuple

from pyctr import __version__
from pyctr.core.capture import answers, archive, strangers
from pyctr.core.capture.collect import Collector
from pyctr.core.capture.moments import ANSWERS, NAMES, ROOTS, Moment, Recording, difference
from pyctr.core.capture.redact import Redactor
from pyctr.core.errors import UsageError, from_oserror
from pyctr.core.fsutil import sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.engine import Engine

    Tell = Callable[[str], object]

STEP = 1.0
"""Seconds between two readings."""
TAIL = 1 << 20
"""Bytes of each log and of the journal at most; halved until everything fits."""
LEAST = 1 << 12
"""Below so many bytes tails are left out before any further reading is."""


class Wishes(NamedTuple):
    """What a user may choose."""

    seconds: float = 5.0
    size: int = 32 << 20
    """Bytes of the file at most."""
    redact: bool = True


class Written(NamedTuple):
    """What became of it."""

    size: int
    moments: int
    left_out: str
    """What did not fit; empty when everything did."""
    masked: int


def capture(engine: Engine, path: str, wishes: Wishes, tell: Tell = lambda text: None) -> Written:
    """Read the host for so many seconds and write the file: whole, mode 0600, or not at all.

    Raises UsageError when not even the least fits, PyctrError.
    """
    try:
        output = _Output(path)
    except OSError as error:
        raise from_oserror(error, f"writing '{path}'", hint="is the directory there?") from None
    with output:
        redactor = Redactor(off=not wishes.redact)
        collector = Collector(engine, redactor)
        tell("what must not be packed")
        collector.look_around()
        collector.learn()
        readings = _read(collector, wishes.seconds, tell)
        asked = answers.collect(engine, tell, collector.strangers)
        asked["strangers"] = strangers.to_document(collector.strangers)
        if wishes.redact:
            asked = redactor.document(asked)
        answered = json.dumps(asked, separators=(",", ":")).encode()
        for _, files in readings:
            files[ANSWERS] = answered
        about: dict[str, Any] = {
            "made_by": f"pyctr {__version__}",
            "host": os.uname().nodename,
            "kernel": os.uname().release,
            "cgroups": engine.layout.mode,
            "began": readings[0][0],
            "ended": readings[-1][0],
            "redacted": wishes.redact,
            **{field: getattr(engine.paths, field) for field in (*NAMES, *ROOTS)},
        }
        return _fit(output, collector, readings, about, wishes, redactor, tell)


def _read(collector: Collector, seconds: float, tell: Tell) -> list[tuple[float, dict[str, bytes]]]:
    """(seconds since the epoch, all that changes) again and again; the first has also what hardly does."""
    first, began = time.time(), time.monotonic()
    readings: list[tuple[float, dict[str, bytes]]] = []
    number = 0
    while True:
        # the clock may be set meanwhile: a recording's never goes back
        passed = time.monotonic() - began
        tell(f"readings, {passed:.0f} of {seconds:.0f} s")
        readings.append((first + passed, collector.moment()))
        if not number:
            readings[0][1].update(rest := collector.rest())
        else:
            readings[-1][1].update(rest)
        number += 1
        wait = began + min(number * STEP, seconds) - time.monotonic()
        if passed >= seconds:
            return readings
        time.sleep(max(0.0, wait))


def _fit(
    output: _Output,
    collector: Collector,
    readings: list[tuple[float, dict[str, bytes]]],
    about: dict[str, Any],
    wishes: Wishes,
    redactor: Redactor,
    tell: Tell,
) -> Written:
    """Write with ever shorter tails, then fewer readings, until it is small enough."""
    tail, left_out = TAIL, ""
    while True:
        ends = collector.tails(tail) if tail else {}
        moments: list[Moment] = []
        before: dict[str, bytes] = {}
        for at, files in readings:
            # whatever moment a tab is first looked at in, it is all there
            now = {**files, **ends}
            moments.append(difference(at, before, now))
            before = now
        tell(f"packing{f', {left_out}' if left_out else ''}")
        plain = sum(len(content) + len(name) for moment in moments for name, content in moment.changed.items())
        recording = Recording({**about, "left_out": left_out, "masked": redactor.masked}, tuple(moments))
        if plain < archive.PLAIN and output.write(recording, wishes.size):
            size = output.keep()
            return Written(size, len(moments), left_out, redactor.masked)
        if tail > LEAST:
            tail //= 4
            left_out = f"logs beyond their last {tail >> 10} KiB"
        elif len(readings) > 2:
            readings = [readings[0], *readings[1:-1:2][1:], readings[-1]] if len(readings) > 3 else readings[::2]
            left_out = f"all but {len(readings)} readings, logs beyond their last {tail >> 10} KiB"
        elif tail:
            tail, left_out = 0, f"all but {len(readings)} readings, all logs and events"
        else:
            raise UsageError(
                f"this host does not fit into {wishes.size} bytes", hint="--max-size 64m, or fewer containers"
            )


class _Output:
    """A file that nobody sees before it is whole, and that a killed writer leaves nothing of where the filesystem can.

    O_TMPFILE has no name until linkat(2) gives it one; elsewhere (NFS, overlay of old) a hidden name does.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._directory = os.path.dirname(path) or "."
        self._temporary = f"{self._directory}/.{os.path.basename(path)}.{os.getpid()}.tmp"
        self._named = False
        if os.path.isdir(path) or not os.path.basename(path):
            raise IsADirectoryError(21, "is a directory", path)
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            self._fd = os.open(self._directory, flags | os.O_TMPFILE, 0o600)
        except OSError as error:
            if isinstance(error, (FileNotFoundError, PermissionError, NotADirectoryError)):
                raise
            self._fd = os.open(self._temporary, flags | os.O_CREAT | os.O_EXCL, 0o600)
            self._named = True

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *failure: object) -> None:
        os.close(self._fd)
        if self._named:
            try:
                os.unlink(self._temporary)
            except FileNotFoundError:
                pass  # it has its own name now

    def write(self, recording: Recording, limit: int) -> bool:
        """False when it is more than `limit` bytes; then nothing of it counts."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.ftruncate(self._fd, 0)
        room = limit

        def write(content: bytes) -> None:
            nonlocal room
            room -= len(content)
            if room < 0:
                raise _TooLarge
            view = memoryview(content)
            while view:
                view = view[os.write(self._fd, view) :]

        try:
            archive.pack(recording, write)
        except _TooLarge:
            return False
        except OSError as error:
            raise from_oserror(error, f"writing '{self.path}'") from None
        return True

    def keep(self) -> int:
        """Give it its name; its size in bytes."""
        try:
            os.fsync(self._fd)
            if not self._named:
                directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    # only with a descriptor of the directory does Python call linkat(2), which can follow
                    os.link(f"/proc/self/fd/{self._fd}", os.path.basename(self._temporary), dst_dir_fd=directory)
                finally:
                    os.close(directory)
                self._named = True
            os.rename(self._temporary, self.path)
            sync_directory(self._directory)
        except OSError as error:
            raise from_oserror(error, f"writing '{self.path}'") from None
        return os.fstat(self._fd).st_size


class _TooLarge(Exception):
    """It does not fit."""
