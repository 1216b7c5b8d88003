"""The layers of one image as one tree of paths, each with everything that any layer did to it.

A `Stack` is built bottom up, a bounded number of entries at a time (`step`), can be extended by further layers, cut
back to fewer, and looked at as of any of its layers. Which layer gave a file, who shadowed it, what is wasted, what an
image finally has: all of it is read off the records of its entries.
"""

from __future__ import annotations

from pyctr.core.images.layerfiles import ADDED, CHANGED, DELETED, File, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STEP = 2000
"""Entries looked at in one step, unless somebody wants another number."""


class Entry:
    """One path of the tree. `records` are what the layers did to it, lowest layer first."""

    __slots__ = ("children", "name", "records", "tally")

    def __init__(self, name: str) -> None:
        self.name = name
        self.children: dict[str, Entry] = {}
        self.records: list[File] = []
        self.tally: list[int] | None = None
        """What `tally` counted below it."""

    def record(self, layer: int) -> File | None:
        """The last thing done to it by this layer or one below."""
        for record in reversed(self.records):
            if record.layer <= layer:
                return record
        return None

    def file(self, layer: int) -> File | None:
        """What is there, seen from this layer; None when it is not there (yet, or any more)."""
        record = self.record(layer)
        return None if record is None or record.change == DELETED else record


