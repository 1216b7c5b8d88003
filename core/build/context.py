"""Where COPY and ADD take files from: a directory of the host, an archive, or the rootfs of a stage or an image.

    with Context.directory("/src", ignore) as context: ...
    with Context.archive(sys.stdin.buffer, scratch) as context: ...
    with Context.rootfs(fd) as context: ...

Everything is reached by descriptor with openat2(2) RESOLVE_IN_ROOT: a link in a context means a place in that context,
and `..` ends at its root.
"""

from __future__ import annotations

import os
import stat

from pyctr.core.build.ignore import Ignore, is_pattern, translate, unescape
from pyctr.core.errors import NotFound, UsageError, from_oserror
from pyctr.core.files.places import locate
from pyctr.core.files.walking import Entry, walk
from pyctr.core.linux.inroot import open_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from pyctr.core.files.archives import Readable

_BOUND = 16 << 20


class Source:
    """What one word of COPY means: an open directory, a name in it, where that is in the context, what it is."""

    __slots__ = ("found", "name", "parent", "path", "word")

    def __init__(self, parent: int, name: str, path: str, found: os.stat_result, word: str) -> None:
        self.parent = parent
        self.name = name
        self.path = path
        """Relative to the context's root; "" for the root itself."""
        self.found = found
        self.word = word
        """The path as it was asked for: where a link leads, its own name still is the file's new name."""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.found.st_mode)

    def close(self) -> None:
        os.close(self.parent)


