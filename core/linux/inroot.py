"""Paths inside a rootfs, resolved by the kernel so that no symlink in it leads out (openat2(2), RESOLVE_IN_ROOT).

`root` is always a descriptor of the rootfs directory. Absolute links and `..` mean that root, as after a chroot.
"""

from __future__ import annotations

import errno
import os

from pyctr.core.linux import const
from pyctr.core.linux.mount import openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_LINKS = 40
"""As many symlinks as the kernel follows in one lookup (path_resolution(7))."""


def open_in(root: int, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """A close-on-exec descriptor of a path in the rootfs. Magic links of a procfs below it are refused (ELOOP)."""
    # the kernel refuses an empty path; the root itself is meant
    return openat2(root, path.lstrip("/") or ".", flags, mode, const.RESOLVE_IN_ROOT | const.RESOLVE_NO_MAGICLINKS)


def make_directories(root: int, path: str, mode: int = 0o755, made: Callable[[int], None] | None = None) -> int:
    """mkdir -p in the rootfs: an O_PATH descriptor of the directory, each missing part made with `mode`.

    `made` is called with an O_PATH descriptor of each of those.

    A symlink to nothing (/var/run -> /run in an image without /run) gets its target made. Raises
    NotADirectoryError when a file is in the way.
    """
    pending = [part for part in path.split("/") if part not in ("", ".")]
    pending.reverse()
    done = "."
    links = 0
    current = open_in(root, done, os.O_PATH | os.O_DIRECTORY)
    try:
        while pending:
            part = pending.pop()
            # always from the root again: `..` and links of the part must be clamped there, not at `current`
            reached = f"{done}/{part}"
            try:
                step = open_in(root, reached, os.O_PATH | os.O_DIRECTORY)
            except FileNotFoundError:
                try:
                    os.mkdir(part, mode, dir_fd=current)
                except FileExistsError:
                    # made by somebody else meanwhile, or a dangling link: only that has a target
                    try:
                        target = os.readlink(part, dir_fd=current)
                    except OSError:
                        pending.append(part)
                        continue
                    finally:
                        links += 1
                        if links > _MAX_LINKS:
                            raise OSError(errno.ELOOP, "mkdir: too many symbolic links", path) from None
                    if target.startswith("/"):
                        done = "."
                        os.close(current)
                        current = -1
                        current = open_in(root, done, os.O_PATH | os.O_DIRECTORY)
                    pending += reversed([piece for piece in target.split("/") if piece not in ("", ".")])
                    continue
                step = open_in(root, reached, os.O_PATH | os.O_DIRECTORY)
                if made is not None:
                    made(step)
            os.close(current)
            current, done = step, reached
        result, current = current, -1
        return result
    finally:
        if current >= 0:
            os.close(current)


def make_file(root: int, path: str, mode: int = 0o644) -> int:
    """An O_PATH descriptor of a file in the rootfs, made empty (with its directories) if nothing is there.

    What is there already stays as it is, whatever its type: it is a mount target. A dangling link's target is made.
    """
    for _ in range(_MAX_LINKS):
        try:
            return open_in(root, path)
        except FileNotFoundError:
            pass
        directory, _, name = path.rstrip("/").rpartition("/")
        parent = make_directories(root, directory)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, mode, dir_fd=parent))
            return openat2(parent, name, os.O_PATH | os.O_NOFOLLOW)
        except FileExistsError:
            try:
                target = os.readlink(name, dir_fd=parent)
            except OSError:
                continue  # no link: made by somebody else meanwhile
            path = target if target.startswith("/") else f"{directory}/{target}"
        finally:
            os.close(parent)
    raise OSError(errno.ELOOP, "open: too many symbolic links", path)
