"""Every error a user can meet, in one tree.

    PyctrError                  1    something pyctr was asked for did not happen
    ├── UsageError              125  the request itself makes no sense (flag, value, combination)
    ├── NotFound                1    no such container, image, network, volume
    │   └── ImageNotFound
    ├── Ambiguous               1    an id prefix that fits several
    ├── Conflict                1    a name, address or port that somebody else has
    ├── IllegalTransition       1    the container is in a state that forbids the verb
    ├── BuildFailure            1    an instruction of a Dockerfile is wrong or failed
    ├── PermissionDenied        126  a privilege is missing
    ├── Unsupported             125  this kernel or host cannot do it
    ├── RuntimeFailure          125  the kernel refused a step of a start
    │   ├── CannotInvoke        126  the command is there but cannot be executed
    │   └── CommandNotFound     127  the command is not there
    ├── StorageError            125  disk full, broken layer, unreadable archive
    └── NetworkError            125  no address, no bridge, no rule

`pyctr run` says 125 instead of 1, as `docker run` does: 1 may be the container's own.

Messages are lower case without a full stop and quote the value; `hint` says what to try.
The kernel floor raises `OSError` with the syscall and the path; whoever knows what the user
wanted turns it into one of these, once.
"""

from __future__ import annotations


class PyctrError(Exception):
    """Base of all. `exit_code` is what a command returns; `hint` is one line or empty."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(PyctrError):
    exit_code = 125


class NotFound(PyctrError):
    pass


class ImageNotFound(NotFound):
    pass


class Ambiguous(PyctrError):
    pass


class Conflict(PyctrError):
    pass


class IllegalTransition(PyctrError):
    pass


class BuildFailure(PyctrError):
    """The message begins with FILE:LINE; `tail` holds the last lines of output, without their line ends."""

    def __init__(self, message: str, *, hint: str = "", line: int = 0, tail: list[str] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.line = line
        self.tail = tail or []


class PermissionDenied(PyctrError):
    exit_code = 126


class Unsupported(PyctrError):
    exit_code = 125


class RuntimeFailure(PyctrError):
    exit_code = 125


class CannotInvoke(RuntimeFailure):
    exit_code = 126


class CommandNotFound(RuntimeFailure):
    exit_code = 127


class StorageError(PyctrError):
    exit_code = 125


class NetworkError(PyctrError):
    exit_code = 125


_HINTS = {
    "EMFILE": "this process may not open more files: 'ulimit -n' says how many",
    "ENFILE": "the host has no room for more open files: 'sysctl fs.file-max'",
    "ENOMEM": "the host is out of memory",
    "EROFS": "choose a place that can be written with --root and --runroot",
    "ENAMETOOLONG": "a shorter name, or a shorter --root",
    "ENOTDIR": "a part of that path is not a directory",
    "ENOENT": "a part of that path is not there",
    "ELOOP": "too many symbolic links in that path",
    "EIO": "the disk or what is behind it does not answer: 'dmesg' may say more",
}
"""errno's name -> hint."""


def from_oserror(error: OSError, doing: str, *, hint: str = "") -> PyctrError:
    """The domain error for an `OSError` met while `doing` something ("writing 'state.json'").

    EPERM and EACCES become PermissionDenied, ENOSPC and EDQUOT StorageError, the rest PyctrError.
    """
    import errno

    text = f"{doing}: {(error.strerror or str(error)).lower()}"
    if error.filename:
        text += f" '{error.filename}'"
    if error.errno in (errno.EPERM, errno.EACCES):
        return PermissionDenied(text, hint=hint or "run as root")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(text, hint=hint or "free some space, 'pyctr system df' shows where it went")
    return PyctrError(text, hint=hint or hint_of(error))


def hint_of(error: OSError) -> str:
    """What to try against an error that means the same wherever it is met, or ""."""
    import errno

    return _HINTS.get(errno.errorcode.get(error.errno or 0, ""), "")
