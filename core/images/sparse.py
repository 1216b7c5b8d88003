"""Sparse members of a tar archive: which parts of a file the archive has; the rest are holes.

Four spellings (GNU tar manual, "Sparse Formats"; libarchive's tar(5)):

    old GNU   type 'S': four places in the header, more in blocks behind it while a flag says so
    PAX 0.0   repeated records GNU.sparse.offset and GNU.sparse.numbytes
    PAX 0.1   one record GNU.sparse.map, "offset,count,offset,count"
    PAX 1.0   GNU.sparse.major and minor; the map is decimal lines at the beginning of the contents

A map is as hostile as everything else in an archive: it must go upwards, end within the file, and tell of exactly the
bytes that are there. Where it does not, StorageError.
"""

from __future__ import annotations

from pyctr.core.errors import StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Spans = list[tuple[int, int]]

PREFIX = "GNU.sparse."
MAP = f"{PREFIX}map"
_BLOCK = 512
_IN_HEADER, _IN_BLOCK, _PLACE = 4, 21, 24
_MOST_SPANS = 1 << 18
"""Of one file. Each takes memory here, whatever is in it."""
_DIGITS = 20
_LARGEST = (1 << 63) - 1


def of_header(header: bytes, block: Callable[[], bytes], number: Callable[[bytes], int]) -> tuple[Spans, int]:
    """Old GNU: (spans, size of the file). `block` reads one more block; `number` reads a field."""
    spans: Spans = []
    real = number(header[483:495])
    at, count, more = header[386:482], _IN_HEADER, header[482]
    while True:
        for place in range(0, count * _PLACE, _PLACE):
            if not at[place]:
                break  # the rest is empty
            spans.append((number(at[place : place + 12]), number(at[place + 12 : place + 24])))
        if not more:
            return spans, real
        if len(spans) > _MOST_SPANS:
            raise _too_many()
        at = block()
        count, more = _IN_BLOCK, at[504]


def of_records(records: dict[str, bytes]) -> tuple[Spans, int]:
    """PAX 0.0 and 0.1, whose records were joined by `joined`: (spans, size of the file)."""
    words = records.get(MAP, b"").split(b",") if records.get(MAP) else []
    if len(words) > 2 * _MOST_SPANS:
        raise _too_many()
    numbers = [_decimal(word) for word in words]
    told = records.get(f"{PREFIX}numblocks")
    if len(numbers) % 2 or (told is not None and _decimal(told) != len(numbers) // 2):
        raise _broken("its places and their sizes do not match")
    return list(zip(numbers[::2], numbers[1::2], strict=True)), _decimal(records.get(f"{PREFIX}size", b""))


def joined(records: dict[str, bytes], key: str, value: bytes) -> None:
    """Put a repeated record of PAX 0.0 into `records` as version 0.1 has it."""
    before = records.get(MAP)
    if (0 if before is None else before.count(b",") + 1) % 2 != (key == f"{PREFIX}numbytes"):
        raise _broken("its places and their sizes do not take turns")
    records[MAP] = value if before is None else before + b"," + value


def of_contents(records: dict[str, bytes], size: int, block: Callable[[], bytes]) -> tuple[Spans, int, int]:
    """PAX 1.0: (spans, size of the file, bytes of the contents that were the map)."""
    numbers: list[int] = []
    expected, taken, rest = 1, 0, b""
    while len(numbers) < expected:
        if taken + _BLOCK > size:
            raise _broken("its map is cut short")
        taken += _BLOCK
        *lines, rest = (rest + block()).split(b"\n")
        if len(rest) > _BLOCK:
            raise _broken("its map is no list of numbers")
        for line in lines:
            if len(numbers) == expected:
                break  # padding
            numbers.append(_decimal(line))
            expected = 1 + 2 * numbers[0]
            if expected > 2 * _MOST_SPANS:
                raise _too_many()
    return list(zip(numbers[1::2], numbers[2::2], strict=True)), _decimal(records.get(f"{PREFIX}realsize", b"")), taken


def checked(spans: Spans, real: int, stored: int) -> Spans:
    """The spans, if a file of `real` bytes can be filled with `stored` bytes like that."""
    end = total = 0
    for offset, count in spans:
        if offset < end or count < 0:
            raise _broken("its parts overlap or go backwards")
        end = offset + count
        total += count
    if not end <= real <= _LARGEST:
        raise _broken("its parts end behind its end")
    if total != stored:
        raise _broken(f"its parts are {total} bytes, and {stored} are there")
    return spans


def _decimal(word: bytes) -> int:
    if not word.isdigit() or len(word) > _DIGITS:
        raise _broken("its map is no list of numbers")
    return int(word)


def _broken(why: str) -> StorageError:
    return StorageError(f"a sparse file in a tar archive is broken: {why}", hint="the archive is damaged or hostile")


def _too_many() -> StorageError:
    return StorageError(f"a sparse file in a tar archive has more than {_MOST_SPANS} parts", hint="pack it without -S")
