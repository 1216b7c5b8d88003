"""bpf(2), as far as device control of cgroup v2 needs it."""

from __future__ import annotations

import struct

from pyctr.core.linux import foreign
from pyctr.core.linux.const import SYSCALLS
from pyctr.core.linux.libc import syscall

PROG_LOAD = 5
PROG_ATTACH = 8
PROG_DETACH = 9
PROG_GET_FD_BY_ID = 13
PROG_QUERY = 16

PROG_TYPE_CGROUP_DEVICE = 15
CGROUP_DEVICE = 6
"""enum bpf_attach_type"""
F_ALLOW_MULTI = 2

# linux/bpf_common.h and linux/bpf.h: instruction classes, sizes, operations
LDX_W = 0x61
MOV_IMM = 0xB7
MOV_REG = 0xBF
AND_IMM = 0x57
RSH_IMM = 0x77
JEQ_IMM = 0x15
JNE_IMM = 0x55
EXIT = 0x95


def instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """struct bpf_insn: registers are 0 to 10, `offset` counts instructions, `value` is signed."""
    return struct.pack("=BBhi", code, source << 4 | target, offset, value)


def _bpf(command: int, name: str, attributes: bytearray, path: str | None = None) -> int:
    buffer = (foreign.c_char * len(attributes)).from_buffer(attributes)
    return syscall(SYSCALLS["bpf"], command, buffer, len(attributes), name=f"bpf {name}", path=path)


def load_device_program(program: bytes) -> int:
    """Verify and load; returns a descriptor. OSError: EPERM without CAP_BPF or CAP_SYS_ADMIN, EINVAL if refused."""
    instructions = foreign.buffer(program, len(program))
    license = foreign.buffer(b"Apache-2.0")
    attributes = bytearray(128)
    struct.pack_into(
        "=IIQQIIQII16s", attributes, 0,
        PROG_TYPE_CGROUP_DEVICE, len(program) // 8, foreign.addressof(instructions), foreign.addressof(license),
        0, 0, 0, 0, 0, b"pyctr_devices",
    )  # fmt: skip
    return _bpf(PROG_LOAD, "PROG_LOAD", attributes)


def attach_device_program(cgroup: int, program: int, path: str | None = None) -> None:
    """To the group of the directory descriptor `cgroup`, beside the programs that are there: all must agree."""
    attributes = bytearray(128)
    struct.pack_into("=IIII", attributes, 0, cgroup, program, CGROUP_DEVICE, F_ALLOW_MULTI)
    _bpf(PROG_ATTACH, "PROG_ATTACH", attributes, path)


def detach_device_program(cgroup: int, program: int, path: str | None = None) -> None:
    attributes = bytearray(128)
    struct.pack_into("=III", attributes, 0, cgroup, program, CGROUP_DEVICE)
    _bpf(PROG_DETACH, "PROG_DETACH", attributes, path)


def attached_device_programs(cgroup: int, path: str | None = None) -> list[int]:
    """Ids of the programs attached to this very group (not inherited), at most 64."""
    ids = (foreign.c_uint32 * 64)()
    attributes = bytearray(128)
    struct.pack_into("=IIIIQI", attributes, 0, cgroup, CGROUP_DEVICE, 0, 0, foreign.addressof(ids), 64)
    _bpf(PROG_QUERY, "PROG_QUERY", attributes, path)
    (count,) = struct.unpack_from("=I", attributes, 24)
    return list(ids[:count])


def program_by_id(id: int) -> int:
    """A descriptor of a loaded program."""
    attributes = bytearray(128)
    struct.pack_into("=I", attributes, 0, id)
    return _bpf(PROG_GET_FD_BY_ID, "PROG_GET_FD_BY_ID", attributes)