class Context:
    """A tree of files to copy from. A context manager."""

    def __init__(
        self, root: int, *, ignore: Ignore | None = None, keeps_owners: bool = False, scratch: str = ""
    ) -> None:
        self.root = root
        """A descriptor of the root directory, owned by this object."""
        self.ignore = ignore or Ignore()
        self.keeps_owners = keeps_owners
        """A stage's or image's files stay whose they are; those of a build context become root's."""
        self._scratch = scratch

    @classmethod
    def directory(cls, path: str, ignore: Ignore | None = None) -> Context:
        """A directory of the host. Raises UsageError when it is none."""
        try:
            return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), ignore=ignore)
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(f"the build context '{path}' is no directory", hint="a directory, or - for an archive")
        except OSError as error:
            raise from_oserror(error, f"opening the build context '{path}'") from error

    @classmethod
    def archive(cls, stream: Readable, scratch: str) -> Context:
        """A tar archive, compressed or not, unpacked below `scratch`, a new directory that `close` removes.

        Raises StorageError for what is no archive, or one that would write elsewhere.
        """
        from pyctr.core.files import archives
        from pyctr.core.files.extract import Extractor
        from pyctr.core.fsutil import remove_tree

        os.mkdir(scratch, 0o700)
        root = -1
        try:
            root = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            Extractor(root).extract(archives.plain(stream))
        except BaseException:
            if root >= 0:
                os.close(root)
            remove_tree(scratch)
            raise
        return cls(root, scratch=scratch)

    @classmethod
    def rootfs(cls, fd: int) -> Context:
        """The root of a stage or image; `fd` stays the caller's."""
        return cls(os.dup(fd), keeps_owners=True)

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.root >= 0:
            os.close(self.root)
            self.root = -1
        if self._scratch:
            from pyctr.core.fsutil import remove_tree

            remove_tree(self._scratch)
            self._scratch = ""

    def read(self, path: str) -> bytes | None:
        """A small file (Dockerfile, .dockerignore), whether ignored or not; None when it is not there.

        Raises UsageError for one that is no file or larger than 16 MiB.
        """
        try:
            fd = open_in(self.root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise from_oserror(error, f"reading '{path}' of the build context") from error
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise UsageError(f"'{path}' in the build context is no file")
            content = file.read(_BOUND + 1)
        if len(content) > _BOUND:
            raise UsageError(f"'{path}' in the build context is larger than {_BOUND >> 20} MiB")
        return content

    def sources(self, word: str) -> list[Source]:
        """What a word of COPY means, in name order; the caller closes them. A wildcard may mean nothing: [].

        Links that are named, or on the way, are followed inside the context. Raises NotFound for a name without
        wildcards that is not there or ignored.
        """
        path = _clean(word)
        if not is_pattern(path):
            return [self._source(path, word)]
        from pyctr.core.build.ignore import match

        plain, _, _ = _split(path)
        if plain == path:
            return [self._source(unescape(path), word)]
        try:
            match(path, "")
        except ValueError as error:
            raise UsageError(f"'{word}': {error}", hint="escape it with a backslash") from None
        return [self._source(found, found) for found in sorted(self._matches(path))]

    def walk(self, source: Source, exclude: Ignore | None = None) -> Iterator[Entry]:
        """A source and what is below it, without what .dockerignore and `exclude` leave out."""
        base = source.path
        excluded = exclude or Ignore()

        def chosen(path: str, directory: bool) -> tuple[bool, bool]:
            full = f"{base}/{path}" if base and path else base or path
            take, below = self.ignore.filter(full, directory)
            if excluded:
                again, further = excluded.filter(path or ("" if directory else source.name), directory)
                take, below = take and again, below and further
                if path or not directory:
                    again, further = excluded.filter(full, directory)
                    take, below = take and again, below and further
            return take, below

        return walk(source.parent, source.name, chosen)

    # inside

    def _source(self, path: str, word: str) -> Source:
        hidden = NotFound(f"'{word}' is not in the build context", hint="a line of .dockerignore leaves it out")
        if self.ignore.filter(path, True) == (False, False):
            raise hidden
        try:
            fd = open_in(self.root, path)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"'{word}' is not in the {self._what()}", hint="names are relative to its root") from None
        except OSError as error:
            raise from_oserror(error, f"looking for '{word}' in the {self._what()}") from error
        try:
            found = os.fstat(fd)
            if stat.S_ISDIR(found.st_mode):
                parent = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
                return Source(parent, ".", path, found, word)
        finally:
            os.close(fd)
        if self.ignore.ignores(path):
            raise hidden
        try:
            parent, name = locate(self.root, path, follow=True)
            return Source(parent, name, path, os.stat(name, dir_fd=parent, follow_symlinks=False), word)
        except OSError as error:
            raise from_oserror(error, f"looking for '{word}' in the {self._what()}") from error

    def _matches(self, pattern: str) -> list[str]:
        import re

        plain, rest, deep = _split(pattern)
        if deep:
            rule = re.compile(translate(pattern))
            return self._below(unescape(plain), rule)
        found = [unescape(plain)]
        for index, part in enumerate(rest):
            last = index == len(rest) - 1
            rule = re.compile(translate(part))
            deeper = []
            for place in found:
                for name in self._names(place):
                    path = f"{place}/{name}" if place else name
                    if rule.match(name) and (not last or not self.ignore.ignores(path)):
                        deeper.append(path)
            found = deeper
        return found

    def _names(self, path: str) -> list[str]:
        try:
            fd = open_in(self.root, path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return []  # no directory, or gone: nothing matches in it
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def _below(self, start: str, rule: re.Pattern[str]) -> list[str]:
        """Paths for a pattern with `**`; what is below a match is not a match of its own."""
        found: list[str] = []
        pending = [start]
        while pending:
            place = pending.pop()
            for name in self._names(place):
                path = f"{place}/{name}" if place else name
                if rule.match(path):
                    if not self.ignore.ignores(path):
                        found.append(path)
                    continue
                try:
                    os.close(open_in(self.root, path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW))
                except OSError:
                    continue  # no directory
                pending.append(path)
        return found

    def _what(self) -> str:
        return "rootfs it is copied from" if self.keeps_owners else "build context"


def _clean(word: str) -> str:
    """A source path without leading slashes, `.` and `..`; wildcards are left alone."""
    parts: list[str] = []
    for part in word.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _split(pattern: str) -> tuple[str, list[str], bool]:
    """(leading components without wildcards, the other ones, is there a `**` among them)."""
    parts = pattern.split("/")
    count = 0
    while count < len(parts) and not any(mark in unescape_marks(parts[count]) for mark in "*?["):
        count += 1
    return "/".join(parts[:count]), parts[count:], any("**" in part for part in parts[count:])


def unescape_marks(part: str) -> str:
    """A component without what a backslash takes the meaning of."""
    import re

    return re.sub(r"\\.", "", part)
