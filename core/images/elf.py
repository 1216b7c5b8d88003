"""Which files a program needs to run: its ELF interpreter and libraries, found the way ld.so(8) finds them.

Formats: elf(5); ld.so.cache as glibc's elf/cache.c and sysdeps/generic/dl-cache.h write it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from pyctr.core.errors import StorageError

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29
_LIMIT = 1 << 20


class Elf:
    """What the dynamic linker reads of one file."""

    def __init__(self, path: str, identity: tuple[int, int, int]) -> None:
        self.path = path
        self.identity = identity
        """(class, data, machine): only files with the same one can be linked together."""
        self.interpreter = ""
        self.needed: list[str] = []
        self.rpath: list[str] = []
        self.runpath: list[str] = []


def read(path: str) -> Elf | None:
    """The file's dynamic section; None when it is no ELF file. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(64)
        if len(head) < 52 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
            return None
        wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
        elf = Elf(path, (head[4], head[5], struct.unpack_from(order + "H", head, 18)[0]))
        offset, size, count = (
            (*struct.unpack_from(order + "Q", head, 32), *struct.unpack_from(order + "HH", head, 54))
            if wide
            else (*struct.unpack_from(order + "I", head, 28), *struct.unpack_from(order + "HH", head, 42))
        )
        loads = []
        dynamic = None
        for number in range(count):
            header = _at(file, offset + number * size, size)
            if len(header) < size:
                return elf
            if wide:
                kind, _, at, address, _, length = struct.unpack_from(order + "IIQQQQ", header)
            else:
                kind, at, address, _, length = struct.unpack_from(order + "IIIII", header)
            if kind == _PT_LOAD:
                loads.append((address, at, length))
            elif kind == _PT_INTERP:
                elf.interpreter = _at(file, at, min(length, 4096)).split(b"\0")[0].decode()
            elif kind == _PT_DYNAMIC:
                dynamic = _at(file, at, min(length, _LIMIT))
        if dynamic is None:
            return elf
        each = 16 if wide else 8
        pairs = list(struct.iter_unpack(order + ("qQ" if wide else "iI"), dynamic[: len(dynamic) // each * each]))
        table = next((value for tag, value in pairs if tag == _DT_STRTAB), None)
        start = next((at + table - address for address, at, n in loads if address <= (table or -1) < address + n), None)
        if start is None:
            return elf
        for tag, value in pairs:
            if tag == 0:
                break
            if tag in (_DT_NEEDED, _DT_RPATH, _DT_RUNPATH):
                text = _at(file, start + value, 4096).split(b"\0")[0].decode(errors="surrogateescape")
                if tag == _DT_NEEDED:
                    elf.needed.append(text)
                else:
                    origin = os.path.dirname(os.path.realpath(path))
                    where = [
                        part.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
                        for part in text.split(":")
                        if part and "$LIB" not in part and "$PLATFORM" not in part
                    ]
                    (elf.rpath if tag == _DT_RPATH else elf.runpath).extend(where)
        return elf


def _at(file: object, offset: int, count: int) -> bytes:
    file.seek(offset)  # type: ignore[attr-defined]
    content: bytes = file.read(count)  # type: ignore[attr-defined]
    return content


class Linker:
    """Finds libraries on this host. `root` is for tests."""

    def __init__(self, root: str = "") -> None:
        self.root = root
        self._cache: dict[str, list[str]] | None = None

    def closure(self, programs: Iterable[str]) -> dict[str, str]:
        """{absolute path as the loader asks for it: real file} of everything the programs need besides themselves.

        Raises StorageError when a library is missing.
        """
        found: dict[str, str] = {}
        todo: list[tuple[str, tuple[str, ...]]] = [(program, ()) for program in programs]
        done = set()
        while todo:
            path, inherited = todo.pop()
            real = self._real(path)
            if real in done:
                continue
            done.add(real)
            elf = read(self.root + real)
            if elf is None:
                continue
            if elf.interpreter and elf.interpreter not in found:
                found[elf.interpreter] = self._real(elf.interpreter)
                todo.append((elf.interpreter, ()))
            # DT_RPATH of a program also serves its libraries, unless DT_RUNPATH replaces it (ld.so(8))
            own = () if elf.runpath else (*elf.rpath, *inherited)
            for name in elf.needed:
                where = self.find(name, elf, own)
                if where is None:
                    raise StorageError(f"'{path}' needs the library '{name}', which is not on this host")
                found[where] = self._real(where)
                todo.append((where, own))
        return found

    def find(self, name: str, wanted: Elf, rpath: Iterable[str] = ()) -> str | None:
        """The path of a needed library for a file."""
        if "/" in name:
            return name if self._fits(name, wanted) else None
        for directory in (*rpath, *wanted.runpath):
            if self._fits(f"{directory}/{name}", wanted):
                return f"{directory}/{name}"
        for path in self.cache().get(name, ()):
            if self._fits(path, wanted):
                return path
        for directory in self.default_directories():
            if self._fits(f"{directory}/{name}", wanted):
                return f"{directory}/{name}"
        return None

    def default_directories(self) -> list[str]:
        """Where a loader looks without any configuration: glibc's, Debian's multiarch ones, musl's."""
        directories = []
        for base in ("/lib", "/usr/lib"):
            try:
                multiarch = sorted(name for name in os.listdir(self.root + base) if "-linux-" in name)
            except OSError:
                multiarch = []
            directories += [f"{base}/{name}" for name in multiarch]
        return [*directories, "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"]

    def cache(self) -> dict[str, list[str]]:
        """/etc/ld.so.cache: library name -> paths, variants for newer processors left out."""
        if self._cache is None:
            try:
                with open(f"{self.root}/etc/ld.so.cache", "rb") as file:
                    self._cache = parse_cache(file.read())
            except OSError:
                self._cache = {}  # musl has none
        return self._cache

    def _fits(self, path: str, wanted: Elf) -> bool:
        try:
            elf = read(self.root + path)
        except (OSError, struct.error):
            return False
        return elf is not None and elf.identity == wanted.identity

    def _real(self, path: str) -> str:
        real = os.path.realpath(self.root + path)
        return real.removeprefix(os.path.realpath(self.root)) if self.root else real


def parse_cache(content: bytes) -> dict[str, list[str]]:
    """The new format, alone or behind the old one. Empty when it is something else."""
    start = content.find(b"glibc-ld.so.cache1.1")
    if start < 0:
        return {}
    order = "=" if len(content) < start + 29 or content[start + 28] & 3 == 0 else "<>"[content[start + 28] & 3 == 3]
    found: dict[str, list[str]] = {}
    try:
        (count,) = struct.unpack_from(order + "I", content, start + 20)
        for number in range(count):
            _, key, value, _, hwcap = struct.unpack_from(order + "iIIIQ", content, start + 48 + number * 24)
            if hwcap == 0:
                found.setdefault(_string(content, start + key), []).append(_string(content, start + value))
    except (struct.error, ValueError):
        return found  # cut short: the default directories remain
    return found


def _string(content: bytes, at: int) -> str:
    return content[at : content.index(b"\0", at)].decode(errors="surrogateescape")