class Stack:
    """Directories of unpacked layers, bottom first, as one tree."""

    def __init__(self, directories: Sequence[str] = ()) -> None:
        self.directories: list[str] = []
        """Of the layers that are in it as a whole."""
        self.root = Entry("")
        self.looked = 0
        """Entries of directories read from the disk so far."""
        self._folders = {"": self.root}
        self._wanted = list(directories)
        self._work: Iterator[None] | None = None

    def serves(self, directories: Sequence[str]) -> bool:
        """Does it have these layers, or may it get them without dropping what it has?"""
        short = min(len(directories), len(self.directories))
        return list(directories[:short]) == self.directories[:short]

    def want(self, directories: Sequence[str], *, again: bool = False) -> None:
        """Go on to these layers (see `serves`), which `step` reads; with `again` the topmost one is read anew."""
        self.close()
        if again and len(self.directories) >= len(directories):
            self._cut(len(directories) - 1)
        self._wanted = list(directories) if len(directories) > len(self.directories) else self.directories[:]

    def step(self, entries: int = STEP) -> bool:
        """Look at so many entries; False when everything wanted is there. Raises OSError for an unreadable layer."""
        if self._work is None:
            self._work = self._read()
        try:
            for _ in range(entries):
                if next(self._work, self) is self:
                    self._work = None
                    return False
        except OSError:
            self.close()
            raise
        return True

    def close(self) -> None:
        """Stop reading. The layers that are complete stay; `step` begins with the one that is not."""
        if self._work is not None:
            self._work.close()  # type: ignore[attr-defined]
            self._work = None
            self._cut(len(self.directories))

    def find(self, path: str) -> Entry | None:
        entry = self.root
        for part in path.split("/"):
            if part in ("", "."):
                continue
            found = entry.children.get(part)
            if found is None:
                return None
            entry = found
        return entry

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """(path, entry) of everything below the root that any layer ever had; directories first, in no order."""
        todo = [("", self.root)]
        while todo:
            path, entry = todo.pop()
            for name, child in entry.children.items():
                place = f"{path}/{name}"
                yield place, child
                if child.children:
                    todo.append((place, child))

    # inside

    def _read(self) -> Iterator[None]:
        while len(self.directories) < len(self._wanted):
            number = len(self.directories)
            files = walk(self._wanted[number])
            try:
                for file in files:
                    self.looked += 1
                    file.layer = number
                    yield
                    yield from self._apply(file)
            finally:
                files.close()  # type: ignore[attr-defined]
            self.directories.append(self._wanted[number])

    def _apply(self, file: File) -> Iterator[None]:
        above, _, name = file.path.rpartition("/")
        parent = self._folders.get(above)
        if parent is None:
            return  # below a path that is no directory: the layer changed while it was read
        if parent.records and parent.records[-1].layer == file.layer:
            parent.records[-1].leaf = False
        entry = parent.children.get(name)
        below = entry.records[-1] if entry is not None and entry.records else None
        if file.change == DELETED:
            if entry is not None and below is not None and below.change != DELETED:
                yield from self._delete(entry, file)
            return
        if entry is None:
            entry = parent.children[name] = Entry(name)
        if file.is_directory:
            self._folders[file.path] = entry
        if below is None:
            file.change = ADDED
        elif below.change == DELETED and below.layer == file.layer:
            # the directory it is in hides all below, and brings its own
            entry.records.pop()
            file.change, file.was = CHANGED, 0 if file.is_directory else below.was
            if file.is_directory:
                _each_by_itself(entry)
        elif below.change == DELETED:
            file.change = ADDED
        else:
            file.change = CHANGED
            file.was = below.size
        if below is not None and below.is_directory and (file.opaque or not file.is_directory):
            yield from self._hide(entry, file)
        entry.records.append(file)

    def _hide(self, directory: Entry, file: File) -> Iterator[None]:
        """A directory that another one hides, or that something else replaces, loses what was in it."""
        for name, child in list(directory.children.items()):
            if child.records[-1].change != DELETED:
                gone = File(f"{file.path}/{name}", DELETED, 0, 0, layer=file.layer, implied=not file.is_directory)
                yield from self._delete(child, gone)
                if not file.is_directory:
                    file.was += gone.was

    def _delete(self, entry: Entry, file: File) -> Iterator[None]:
        """Take an entry and all below it away; `file.was` becomes the bytes that hides."""
        todo = [(entry, file)]
        while todo:
            yield
            entry, record = todo.pop()
            old = entry.records[-1]
            record.was = old.size
            if record is not file:
                file.was += old.size
            for name, child in entry.children.items():
                if child.records and child.records[-1].change != DELETED:
                    below = File(f"{record.path}/{name}", DELETED, 0, 0, layer=file.layer, implied=True)
                    todo.append((child, below))
            entry.records.append(record)

    def _cut(self, layers: int) -> None:
        """Forget what layers from this number on did."""
        del self.directories[layers:]
        todo = [("", self.root)]
        while todo:
            path, entry = todo.pop()
            for name, child in list(entry.children.items()):
                place = f"{path}/{name}"
                while child.records and child.records[-1].layer >= layers:
                    child.records.pop()
                if not child.records:
                    # what was first seen there has nothing below it that was seen before
                    del entry.children[name]
                    self._forget(place, child)
                elif child.children:
                    todo.append((place, child))

    def _forget(self, path: str, entry: Entry) -> None:
        todo = [(path, entry)]
        while todo:
            path, entry = todo.pop()
            self._folders.pop(path, None)
            todo += [(f"{path}/{name}", child) for name, child in entry.children.items()]


def _each_by_itself(directory: Entry) -> None:
    """A deleted directory came back empty: what was in it is now deleted one by one."""
    for child in directory.children.values():
        record = child.records[-1]
        if record.change != DELETED or not record.implied:
            continue
        record.implied = False
        todo = list(child.children.values())
        while todo:
            below = todo.pop()
            if below.records[-1].layer == record.layer:
                record.was += below.records[-1].was
                todo += below.children.values()


def read(directories: Sequence[str]) -> Stack:
    """All of some layers at once, bottom first."""
    stack = Stack(directories)
    while stack.step():
        pass
    return stack


def changes(stack: Stack, layer: int) -> list[File]:
    """What one layer adds, changes and deletes, by path; what is in a deleted directory is left out."""
    found = [
        record
        for _, entry in stack.entries()
        for record in entry.records
        if record.layer == layer and not record.implied
    ]
    return sorted(found, key=lambda file: file.path)


def contents(stack: Stack, layer: int) -> list[File]:
    """Everything that is there, seen from one layer, by path."""
    found = [file for _, entry in stack.entries() if (file := entry.file(layer)) is not None]
    return sorted(found, key=lambda file: file.path)
