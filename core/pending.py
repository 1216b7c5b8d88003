"""Marks of verbs in flight: whoever comes next finds what a killed pyctr left half-done without looking everywhere.

`<root>/pending/<id>` exists, and is locked, while a container is created, started or removed. A mark that nobody has
locked is a killed pyctr's. Normally the directory is empty. Who needs both takes the container's lock first.
"""

from __future__ import annotations

import os

from pyctr.core import fsutil
from pyctr.core.fsutil import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from pyctr.core.paths import Paths


class Mark:
    """One verb's mark, as a context manager. It goes when the verb is through or was undone; a kill leaves it."""

    def __init__(self, paths: Paths, id: str) -> None:
        self._lock = Lock(f"{paths.pending}/{id}")
        self._kept = False

    def __enter__(self) -> Mark:
        try:
            self._lock.__enter__()
        except FileNotFoundError:
            fsutil.make_private_directory(os.path.dirname(self._lock.path))
            self._lock.__enter__()
        return self

    def take_over(self) -> bool:
        """Take a killed pyctr's mark; False when its maker is alive and at work."""
        try:
            return self._lock.try_acquire()
        except FileNotFoundError:
            return True  # no such directory, no marks

    def keep(self) -> None:
        """Something could not be undone: the mark outlives the verb, and whoever comes next tries again."""
        self._kept = True

    def let_go(self) -> None:
        """Leave it to others, as if we had been killed."""
        self._lock.release()

    def done(self) -> None:
        """Nothing is left to finish."""
        try:
            os.unlink(self._lock.path)
        except FileNotFoundError:
            pass  # made by nobody
        self._lock.release()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kept:
            self.let_go()
        else:
            self.done()


def forget(paths: Paths, id: str) -> None:
    """Remove a killed pyctr's mark. The caller holds the container's lock, so nobody is at work on it."""
    try:
        os.unlink(f"{paths.pending}/{id}")
    except FileNotFoundError:
        pass  # there was none


def ids(paths: Paths) -> list[str]:
    """Containers that a verb is, or was, at work on."""
    try:
        return os.listdir(paths.pending)
    except FileNotFoundError:
        return []
