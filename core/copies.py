"""`pyctr cp`: files between the host, containers and tar streams.

The destination rules are Docker's (docs, "docker container cp"): a missing destination gets the source's contents, a
directory gets the source inside, unless the source ends with `/.`; its parent has to be there. Both ends are trees that
are entered by descriptor: whatever links a container exchanges meanwhile, no step leaves its tree (CVE-2018-15664).
"""

from __future__ import annotations

import os
import stat

from pyctr.core import errors
from pyctr.core.files import archives, walking, writing
from pyctr.core.files.extract import Extractor
from pyctr.core.files.places import locate
from pyctr.core.files.treecopy import Copier
from pyctr.core.linux.inroot import open_in
from pyctr.core.rootview import RootView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.containers import Container


_DEEPEST = 4096
"""Directories above each other in PATH_MAX, and more."""


class End:
    """One side of a copy: a path of the host, or of a container. A context manager."""

    def __init__(self, path: str, container: Container | None = None) -> None:
        self.asked = path
        self.container = container
        self.what = f"container '{container.name}'" if container else "the host"
        self._view: RootView | None = None
        self.root = -1
        # only the host has a working directory here; a trailing slash or dot says something and stays
        self.path = path if container or path.startswith("/") else f"{os.getcwd()}/{path}"

    def __enter__(self) -> End:
        if self.container is not None:
            self._view = RootView.of(self.container)
            self.root = self._view.root
        else:
            self.root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        if self._view is not None:
            self._view.close()
        elif self.root >= 0:
            os.close(self.root)
        self.root = -1

    @property
    def slash(self) -> bool:
        return self.asked.endswith("/")

    @property
    def contents(self) -> bool:
        """Does it mean what is in a directory, rather than the directory?"""
        return self.path.rstrip("/").rpartition("/")[2] in ("", ".", "..")

    def failed(self, error: OSError, doing: str) -> errors.PyctrError:
        """An error met in this tree."""
        import errno

        if error.errno == errno.EROFS:
            return errors.PermissionDenied(
                f"{doing}: '{self.asked}' in {self.what} is on a read-only file system", hint="copy to another place"
            )
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return errors.NotFound(f"{doing}: no '{self.asked}' in {self.what}")
        return errors.from_oserror(error, f"{doing} '{self.asked}'", hint="" if error.errno == errno.EPERM else " ")


class Found:
    """The source, found: the directory it is in (open), its name there, what it is, and how its copy is called."""

    def __init__(self, end: End, follow: bool) -> None:
        """Raises NotFound."""
        try:
            self.parent, self.name = locate(end.root, end.path, follow=follow or end.slash)
        except OSError as error:
            raise end.failed(error, "copying") from error
        try:
            self.found = os.stat(self.name, dir_fd=self.parent, follow_symlinks=False)
        except OSError as error:
            os.close(self.parent)
            raise end.failed(error, "copying") from error
        self.is_directory = stat.S_ISDIR(self.found.st_mode)
        if end.slash and not self.is_directory:
            os.close(self.parent)
            raise errors.UsageError(f"'{end.asked}' in {end.what} is no directory", hint="leave the '/' out")
        # a link that was followed still gives the copy its name
        self.called = "." if end.contents else end.path.rstrip("/").rpartition("/")[2]
        self.contents = end.contents

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.parent)


def copy(source: End, target: End, *, archive: bool = False, follow: bool = False) -> int:
    """Copy a file or directory; returns bytes of files.

    Owners become root's in a container and the caller's on the host, unless `archive` keeps them. `follow`: a link
    that is the source is followed. Raises NotFound, UsageError, PermissionDenied, PyctrError.
    """
    owner = None if archive else (0, 0) if target.container else (os.geteuid(), os.getegid())
    with source, target, Found(source, follow) as found:
        parent, name = _destination(found, target)
        try:
            if _inside(found, parent):
                raise errors.UsageError(f"'{source.asked}' cannot be copied into itself")
            with Copier(owner, keep_top=False) as copier:
                copier.copy(walking.walk(found.parent, found.name), parent, name, merged=name == "")
                return copier.size
        except OSError as error:
            raise target.failed(error, "copying to") from error
        except errors.PyctrError as error:
            raise _readonly(error, target) from error
        finally:
            os.close(parent)


def read(source: End, write: Callable[[bytes], object], *, follow: bool = False) -> None:
    """Write a tar archive of a file or directory, its name as the first component. Raises NotFound, PyctrError."""
    from pyctr.core.images.tarwriter import TarWriter

    with source, Found(source, follow) as found:
        tar = TarWriter(write)
        tar.walked(walking.walk(found.parent, found.name), found.called)
        tar.finish()


def extract(stream: archives.Readable, target: End, *, archive: bool = False) -> int:
    """Unpack a tar archive, compressed or not, into a directory that is there; returns how many members it had.

    Owners are the archive's; with `archive` too, since that is where they are kept. Raises NotFound, StorageError.
    """
    with target:
        try:
            os.close(open_in(target.root, target.path, os.O_PATH | os.O_DIRECTORY))
            extractor = Extractor(target.root, target.path, strict=True)
        except NotADirectoryError:
            raise errors.UsageError(
                f"'{target.asked}' in {target.what} is no directory", hint="an archive needs one"
            ) from None
        except OSError as error:
            raise target.failed(error, "unpacking to") from error
        extractor.extract(archives.plain(stream))
        return extractor.count


def _inside(found: Found, parent: int) -> bool:
    """Would a directory be copied into itself, which never ends?"""
    at = os.dup(parent)
    try:
        for _ in range(_DEEPEST if found.is_directory else 0):
            here = os.fstat(at)
            if (here.st_dev, here.st_ino) == (found.found.st_dev, found.found.st_ino):
                return True
            above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = above
            up = os.fstat(at)
            if (up.st_dev, up.st_ino) == (here.st_dev, here.st_ino):
                break  # the root
    finally:
        os.close(at)
    return False


def _destination(found: Found, target: End) -> tuple[int, str]:
    """(open directory, name in it; "" for that directory itself)."""
    try:
        parent, name = locate(target.root, target.path, follow=True)
    except OSError as error:
        raise target.failed(error, "copying to") from error
    try:
        there = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        if target.slash and not found.is_directory:
            os.close(parent)
            raise errors.NotFound(
                f"copying to: no directory '{target.asked}' in {target.what}",
                hint="leave the '/' out, or make it first",
            ) from None
        return parent, name
    if not stat.S_ISDIR(there.st_mode):
        problem = ""
        if target.slash:
            problem = f"'{target.asked}' in {target.what} is no directory"
        elif found.is_directory:
            problem = f"a directory cannot take the place of the file '{target.asked}' in {target.what}"
        if problem:
            os.close(parent)
            raise errors.UsageError(problem)
        return parent, name
    try:
        directory = os.open(name, writing.OPEN_DIRECTORY, dir_fd=parent)
    except OSError as error:
        raise target.failed(error, "copying to") from error
    finally:
        os.close(parent)
    if found.is_directory and found.contents:
        return directory, ""
    return directory, found.called


def _readonly(error: errors.PyctrError, target: End) -> errors.PyctrError:
    cause = error.__cause__
    return target.failed(cause, "copying to") if isinstance(cause, OSError) and cause.errno == 30 else error
