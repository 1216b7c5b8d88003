"""Device rules (OCI `linux.resources.devices`) for cgroup v1's lists and as a program for cgroup v2.

Rules are judged like v1's list after writing them one by one: the last rule that speaks about a device decides, and
what no rule speaks about is denied. On v2 the kernel asks an eBPF program of type CGROUP_DEVICE at every open and mknod
(admin-guide/cgroup-v2, "Device controller"); ours walks the rules from the last to the first.
"""

from __future__ import annotations

import errno
import os

from pyctr.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# linux/bpf.h
BLOCK, CHARACTER = 1, 2
ACCESS = {"m": 1, "r": 2, "w": 4}
ALL = 7


def normal(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules with "deny all" in front unless the first already speaks about everything."""
    if rules and (rules[0].get("type") or "a") != "a":
        return [{"allow": False, "access": "rwm"}, *rules]
    return rules


def line(rule: dict[str, Any]) -> str:
    """One rule as devices.allow wants it: "c 1:3 rwm"; missing numbers are any (-1 in older documents)."""
    kind = rule.get("type") or "a"
    numbers = ":".join("*" if number is None else str(number) for number in _numbers(rule))
    # "a" alone switches the whole list; the kernel ignores what follows it
    return "a" if kind == "a" else f"{kind} {numbers} {rule.get('access') or 'rwm'}"


def text(rule: dict[str, Any]) -> str:
    """One rule for people: "allow c 1:3 rwm"."""
    return f"{'allow' if rule.get('allow') else 'deny'} {line(rule)}"


def _numbers(rule: dict[str, Any]) -> tuple[int | None, int | None]:
    major, minor = rule.get("major"), rule.get("minor")
    return (None if major is None or major < 0 else major, None if minor is None or minor < 0 else minor)


def _access(rule: dict[str, Any]) -> int:
    mask = 0
    for letter in rule.get("access") or "rwm":
        if letter not in ACCESS:
            raise errors.UsageError(
                f"device access '{rule['access']}' has other letters than r, w and m", hint="for example 'rwm'"
            )
        mask |= ACCESS[letter]
    return mask


def program(rules: list[dict[str, Any]]) -> bytes:
    """The eBPF program for the rules. Raises UsageError for a rule that makes no sense.

    r1 points to struct bpf_cgroup_dev_ctx {u32 access_type, major, minor}, access_type being access << 16 | type.
    In the program r2 is the type, r3 the access asked for, r4 the major and r5 the minor number, r0 the verdict.
    """
    from pyctr.core.linux import bpf

    op = bpf.instruction
    out = [
        op(bpf.LDX_W, 2, 1, offset=0),
        op(bpf.MOV_REG, 3, 2),
        op(bpf.AND_IMM, 2, value=0xFFFF),
        op(bpf.RSH_IMM, 3, value=16),
        op(bpf.LDX_W, 4, 1, offset=4),
        op(bpf.LDX_W, 5, 1, offset=8),
    ]
    for rule in reversed(normal(rules)):
        kind = rule.get("type") or "a"
        if kind not in ("a", "b", "c", "u", "p"):
            raise errors.UsageError(f"device type '{kind}' is none of a, b, c", hint="c for character, b for block")
        if kind == "p":
            continue  # a FIFO is no device
        allow = bool(rule.get("allow"))
        access = _access(rule) if kind != "a" else ALL
        major, minor = _numbers(rule) if kind != "a" else (None, None)
        # every test that fails jumps over the rest of its rule; lengths are known only at the end
        tests: list[tuple[int, int, int]] = []
        if kind != "a":
            tests.append((bpf.JNE_IMM, 2, BLOCK if kind == "b" else CHARACTER))
        if major is not None:
            tests.append((bpf.JNE_IMM, 4, major))
        if minor is not None:
            tests.append((bpf.JNE_IMM, 5, minor))
        body: list[bytes] = []
        if access != ALL:
            # allowed if nothing else is asked for, denied if any of it is asked for
            body = [op(bpf.MOV_REG, 1, 3), op(bpf.AND_IMM, 1, value=ALL & ~access if allow else access)]
            body.append(op(bpf.JNE_IMM if allow else bpf.JEQ_IMM, 1, offset=2, value=0))
        body += [op(bpf.MOV_IMM, 0, value=int(allow)), op(bpf.EXIT)]
        for index, (code, register, value) in enumerate(tests):
            out.append(op(code, register, offset=len(tests) - index - 1 + len(body), value=value))
        out += body
        if not tests and access == ALL:
            return b"".join(out)  # decides everything; the verifier refuses instructions that cannot be reached
    out += [op(bpf.MOV_IMM, 0, value=0), op(bpf.EXIT)]
    return b"".join(out)


def attach(directory: str, rules: list[dict[str, Any]]) -> None:
    """Make the kernel judge every open and mknod in the v2 group by `rules`, in place of what was attached before.

    Raises PermissionDenied without CAP_BPF (or CAP_SYS_ADMIN), Unsupported before Linux 4.15 or without
    CONFIG_CGROUP_BPF.
    """
    from pyctr.core.linux import bpf

    code = program(rules)
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        old = bpf.attached_device_programs(group, directory)
        fd = bpf.load_device_program(code)
        try:
            bpf.attach_device_program(group, fd, directory)
        finally:
            os.close(fd)  # the group holds the program now
        # after the new one is in force, so that at no moment everything is allowed
        for id in old:
            fd = bpf.program_by_id(id)
            try:
                bpf.detach_device_program(group, fd, directory)
            finally:
                os.close(fd)
    except OSError as error:
        what = f"cannot attach the device rules of cgroup '{directory}': {(error.strerror or '').lower()}"
        if error.errno in (errno.EPERM, errno.EACCES):
            raise errors.PermissionDenied(what, hint="CAP_BPF or CAP_SYS_ADMIN is needed: run as root") from error
        if error.errno in (errno.EINVAL, errno.ENOSYS):
            raise errors.Unsupported(what, hint="needs Linux 4.15 with CONFIG_CGROUP_BPF") from error
        raise errors.RuntimeFailure(what) from error
    finally:
        os.close(group)
