"""libseccomp of this host, through ctypes: what it calls a number, and the filter it would generate."""

import ctypes
import os
import struct

TOKENS = {"x86_64": 0xC000003E, "x86": 0x40000003, "x32": 0x4000003E, "aarch64": 0xC00000B7, "arm": 0x40000028}

NE, LT, LE, EQ, GE, GT, MASKED_EQ = range(1, 8)
OPERATORS = {
    f"SCMP_CMP_{name}": number
    for name, number in zip(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), range(1, 8), strict=True)
}


class _Compare(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


def load() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    return library


def resolve(library: ctypes.CDLL, arch: str, name: str) -> int:
    """The number of a syscall; -1 where the library does not know the name, other negatives where the arch lacks it."""
    return int(library.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(TOKENS[arch]), name.encode()))


class Filter:
    def __init__(self, library: ctypes.CDLL, default: int, arches: list[str]) -> None:
        self.library = library
        self.context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
        assert self.context.value
        for arch in arches:
            result = library.seccomp_arch_add(self.context, ctypes.c_uint32(TOKENS[arch]))
            assert result in (0, -17), result  # -EEXIST: the native one is there

    def add(self, action: int, name: str, conditions: list[tuple[int, int, int, int]]) -> int:
        number = self.library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            return -1
        array = (_Compare * len(conditions))(*[_Compare(*condition) for condition in conditions])
        return int(
            self.library.seccomp_rule_add_array(
                self.context, ctypes.c_uint32(action), ctypes.c_int(number), len(conditions), array
            )
        )

    def export(self) -> bytes:
        fd = os.memfd_create("filter")
        try:
            assert self.library.seccomp_export_bpf(self.context, fd) == 0
            size = os.fstat(fd).st_size
            return os.pread(fd, size, 0)
        finally:
            os.close(fd)
            self.library.seccomp_release(self.context)


def sock_filters(program: bytes) -> int:
    return len(program) // struct.calcsize("=HBBI")
