"""Four programs of a few hundred bytes, for where an interpreter must not be; their sources are asm/*.

    init     PID 1 of a container with --init: nothing of the host is in its memory or behind /proc/1/exe
    gate     the end of a container's init: waits for `start`, installs the filter, executes the command
    spawn    becomes its argv[0], read-only: neither /proc/PID/exe nor a "#!/proc/self/exe" leads to a file of the host
             that can be overwritten (CVE-2019-5736)
    doze     waits in the place of an interpreter, and becomes it again when there is something to do (`runtime.doze`)

They are executed from a sealed memfd, which needs neither an installed binary nor a directory without noexec. A test
assembles the sources and compares. Clients use this: it imports no ctypes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_CODE = {
    ("init", "x86_64"): (
        "488b74241031db0fb60648ffc683e83078076bdb0a01c3ebeebf0f000000488d3593000000b89d0000000f0531ff488d35830000"
        "00ba01000000b8010000000f0531ffb8030000000f056aff6aff4889e731f631d241ba08000000b8800000000f0585c07ee883f8"
        "11740d89df89c6b83e0000000f05ebd648c7c7ffffffff488d742408ba010000004531d2b83d0000000f0585c07eb739d875dd8b"
        "44240889c783e77f740881c780000000eb030fb6fcb8e70000000f0570796374722d696e697400"
    ),
    ("init", "aarch64"): (
        "e10b40f913008052430180522014403800c00071640000547302031bfcffff17e00180d2c1050010e81480d2010000d4000080d2"
        "41050010220080d2080880d2010000d4000080d2280780d2010000d409008092e927bfa9e0030091010080d2020080d2030180d2"
        "281180d2010000d41f0000712dffff541f440071c0000054e103002ae003132a281080d2010000d4f2ffff1700008092e1230091"
        "220080d2030080d2882080d2010000d41f0000714dfdff541f00136be1feff54e10b40b920180072600000540000021102000014"
        "203c0853c80b80d2010000d470796374722d696e697400"
    ),
    ("gate", "x86_64"): (
        "4989e64c8d255e010000458b2c24458b7c2404bf0400000031f6b89d0000000f054585ed786abf0f000000488d3526010000b89d"
        "0000000f05488d1d100100000fb63b48ffc385ff7418488d35df00000031d241ba08000000b80d0000000f05ebde6a004489ef48"
        "89e6ba0100000031c00f0583f8010f859e0000004489efbe02000000ba01000000b8480000000f054489ffbe02000000ba010000"
        "00b8480000000f0585c0757231ed418b44240c85c0741f498d4c24105150bf01000000418b7424084889e2b83d0100000f0585c0"
        "7519ffc5498b06498b7e08498d7610498d54c610b83b0000000f05f7d84883ec20c644240358c74424040000000889442408896c"
        "240c4489ff488d742403ba0d000000b8010000000f05bf81ffffff81c780000000b8e70000000f050f1f40009701400000000000"
        "0000000400000000970140000000000000000000000000000102030a0c0e0f0070796374722d696e6974000f1f440000"
    ),
    ("gate", "aarch64"): (
        "f4030091f50a0010b65e4029800080d2010080d2e81480d2010000d47603f837e00180d261090010e81480d2010000d4d8080010"
        "00174038e000003461070010020080d2030180d2c81080d2010000d4f9ffff17ff4300d1e003162ae1030091220080d2e80780d2"
        "010000d41f04007141050054e003162a410080d2220080d2280380d2010000d4e003172a410080d2220080d2280380d2010000d4"
        "e003003519008052a10e40b921010034a2420091e10bbfa9200080d2a10a40b9e2030091a82280d2010000d40001003539008052"
        "830240f9800640f981420091220c038ba81b80d2010000d4e003004bff8300d1010b8052e10f00390100a152e1830029f90f00b9"
        "e003172ae10f0091a20180d2080880d2010000d4c00f801200000211c80b80d2010000d494014000000000000000000400000000"
        "940140000000000000000000000000000102030a0c0e0f0070796374722d696e697400001f2003d5"
    ),
    ("spawn", "x86_64"): (
        "488b04244c8d6c24084d8d74c508bf9cffffff498b7500ba01000800b8ac0100000f0585c0784d89c389c7488d3586000000ba00"
        "1000004c8d155a00000041b820000000b8ba0100000f0585c0781c89df488d35600000004c89ea4d89f241b800100000b8420100"
        "000f0589dfb8030000000f05498b7d004c89ee4c89f2b83b0000000f05bf7f000000b8e70000000f050f1f800000000001000000"
        "0000000000000000000000000000000000000000000000000000000000"
    ),
    ("spawn", "aarch64"): (
        "e00340f9f3230091740e008b94220091600c8092610240f92200805242000d32883580d2010000d41f0000718b020054f503002a"
        "61040010020082d223030010040480d2483780d2010000d41f0000710b010054e003152a41030010e20313aae30314aa040082d2"
        "282380d2010000d4e003152a280780d2010000d4600240f9e10313aae20314aaa81b80d2010000d4e00f80d2c80b80d2010000d4"
        "1f2003d5010000000000000000000000000000000000000000000000000000000000000000"
    ),
    ("doze", "x86_64"): (
        "488b04244c8d6c24084d8d74c508bf0f000000488d3527010000b89d0000000f05bf0400000031f6b89d0000000f054c8d250b01"
        "0000418a042449ffc484c075f5bf03000000488d7424c0ba0100000049c7c2ffffffff4531c0b8190100000f0583f8fc74dbbf9c"
        "ffffff4c89e6ba04000000b80d0100000f0585c07577bf9cffffff498b7500ba01000800b8ac0100000f0585c0784d89c389c748"
        "8d359e000000ba001000004c8d156200000041b820000000b8ba0100000f0585c0781c89df488d35780000004c89ea4d89f241b8"
        "00100000b8420100000f0589dfb8030000000f05498b7d004c89ee4c89f2b83b0000000f05488d3d3400000031f6b8230000000f"
        "05e937ffffff660f1f44000001000000000000000000000000000000000000000000000000000000000000000100000000000000"
        "000000000000000000"
    ),
    ("doze", "aarch64"): (
        "e00340f9f3230091740e008b94220091ff0301d1e00180d241090030e81480d2010000d4800080d2010080d2e81480d2010000d4"
        "76080030c0164038e0ffff35600080d2e1030091220080d203008092040080d2c80280d2010000d41f10003100ffff54600c8092"
        "e10316aa820080d2080680d2010000d420040035600c8092610240f92200805242000d32883580d2010000d41f0000718b020054"
        "f503002a01050010020082d243030010040480d2483780d2010000d41f0000710b010054e003152ae1030010e20313aae30314aa"
        "040082d2282380d2010000d4e003152a280780d2010000d4600240f9e10313aae20314aaa81b80d2010000d4a0010010010080d2"
        "a80c80d2010000d4cdffff1701000000000000000000000000000000000000000000000000000000000000000100000000000000"
        "000000000000000000"
    ),
}
"""(name, machine as in uname(2)): what follows the headers."""
_MACHINES = {"x86_64": (62, 0x1000), "aarch64": (183, 0x10000)}
"""e_machine and p_align (elf(5))."""
_BASE = 0x400000
_HEADERS = 64 + 56
_MFD_EXEC = 0x10


def possible() -> bool:
    """Whether `program` can make any, found out at the price of two system calls."""
    if os.uname().machine not in _MACHINES:
        return False
    try:
        os.close(_memory("probe"))
    except OSError:
        return False
    return True


def image(name: str, machine: str, data: bytes = b"") -> bytes:
    """The whole ELF file: its header, one loadable segment, the code and the `data` after its end.

    Raises KeyError for another machine.
    """
    code = bytes.fromhex(_CODE[name, machine]) + data
    number, align = _MACHINES[machine]
    head = struct.pack("<4s12B", b"\x7fELF", 2, 1, 1, *[0] * 9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = _HEADERS + len(code)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, align) + code


def program(name: str, data: bytes = b"") -> int:
    """A close-on-exec descriptor, not below 4, of a program that nobody can change.

    Raises OSError: ENOSYS on a machine there is no code for, EACCES where vm.memfd_noexec forbids it.
    """
    try:
        content = image(name, os.uname().machine, data)
    except KeyError:
        raise OSError(errno.ENOSYS, f"no '{name}' for this machine") from None
    return sealed(name, content)


def sealed(name: str, content: bytes) -> int:
    """The same of any program. Raises OSError."""
    fd = _memory(name)
    try:
        os.write(fd, content)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        # a descriptor for writing keeps the file from being executed (ETXTBSY)
        readable = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(fd)
    try:
        return fcntl.fcntl(readable, fcntl.F_DUPFD_CLOEXEC, 4)
    finally:
        os.close(readable)


def _memory(name: str) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(f"pyctr-{name}", flags | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(f"pyctr-{name}", flags)  # before Linux 6.3 all of them are executable
