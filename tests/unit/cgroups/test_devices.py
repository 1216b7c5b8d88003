"""The device program answers as the rules say, for every order and kind of rule."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core import errors
from pyctr.core.cgroups import devices
from pyctr.core.linux import bpf


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """Interpret the few instructions the assembler uses, as the kernel would for one open or mknod."""
    mask = sum(devices.ACCESS[letter] for letter in access)
    context = struct.pack("=III", mask << 16 | (devices.BLOCK if kind == "b" else devices.CHARACTER), major, minor)
    registers, at = [0] * 11, 0
    while True:
        code, regs, offset, value = struct.unpack_from("=BBhi", program, at * 8)
        target, source = regs & 15, regs >> 4
        at += 1
        if code == bpf.LDX_W:
            assert source == 1
            (registers[target],) = struct.unpack_from("=I", context, offset)
        elif code == bpf.MOV_REG:
            registers[target] = registers[source]
        elif code == bpf.MOV_IMM:
            registers[target] = value
        elif code == bpf.AND_IMM:
            registers[target] &= value
        elif code == bpf.RSH_IMM:
            registers[target] >>= value
        elif code == bpf.JEQ_IMM:
            at += offset if registers[target] == value else 0
        elif code == bpf.JNE_IMM:
            at += offset if registers[target] != value else 0
        else:
            assert code == bpf.EXIT
            return bool(registers[0])


def judged(rules: list[dict[str, Any]], kind: str, major: int, minor: int, access: str) -> bool:
    """The meaning of the rules: the last that speaks about the request decides."""
    verdict = False
    for rule in rules:
        if (rule.get("type") or "a") == "a":
            verdict = rule["allow"]
            continue
        if rule["type"] != kind or rule.get("major", -1) not in (-1, major) or rule.get("minor", -1) not in (-1, minor):
            continue
        named = set(rule.get("access") or "rwm")
        if rule["allow"] and set(access) <= named:
            verdict = True
        if not rule["allow"] and set(access) & named:
            verdict = False
    return verdict


ACCESSES = ["r", "w", "m", "rw", "rm", "wm", "rwm"]
RULE = st.fixed_dictionaries(
    {"allow": st.booleans(), "type": st.sampled_from(["a", "b", "c"]), "access": st.sampled_from(ACCESSES)},
    optional={"major": st.sampled_from([-1, 1, 2]), "minor": st.sampled_from([-1, 3, 4])},
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(RULE, max_size=6),
    st.sampled_from(["b", "c"]),
    st.sampled_from([1, 2]),
    st.sampled_from([3, 4]),
    st.sampled_from(ACCESSES),
)
def test_the_last_rule_that_speaks_decides(rules: list[Any], kind: str, major: int, minor: int, access: str) -> None:
    # a first rule about everything or the implied "deny all" come to the same
    assert run(devices.program(rules), kind, major, minor, access) == judged(rules, kind, major, minor, access)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"allow": False, "access": "rwm"}, "deny a"),
        ({"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}, "allow c 1:3 rw"),
        ({"allow": True, "type": "b", "major": 8, "access": "m"}, "allow b 8:* m"),
        ({"allow": True, "type": "c", "major": -1, "minor": -1}, "allow c *:* rwm"),
    ],
)
def test_rules_as_text(rule: dict[str, Any], text: str) -> None:
    assert devices.text(rule) == text


@pytest.mark.parametrize("rule", [{"allow": True, "type": "x"}, {"allow": True, "type": "c", "access": "rwx"}])
def test_senseless_rules_are_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(errors.UsageError):
        devices.program([rule])
