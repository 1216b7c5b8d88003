"""COPY and ADD: what an instruction says, its digest for the cache, and its files in a stage's rootfs.

The rules are those of Docker's builder (Dockerfile reference, COPY and ADD), where the words are ours:

* the destination is a directory when it ends with a slash, when there are several sources, when an archive is unpacked
  into it, or when there is a directory; a directory's contents go into it, not the directory;
* what is made on the way to it is 0755 and belongs to --chown's user, or else to root;
* files of a build context become root's, those of a stage or an image (`--from`) keep their owners; modes and times
  stay.

    job = CopyJob(Copy(["src/"], "app/", workdir="/srv"), context, scratch)
    key = job.digest()
    job.write(rootfs)
"""

from __future__ import annotations

import os
import stat
from posixpath import basename, normpath

from pyctr.core.build import added
from pyctr.core.build.context import Context, Source
from pyctr.core.build.ignore import Ignore
from pyctr.core.errors import NotFound, StorageError, UsageError, from_oserror
from pyctr.core.files import modes, writing
from pyctr.core.files.treecopy import Copier
from pyctr.core.files.writing import Attributes
from pyctr.core.linux.inroot import open_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from hashlib import _Hash
    from typing import BinaryIO

    from pyctr.core.files.walking import Entry


class Copy:
    """One COPY or ADD, variables already expanded. Heredocs are (file name, content) and come after the sources."""

    def __init__(
        self,
        sources: list[str],
        destination: str,
        *,
        add: bool = False,
        workdir: str = "/",
        chown: str = "",
        chmod: str = "",
        exclude: list[str] | None = None,
        parents: bool = False,
        link: bool = False,
        checksum: str = "",
        unpack: bool | None = None,
        heredocs: list[tuple[str, bytes]] | None = None,
    ) -> None:
        """`add`: ADD, with archives and URLs. `unpack`: ADD --unpack, None for the default (local archives are).

        `link` changes nothing here: the caller gives `write` an empty root then, and `names` for --chown. Raises
        UsageError for what contradicts itself.
        """
        self.sources = sources
        self.destination = destination
        self.add = add
        self.workdir = workdir or "/"
        self.chown = chown
        self.mode = modes.parse(chmod) if chmod else None
        self.chmod = chmod
        self.exclude = Ignore(exclude or [], "--exclude")
        self.parents = parents
        self.link = link
        self.checksum = checksum
        self.unpack = unpack
        self.heredocs = heredocs or []
        what = "ADD" if add else "COPY"
        if not sources and not self.heredocs:
            raise UsageError(f"{what} without a source", hint=f"{what} SOURCE... DESTINATION")
        if len(sources) + len(self.heredocs) > 1 and not self.directory_wanted:
            raise UsageError(
                f"{what} of several sources to '{destination}'", hint=f"a directory ends with '/': '{destination}/'"
            )
        remote = [source for source in sources if add and added.is_url(source)]
        if checksum and (len(remote) != 1 or len(sources) != 1):
            raise UsageError("--checksum is for one URL", hint="ADD --checksum=sha256:… URL DESTINATION")

    @property
    def directory_wanted(self) -> bool:
        return self.destination.endswith("/") or self.destination in ("", ".", "..") or self.destination.endswith("/.")

    @property
    def target(self) -> str:
        """The absolute path in the rootfs, without a slash at its end."""
        return normpath(f"/{self.workdir}/{self.destination}" if self.destination[:1] != "/" else self.destination)


