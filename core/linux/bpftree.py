"""Classic BPF for seccomp (seccomp(2), Documentation/userspace-api/seccomp_filter.rst): a balanced tree over numbers.

    ld arch
    jeq AUDIT_ARCH_X86_64 ──no──> jeq AUDIT_ARCH_I386 ──no──> return the verdict for foreign programs
     │ yes                         │ yes
    ld nr                         ld nr
    jge 128 ── jge 64 ── ...      ...            inner nodes halve the list of spans with one verdict
     │          └─> ret ALLOW                    leaves are shared returns, or look at arguments first
    jge 240 ...

A call costs log2(spans) jumps instead of one comparison per rule, and so does the walk over all numbers by which the
kernel fills its cache of always-allowed calls when the filter is loaded.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    # (argument index, operator, value, second value, compare only the low 32 bits)
    Condition = tuple[int, str, int, int, bool]
    # (what to return, conditions that must all hold)
    Chain = tuple[tuple[int, tuple[Condition, ...]], ...]
    # what to return; or, after the first chain link that holds, else
    Verdict = int | tuple[Chain, int]
    # (code, jump if true, jump if false, constant)
    Instruction = tuple[int, int, int, int]
    # ("return", value), or ("at", place counted from the end of the code)
    Target = tuple[str, int]

LD, RET, JA, JEQ, JGT, JGE, AND = 0x20, 0x06, 0x05, 0x15, 0x25, 0x35, 0x54
MAX_INSTRUCTIONS = 4096

# struct seccomp_data
NR, ARCH, ARGS = 0, 4, 16

_PASS, _FAIL = "pass", "fail"


def pack(code: list[Instruction]) -> bytes:
    """An array of struct sock_filter. ValueError beyond what the kernel takes (BPF_MAXINSNS)."""
    if len(code) > MAX_INSTRUCTIONS:
        raise ValueError(f"the filter needs {len(code)} instructions, the kernel takes {MAX_INSTRUCTIONS}")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def dispatch(sections: list[tuple[int, list[tuple[int, Verdict]]]], foreign: int) -> list[Instruction]:
    """The whole filter: per audit architecture its spans; `foreign` is returned for any other."""
    code = _Backwards()
    rest: Target = ("return", foreign)
    for arch, spans in reversed(sections):
        section = code.tree(spans)
        if section[0] == "at":
            section = code.put(LD, NR)
        rest = code.branch(JEQ, arch, section, rest)
    if rest[0] == "return":
        code.put(RET, foreign)
    else:
        code.put(LD, ARCH)
    return code.instructions[::-1]


def spans(base: list[tuple[int, int]], single: dict[int, Verdict]) -> list[tuple[int, Verdict]]:
    """(first number, verdict) ascending from 0, neighbours different.

    `base` gives the verdict from a number on, starting at 0; `single` the exceptions for one number each.
    """
    starts = {start for start, _ in base}
    for number in single:
        starts.add(number)
        if number < 0xFFFFFFFF:
            starts.add(number + 1)
    merged: list[tuple[int, Verdict]] = []
    position = 0
    for start in sorted(starts):
        while position + 1 < len(base) and base[position + 1][0] <= start:
            position += 1
        verdict = single.get(start, base[position][1])
        if not merged or merged[-1][1] != verdict:
            merged.append((start, verdict))
    return merged


class _Backwards:
    """Code written from its end, so that every jump, which can only go forward, knows where it goes.

    All jumps to the same verdict share one return as long as it is in reach: what loading a filter costs is
    proportional to its length.
    """

    # conditional jumps reach 255 instructions; `branch` may put one or two in between
    _REACH = 250

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self._returns: dict[int, int] = {}

    def put(self, operation: int, k: int, jt: int = 0, jf: int = 0) -> Target:
        """The new first instruction. Places are counted from the end."""
        self.instructions.append((operation, jt, jf, k))
        return ("at", len(self.instructions))

    def branch(self, operation: int, k: int, yes: Target, no: Target) -> Target:
        yes_place, no_place = self._near(yes), self._near(no)
        length = len(self.instructions)
        return self.put(operation, k, length - yes_place, length - no_place)

    def tree(self, spans: list[tuple[int, Verdict]]) -> Target:
        """Code that finds the span of the number in the accumulator."""
        if len(spans) == 1:
            verdict = spans[0][1]
            if isinstance(verdict, int):
                return ("return", verdict)
            self.instructions += reversed(leaf(verdict))
            return ("at", len(self.instructions))
        middle = len(spans) // 2
        above = self.tree(spans[middle:])
        below = self.tree(spans[:middle])
        return self.branch(JGE, spans[middle][0], above, below)

    def _near(self, target: Target) -> int:
        """The place of a target, or of a stepping stone to it when it is too far away."""
        kind, value = target
        place = self._returns.get(value) if kind == "return" else value
        distance = len(self.instructions) - (place or 0)
        if place is not None and distance <= self._REACH:
            return place
        if kind == "return":
            self.put(RET, value)
            self._returns[value] = len(self.instructions)
        else:
            self.put(JA, distance)
        return len(self.instructions)


def leaf(verdict: Verdict) -> list[Instruction]:
    """Code that returns, after looking at the arguments where the verdict depends on them."""
    if isinstance(verdict, int):
        return [(RET, 0, 0, verdict)]
    chain, otherwise = verdict
    code: list[Instruction] = []
    for action, conditions in chain:
        code += _link(action, conditions)
    code.append((RET, 0, 0, otherwise))
    return code


def _link(action: int, conditions: tuple[Condition, ...]) -> list[Instruction]:
    """`action` if all conditions hold, else fall out at the end."""
    # (code, k, where to if true, where to if false); None is the next instruction
    parts = [_compare(condition) for condition in conditions]
    length = sum(map(len, parts)) + 1
    code: list[Instruction] = []
    for part in parts:
        passed = len(code) + len(part)
        for operation, k, yes, no in part:
            here = len(code) + 1
            targets = {None: 0, _PASS: passed - here, _FAIL: length - here}
            code.append((operation, targets[yes], targets[no], k))
    code.append((RET, 0, 0, action))
    return code


def _compare(condition: Condition) -> list[tuple[int, int, str | None, str | None]]:
    """One condition on a 64-bit argument, 32 bits at a time, the high half first; both hosts are little-endian."""
    index, operator, value, second, narrow = condition
    low_at, high_at = ARGS + 8 * index, ARGS + 8 * index + 4
    high, low = value >> 32, value & 0xFFFFFFFF
    if operator == "MASKED_EQ":
        wanted = second & value
        code: list[tuple[int, int, str | None, str | None]] = []
        if high and not narrow:
            code += [(LD, high_at, None, None), (AND, high, None, None), (JEQ, wanted >> 32, None, _FAIL)]
        return [
            *code,
            (LD, low_at, None, None),
            (AND, low, None, None),
            (JEQ, wanted & 0xFFFFFFFF, None, _FAIL),
        ]
    high_half: list[tuple[int, int, str | None, str | None]] = []
    if not narrow:
        high_half = [(LD, high_at, None, None)]
        if operator == "EQ":
            high_half += [(JEQ, high, None, _FAIL)]
        elif operator == "NE":
            high_half += [(JEQ, high, None, _PASS)]
        elif operator in ("GT", "GE"):
            high_half += [(JGT, high, _PASS, None), (JEQ, high, None, _FAIL)]
        else:
            high_half += [(JGT, high, _FAIL, None), (JEQ, high, None, _PASS)]
    last = {
        "EQ": (JEQ, low, None, _FAIL),
        "NE": (JEQ, low, _FAIL, None),
        "GT": (JGT, low, None, _FAIL),
        "GE": (JGE, low, None, _FAIL),
        "LT": (JGE, low, _FAIL, None),
        "LE": (JGT, low, _FAIL, None),
    }[operator]
    return [*high_half, (LD, low_at, None, None), last]
