"""Marks of verbs in flight: whoever comes next finds what a killed pyctr left half-done without looking everywhere.

`<root>/pending/<id>` exists while a container is being created, started or removed. Normally the directory is empty.
"""

from __future__ import annotations

import os

from pyctr.core import fsutil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.paths import Paths


def mark(paths: Paths, id: str) -> None:
    path = f"{paths.pending}/{id}"
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass  # marked by a verb that did not finish
    except FileNotFoundError:
        fsutil.make_private_directory(path)


def unmark(paths: Paths, id: str) -> None:
    try:
        os.rmdir(f"{paths.pending}/{id}")
    except FileNotFoundError:
        pass  # another verb on the same container finished first


def ids(paths: Paths) -> list[str]:
    try:
        return os.listdir(paths.pending)
    except FileNotFoundError:
        return []