class CopyJob:
    """A `Copy` from a context. `scratch` is a new directory for downloads, removed by `close`; "" when there are none.

    A context manager. Sources are looked up once, so the digest speaks of what `write` copies unless somebody changes
    files in between.
    """

    def __init__(self, copy: Copy, context: Context, scratch: str = "") -> None:
        """Raises NotFound for a source that is not there, NetworkError, UsageError."""
        self.instruction = copy
        self.context = context
        self.unmatched: list[str] = []
        """Wildcards that meant nothing: worth a warning, no error (as with Docker)."""
        self._sources: list[tuple[str, Source]] = []
        self._remote: list[added.Download] = []
        self._scratch = scratch
        try:
            for word in copy.sources:
                if copy.add and added.is_url(word):
                    self._remote.append(added.fetch(word, scratch, copy.checksum))
                    continue
                found = context.sources(word)
                if not found:
                    self.unmatched.append(word)
                self._sources += [(word, source) for source in found]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CopyJob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for _, source in self._sources:
            source.close()
        self._sources = []
        for download in self._remote:
            download.close()
        self._remote = []

    def digest(self) -> str:
        """ "sha256:…" of names, contents, modes, owners and xattrs as they will be; not of times.

        What the instruction itself says (destination, --chown's names) is the caller's to add.
        """
        from hashlib import sha256

        total = sha256()
        for word, source in self._sources:
            total.update(f"S{self._name(word, source)}\0".encode("utf-8", "surrogateescape"))
            linked: dict[tuple[int, int], str] = {}
            for entry in self._walk(source):
                self._hash(total, entry, linked)
        for download in self._remote:
            total.update(f"U{download.name}\0{download.digest}\0".encode())
        for name, content in self.instruction.heredocs:
            total.update(f"H{name}\0{sha256(content).hexdigest()}\0".encode())
        return f"sha256:{total.hexdigest()}"

    def write(self, root: int, names: int | None = None) -> None:
        """Put everything into the rootfs that `root` is a descriptor of; `names` is where --chown's names are known.

        Raises UsageError (a user who is not there), StorageError, PyctrError.
        """
        copy = self.instruction
        asked = self._owner(root if names is None else names)
        kept = None if self.context.keeps_owners and asked is None else asked or (0, 0)
        try:
            with Copier(kept, copy.mode) as copier:
                for word, source in self._sources:
                    if self._unpacks(source):
                        self._extract(root, source, asked)
                    else:
                        self._place(root, copier, word, source, asked or (0, 0))
            for download in self._remote:
                self._downloaded(root, download, asked or (0, 0))
            for name, content in copy.heredocs:
                self._heredoc(root, name, content, asked or (0, 0))
        except OSError as error:
            raise from_oserror(error, f"copying to '{copy.target}'") from error

    # inside

    def _walk(self, source: Source) -> Iterator[Entry]:
        return self.context.walk(source, self.instruction.exclude)

    def _owner(self, names: int) -> tuple[int, int] | None:
        text = self.instruction.chown
        if not text:
            return None
        from pyctr.core.errors import RuntimeFailure
        from pyctr.core.runtime import passwd

        user, colon, group = text.partition(":")
        try:
            uid, gid, _, _ = passwd.resolve(names, text if group or not colon else user)
        except RuntimeFailure as error:
            raise UsageError(f"--chown={text}: {error.message}", hint=error.hint) from None
        # chown's own rule, as in Docker: a number alone is the group's, too
        return uid, uid if not colon and user.isdecimal() else gid

    def _name(self, word: str, source: Source) -> str:
        """The path below the destination that --parents keeps, or the file's name; "" for a directory's contents."""
        if self.instruction.parents:
            path = source.word.strip("/") if source.word else source.path
            # what stands before /./ is not kept
            pivot = word.strip("/").find("/./")
            kept = normpath("/" + path).lstrip("/")
            if pivot >= 0:
                dropped = normpath("/" + word.strip("/")[:pivot]).lstrip("/")
                count = len(dropped.split("/")) if dropped else 0
                kept = "/".join(kept.split("/")[count:])
            return kept
        return "" if source.is_directory else basename(source.word.rstrip("/")) or source.name

    def _place(self, root: int, copier: Copier, word: str, source: Source, owner: tuple[int, int]) -> None:
        copy = self.instruction
        name = self._name(word, source)
        target = copy.target
        if copy.parents:
            above, _, last = name.rpartition("/")
            target, name = (f"{target}/{name}", "") if source.is_directory else (f"{target}/{above}", last)
            directory = True
        else:
            directory = source.is_directory or copy.directory_wanted or _is_directory(root, target)
        on_the_way = Attributes(*owner, 0o755, None)
        if source.is_directory:
            self._contents(root, copier, source, target, on_the_way)
            return
        if not directory:
            target, name = _real(root, target)
        parent = writing.directory_path(root, target, on_the_way)
        try:
            copier.copy(self._walk(source), parent, name)
        finally:
            os.close(parent)

    def _contents(self, root: int, copier: Copier, source: Source, target: str, on_the_way: Attributes) -> None:
        """A directory's contents; a destination that is there keeps its own owner and mode, a new one gets them."""
        if _is_directory(root, target):
            parent = open_in(root, target, os.O_PATH | os.O_DIRECTORY)
            try:
                copier.copy(self._walk(source), parent, "", merged=True)
            finally:
                os.close(parent)
            return
        above, name = _real(root, target)
        parent = writing.directory_path(root, above, on_the_way)
        try:
            copier.copy(self._walk(source), parent, name)
        finally:
            os.close(parent)

    def _unpacks(self, source: Source) -> bool:
        copy = self.instruction
        if not copy.add or copy.unpack is False or not stat.S_ISREG(source.found.st_mode):
            return False
        from pyctr.core.files.archives import is_archive

        with _reader(source) as file:
            return is_archive(file)

    def _extract(self, root: int, source: Source, asked: tuple[int, int] | None) -> None:
        with _reader(source) as file:
            self._unpack(root, file, asked)

    def _unpack(self, root: int, file: BinaryIO, asked: tuple[int, int] | None) -> None:
        from pyctr.core.files import archives
        from pyctr.core.files.extract import Extractor

        target = self.instruction.target
        os.close(writing.directory_path(root, target, Attributes(*(asked or (0, 0)), 0o755, None)))
        Extractor(root, target).extract(archives.plain(file))

    def _downloaded(self, root: int, download: added.Download, owner: tuple[int, int]) -> None:
        if self.instruction.unpack:
            with download.open() as file:
                self._unpack(root, file, owner)
            return
        mode = self.instruction.mode(stat.S_IFREG | 0o600) if self.instruction.mode else 0o600
        attributes = Attributes(*owner, mode, download.mtime_ns)
        with download.open() as file:
            self._single(root, download.name, attributes, lambda: file.read(1 << 20))

    def _heredoc(self, root: int, name: str, content: bytes, owner: tuple[int, int]) -> None:
        mode = self.instruction.mode(stat.S_IFREG | 0o644) if self.instruction.mode else 0o644
        pieces = iter((content, b""))
        self._single(root, name, Attributes(*owner, mode, None), lambda: next(pieces))

    def _single(self, root: int, name: str, attributes: Attributes, read: Callable[[], bytes]) -> None:
        """A file that comes from nowhere in the context, to where COPY puts one file."""
        copy = self.instruction
        target = copy.target
        if not (copy.directory_wanted or _is_directory(root, target)):
            target, name = _real(root, target)
        elif not name:
            raise UsageError(f"a name for the file in '{copy.destination}' is missing", hint="name it there")
        parent = writing.directory_path(root, target, Attributes(attributes.uid, attributes.gid, 0o755, None))
        try:
            with writing.NewFile(parent, name) as fd:
                while piece := read():
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(fd, view) :]
                writing.apply(fd, attributes)
        finally:
            os.close(parent)

    def _hash(self, total: _Hash, entry: Entry, linked: dict[tuple[int, int], str]) -> None:
        found = entry.found
        kind = stat.S_IFMT(found.st_mode)
        mode = self.instruction.mode(found.st_mode) if self.instruction.mode else stat.S_IMODE(found.st_mode)
        owner = (found.st_uid, found.st_gid) if self.context.keeps_owners else (0, 0)
        extra = ""
        first = linked.setdefault((found.st_dev, found.st_ino), entry.path) if found.st_nlink > 1 else entry.path
        if kind == stat.S_IFLNK:
            extra = os.readlink(entry.name, dir_fd=entry.parent)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            extra = str(found.st_rdev)
        elif first != entry.path and kind != stat.S_IFDIR:
            extra = first  # a hard link
        head = f"E{entry.path}\0{kind:o}\0{mode:o}\0{owner[0]}:{owner[1]}\0{extra}\0"
        total.update(head.encode("utf-8", "surrogateescape"))
        if kind in (stat.S_IFREG, stat.S_IFDIR) and (first == entry.path or kind == stat.S_IFDIR):
            _hash_opened(total, entry, kind)


