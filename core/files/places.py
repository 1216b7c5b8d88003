"""A path in a tree, taken apart into an open directory and the last component's name."""

from __future__ import annotations

import errno
import os

from pyctr.core.linux.inroot import open_in

_MAX_LINKS = 40


def locate(root: int, path: str, *, follow: bool) -> tuple[int, str]:
    """(readable descriptor of the directory, name in it), whether there is something of that name or not.

    With `follow` a link of that name is followed inside the tree to what it means, be it there or not. A path that
    ends in the root, `.` or `..` has the name ".". Raises OSError: FileNotFoundError when the directory is missing.
    """
    for _ in range(_MAX_LINKS):
        above, _, name = path.rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            return open_in(root, path or "/", os.O_RDONLY | os.O_DIRECTORY), "."
        parent = open_in(root, above, os.O_RDONLY | os.O_DIRECTORY)
        if not follow:
            return parent, name
        try:
            target = os.readlink(name, dir_fd=parent)
        except OSError:
            return parent, name  # no link, or nothing
        os.close(parent)
        path = target if target.startswith("/") else f"{above}/{target}"
    raise OSError(errno.ELOOP, "open: too many symbolic links", path)
