"""Reading and writing single cgroup files, with errors that name the file and the value."""

from __future__ import annotations

import errno
import os

from pyctr.core import errors


def read(path: str) -> str:
    """The whole text of a cgroup file. Raises OSError with the path."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(fd, 65536)
        if len(text) >= 4096:  # a long list of pids comes in several reads
            parts = [text]
            while part := os.read(fd, 65536):
                parts.append(part)
            text = b"".join(parts)
    finally:
        os.close(fd)
    return text.decode("ascii", "replace")


def read_or(path: str, default: str = "") -> str:
    """`read`, or the default where the file is not there or not readable (ENOTSUP: pressure switched off)."""
    try:
        return read(path)
    except OSError:
        return default


def put(path: str, value: str) -> None:
    """write(2) the value in one call. Raises OSError with the path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def write(path: str, value: str) -> None:
    """`put`, with the domain error that fits what the kernel said."""
    try:
        put(path, value)
    except OSError as error:
        raise refused(error, path, value) from error


def refused(error: OSError, path: str, value: str) -> errors.PyctrError:
    """The domain error for a refused write: which file, which value, and what to try."""
    code = error.errno
    reason = (error.strerror or "").lower()
    text = f"cannot write '{value}' to '{path}': {reason}"
    if code == errno.ENOENT:
        name = os.path.basename(path)
        return errors.Unsupported(
            f"cannot write '{value}' to '{path}': this kernel has no '{name}' here",
            hint="'pyctr doctor' lists the limits this host can enforce",
        )
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return errors.PermissionDenied(text, hint="run as root, on a host whose cgroup file system is writable")
    if code in (errno.EINVAL, errno.ERANGE, errno.EOVERFLOW):
        return errors.UsageError(text, hint="the kernel does not accept this value, or the parent group allows less")
    if code == errno.EBUSY and "memory" in path:
        return errors.Conflict(text, hint="the group uses more memory than that already")
    if code == errno.ENODEV:
        return errors.UsageError(text, hint="there is no such block device")
    return errors.RuntimeFailure(text)
