"""Signal names as people and images write them."""

from __future__ import annotations

from pyctr.core import errors

_ORDER = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU "
    "URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
)
_NAMES = _ORDER.split()
_ALIASES = {"IOT": 6, "CLD": 17, "POLL": 29}
_RTMIN, _RTMAX = 34, 64


def number(text: str | int) -> int:
    """9, "9", "KILL", "SIGKILL", "SIGRTMIN+3" -> the number (signal(7), the same on x86-64 and arm64).

    Raises UsageError.
    """
    word = str(text).strip().upper().removeprefix("SIG")
    if word.isascii() and word.isdigit() and 1 <= int(word) <= _RTMAX:
        return int(word)
    if word in _NAMES:
        return _NAMES.index(word) + 1
    if word in _ALIASES:
        return _ALIASES[word]
    for base, value, sign in (("RTMIN", _RTMIN, 1), ("RTMAX", _RTMAX, -1)):
        if word.startswith(base):
            offset = word[len(base) :].lstrip("+-") or "0"
            if offset.isascii() and offset.isdigit() and _RTMIN <= value + sign * int(offset) <= _RTMAX:
                return value + sign * int(offset)
    from pyctr.core.near import nearest

    meant = nearest(word, _NAMES)
    raise errors.UsageError(
        f"unknown signal '{text}'", hint=f"did you mean SIG{meant}?" if meant else "like SIGTERM or 15"
    )


def name(number: int) -> str:
    """9 -> "SIGKILL"."""
    if 1 <= number <= len(_NAMES):
        return f"SIG{_NAMES[number - 1]}"
    return f"SIGRTMIN+{number - _RTMIN}" if _RTMIN <= number <= _RTMAX else str(number)
