"""Modes in the notation of chmod(1): octal, or symbolic clauses such as u=rwX,go-w."""

from __future__ import annotations

import stat

from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007}
_SPECIAL = {"u": stat.S_ISUID, "g": stat.S_ISGID}


def parse(text: str) -> Callable[[int], int]:
    """What makes the new mode (12 bits) of an old one (st_mode, its type included). Raises UsageError.

    Symbolic modes are POSIX chmod(1)'s; without who they mean everybody, since there is no umask here.
    """
    if text and all(mark in "01234567" for mark in text):
        number = int(text, 8)
        if number > 0o7777:
            raise _wrong(text)
        return lambda old: number
    clauses = [_clause(part, text) for part in text.split(",")]

    def changed(old: int) -> int:
        mode = old
        for clause in clauses:
            mode = clause(mode)
        return stat.S_IMODE(mode)

    return changed


def _clause(part: str, whole: str) -> Callable[[int], int]:
    at = 0
    while at < len(part) and part[at] in "ugoa":
        at += 1
    who = "ugo" if "a" in part[:at] or not at else "".join(one for one in "ugo" if one in part[:at])
    actions: list[tuple[str, str]] = []
    while at < len(part):
        sign = part[at]
        if sign not in "+-=":
            raise _wrong(whole)
        end = at + 1
        while end < len(part) and part[end] in "rwxXstugo":
            end += 1
        actions.append((sign, part[at + 1 : end]))
        at = end
    if not actions:
        raise _wrong(whole)

    def change(mode: int) -> int:
        for sign, words in actions:
            bits = 0
            for one in who:
                bits |= _bits(one, words, mode)
            if sign == "+":
                mode |= bits
            elif sign == "-":
                mode &= ~bits
            else:
                reach = sum(_WHO[one] for one in who)
                if stat.S_ISDIR(mode):
                    reach &= ~0o6000  # chmod(1): a directory keeps these unless they are named
                mode = (mode & ~reach) | bits
        return mode

    return change


def _bits(who: str, words: str, mode: int) -> int:
    shift = {"u": 6, "g": 3, "o": 0}[who]
    bits = 0
    for word in words:
        if word in "rwx":
            bits |= {"r": 4, "w": 2, "x": 1}[word] << shift
        elif word == "X" and (stat.S_ISDIR(mode) or mode & 0o111):
            bits |= 1 << shift
        elif word == "s":
            bits |= _SPECIAL.get(who, 0)
        elif word == "t":
            bits |= stat.S_ISVTX
        elif word in "ugo":
            bits |= (mode >> {"u": 6, "g": 3, "o": 0}[word] & 7) << shift
    return bits


def _wrong(text: str) -> UsageError:
    return UsageError(f"'{text}' is no mode", hint="octal as 0755, or symbolic as u=rwX,go=rX")
