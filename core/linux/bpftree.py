"""Classic BPF for seccomp (seccomp(2), Documentation/userspace-api/seccomp_filter.rst): a balanced tree over numbers.

    ld arch
    jeq AUDIT_ARCH_X86_64 ──no──> jeq AUDIT_ARCH_I386 ──no──> return the verdict for foreign programs
     │ yes                         │ yes
    ld nr                         ld nr
    jge 128 ── jge 64 ── ...      ...            inner nodes halve the list of spans with one verdict
     │          └ ret ALLOW                      leaves return, or look at arguments first
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
    Instruction = tuple[int, int, int, int]

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
    code: list[Instruction] = [(LD, 0, 0, ARCH)]
    for arch, spans in sections:
        body = [(LD, 0, 0, NR), *tree(spans)]
        if len(body) <= 255:
            code.append((JEQ, 0, len(body), arch))
        else:
            # conditional jumps reach 255 instructions
            code += [(JEQ, 1, 0, arch), (JA, 0, 0, len(body))]
        code += body
    code.append((RET, 0, 0, foreign))
    return code


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


def tree(spans: list[tuple[int, Verdict]]) -> list[Instruction]:
    """Code that finds the span of the number in the accumulator."""
    if len(spans) == 1:
        return leaf(spans[0][1])
    middle = len(spans) // 2
    below, above = tree(spans[:middle]), tree(spans[middle:])
    if len(below) <= 255:
        return [(JGE, len(below), 0, spans[middle][0]), *below, *above]
    return [(JGE, 0, 1, spans[middle][0]), (JA, 0, 0, len(below)), *below, *above]


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