def _hash_opened(total: _Hash, entry: Entry, kind: int) -> None:
    from hashlib import sha256

    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    fd = os.open(entry.name, flags, dir_fd=entry.parent)
    try:
        if stat.S_IFMT(os.fstat(fd).st_mode) != kind:
            raise StorageError(f"'{entry.path or entry.name}' became something else while it was read")
        for name, value in sorted(writing.xattrs(fd).items()):
            total.update(f"X{name}\0".encode() + sha256(value).digest())
        if kind == stat.S_IFREG:
            content = sha256()
            while piece := os.read(fd, 1 << 20):
                content.update(piece)
            total.update(content.digest())
    finally:
        os.close(fd)


def _reader(source: Source) -> BinaryIO:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.fdopen(os.open(source.name, flags, dir_fd=source.parent), "rb")


def _is_directory(root: int, path: str) -> bool:
    try:
        os.close(open_in(root, path, os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return False  # not there, or something else
    return True


def _real(root: int, path: str) -> tuple[str, str]:
    """(directory, name) of a file to be, a link of that name followed inside the rootfs, wherever it leads."""
    for _ in range(40):
        above, _, name = path.rstrip("/").rpartition("/")
        try:
            parent = open_in(root, above, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            return above, name
        try:
            target = os.readlink(name, dir_fd=parent)
        except OSError:
            return above, name
        finally:
            os.close(parent)
        path = normpath(target if target.startswith("/") else f"{above}/{target}")
    raise NotFound(f"'{path}' is a loop of links")
