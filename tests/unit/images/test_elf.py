"""The closure of a program is what ldd says, and foreign files are not taken for libraries."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pyctr.core.errors import StorageError
from pyctr.core.images.elf import Linker, parse_cache, read


def ldd(path: str) -> set[str]:
    listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    paths = [word for line in listed.splitlines() for word in line.split() if word.startswith("/")]
    return {os.path.realpath(path) for path in paths}


PROGRAMS = ["/bin/ls", "/usr/bin/perl", os.path.realpath(sys.executable), "/bin/bash"]


@pytest.mark.parametrize("program", [path for path in PROGRAMS if os.path.exists(path)])
def test_the_closure_is_what_the_loader_would_load(program: str) -> None:
    elf = read(program)
    if elf is None or not elf.interpreter or not os.path.exists("/usr/bin/ldd"):
        pytest.skip("not dynamically linked, or no ldd here")
    assert set(Linker().closure([program]).values()) == ldd(program)


def test_only_elf_files_are_read_as_such(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"\x7fELF", b"#!/bin/sh\n" + b"x" * 100, b"\x7fELF" + b"\xff" * 100)):
        file = tmp_path / str(number)
        file.write_bytes(content)
        assert read(str(file)) is None


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(dynamic(["libnowhere.so.7"]))
    with pytest.raises(StorageError, match=r"libnowhere\.so\.7"):
        Linker().closure([str(program)])


def test_libraries_are_found_by_runpath_next_to_the_program(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "bin").mkdir()
    library = tmp_path / "lib/libmine.so"
    library.write_bytes(dynamic([]))
    program = tmp_path / "bin/program"
    program.write_bytes(dynamic(["libmine.so"], runpath="$ORIGIN/../lib"))
    assert [os.path.realpath(path) for path in Linker().closure([str(program)]).values()] == [str(library)]


def test_a_library_for_another_machine_is_passed_over(tmp_path: Path) -> None:
    for directory, machine in (("wrong", 40), ("right", 62)):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "libmine.so").write_bytes(dynamic([], machine=machine))
    program = tmp_path / "program"
    program.write_bytes(dynamic(["libmine.so"], runpath=f"{tmp_path}/wrong:{tmp_path}/right"))
    assert list(Linker().closure([str(program)])) == [f"{tmp_path}/right/libmine.so"]


def test_the_hosts_cache_is_read() -> None:
    if not os.path.exists("/etc/ld.so.cache"):
        pytest.skip("no ld.so.cache on this host")
    cache = Linker().cache()
    assert any(name.startswith("libc.so") for name in cache)
    assert all(path.startswith("/") for paths in cache.values() for path in paths)


def test_a_damaged_cache_is_no_cache() -> None:
    assert parse_cache(b"") == parse_cache(b"junk" * 100) == {}
    whole = Path("/etc/ld.so.cache").read_bytes() if os.path.exists("/etc/ld.so.cache") else b""
    for cut in (40, 60, 1000):
        parse_cache(whole[:cut])


def dynamic(needed: list[str], runpath: str = "", machine: int = 62) -> bytes:
    """The smallest 64-bit ELF file with a dynamic section: elf(5)."""
    strings = b"\0"
    tags = []
    for tag, text in [*((1, name) for name in needed), *([(29, runpath)] if runpath else [])]:
        tags.append((tag, len(strings)))
        strings += text.encode() + b"\0"
    at = 64 + 2 * 56
    section = b"".join(struct.pack("<qQ", *tag) for tag in [*tags, (5, at + 16 * (len(tags) + 2)), (0, 0)])
    size = at + len(section) + len(strings)
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    )
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096)
    return head + load + struct.pack("<IIQQQQQQ", 2, 4, at, at, at, len(section), len(section), 8) + section + strings
