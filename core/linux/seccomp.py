"""System call filters from profiles in the OCI form (config-linux.md, "Seccomp") or Docker's superset of it.

Docker's form adds `archMap`, and per rule `includes` and `excludes` with capabilities, architectures and a kernel
version. `compile` turns a profile into a program (what overlapping rules mean: see `seccomp_profile`), `compiled` keeps
programs on disk, `load` is all the shim does.
"""

from __future__ import annotations

import errno
import os
import struct

from pyctr import __version__
from pyctr.core.linux.const import MACHINE, SYSCALLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

DEFAULT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seccomp.json")
"""Path of the default profile: what the field allows an ordinary container."""

RET_KILL_PROCESS = 0x80000000
RET_KILL_THREAD = 0x00000000
RET_TRAP = 0x00030000
RET_ERRNO = 0x00050000
RET_USER_NOTIF = 0x7FC00000
RET_TRACE = 0x7FF00000
RET_LOG = 0x7FFC0000
RET_ALLOW = 0x7FFF0000

ACTIONS = {
    "SCMP_ACT_KILL": RET_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": RET_KILL_PROCESS,
    "SCMP_ACT_TRAP": RET_TRAP,
    "SCMP_ACT_ERRNO": RET_ERRNO,
    "SCMP_ACT_NOTIFY": RET_USER_NOTIF,
    "SCMP_ACT_TRACE": RET_TRACE,
    "SCMP_ACT_LOG": RET_LOG,
    "SCMP_ACT_ALLOW": RET_ALLOW,
}

FLAG_TSYNC = 1
FLAG_LOG = 2
FLAG_SPEC_ALLOW = 4
FLAG_NEW_LISTENER = 8
FLAG_TSYNC_ESRCH = 16
FLAG_WAIT_KILLABLE_RECV = 32
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": FLAG_WAIT_KILLABLE_RECV,
}


def load(program: bytes, flags: int = 0) -> int:
    """Confine the calling thread, and what it executes, for good. A descriptor with FLAG_NEW_LISTENER, else 0.

    Needs no_new_privs or CAP_SYS_ADMIN (EACCES). FLAG_SPEC_ALLOW is left out where the kernel is too old for it.
    """
    from pyctr.core.linux import foreign
    from pyctr.core.linux.libc import syscall

    if flags & FLAG_NEW_LISTENER and flags & FLAG_TSYNC:
        flags |= FLAG_TSYNC_ESRCH  # the result is a descriptor then, not the thread that could not be synchronised
    buffer = foreign.buffer(program, len(program))
    # struct sock_fprog
    fprog = struct.pack("HxxxxxxQ", len(program) // 8, foreign.addressof(buffer))
    set_mode_filter = 1
    try:
        return syscall(SYSCALLS["seccomp"], set_mode_filter, flags, fprog, name="seccomp")
    except OSError as error:
        if error.errno != errno.EINVAL or not flags & FLAG_SPEC_ALLOW:
            raise
    return syscall(SYSCALLS["seccomp"], set_mode_filter, flags & ~FLAG_SPEC_ALLOW, fprog, name="seccomp")


def allows(program: bytes, numbers: Iterable[int]) -> bool:
    """Whether a filter surely lets these system calls of this machine pass, whatever their arguments are."""
    arch = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(MACHINE)
    code = list(struct.iter_unpack("HBBI", program))
    return arch is not None and all(_verdict(code, {0: number, 4: arch}) == RET_ALLOW for number in numbers)


def _verdict(code: list[tuple[Any, ...]], known: dict[int, int]) -> int | None:
    """What a filter (classic BPF, see seccomp(2)) returns; None when that depends on more than `known`."""
    at, value = 0, 0
    while at < len(code):
        operation, yes, no, constant = code[at]
        at += 1
        if operation == 0x20 and constant in known:  # load a word of struct seccomp_data
            value = known[constant]
        elif operation == 0x06:  # return
            return int(constant)
        elif operation == 0x05:  # jump
            at += constant
        elif operation in _TESTS:
            at += yes if _TESTS[operation](value, constant) else no
        else:
            return None
    return None


_TESTS: dict[int, Callable[[int, int], bool]] = {
    0x15: lambda value, constant: value == constant,
    0x25: lambda value, constant: value > constant,
    0x35: lambda value, constant: value >= constant,
    0x45: lambda value, constant: bool(value & constant),
}


def flags(profile: dict[str, Any]) -> int:
    """The flags a profile asks for; SPEC_ALLOW when it names none, as the field's runtimes do."""
    if profile.get("flags") is None:
        return FLAG_SPEC_ALLOW
    bits = 0
    for name in profile["flags"]:
        if name not in FLAGS:
            raise ValueError(f"unknown seccomp flag '{name}'")
        bits |= FLAGS[name]
    return bits


def kernel_version() -> tuple[int, int]:
    """(major, minor) of this kernel."""
    return parse_version(os.uname().release)


def compile(profile: dict[str, Any], *, arch: str, caps: Iterable[str], kernel: tuple[int, int]) -> bytes:
    """A BPF program. `arch` is the host's machine, `caps` the container's bounding set ("CAP_CHOWN", ...).

    Raises ValueError for an unknown action, operator, architecture or a machine whose numbers we lack. Names of calls
    that no architecture knows are passed over: profiles are written for several kernels.
    """
    from pyctr.core.linux import seccomp_profile

    return seccomp_profile.program(profile, arch, frozenset(caps), kernel)


def compiled(
    profile: str | dict[str, Any],
    caps: Iterable[str],
    cache_dir: str,
    *,
    arch: str = MACHINE,
    kernel: tuple[int, int] | None = None,
) -> bytes:
    """`compile`, remembered in `cache_dir`, which may be emptied at any time.

    A profile given by path is looked up by its inode, size and times without being read. A cache that cannot be
    written is done without; one that others could have written is not believed.
    """
    import _sha1  # type: ignore[import-not-found]  # `hashlib` loads OpenSSL

    kernel = kernel or kernel_version()
    if isinstance(profile, str):
        status = os.stat(profile)
        identity = f"{os.path.abspath(profile)}:{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
        identity += f":{status.st_ctime_ns}"
    else:
        import json

        identity = json.dumps(profile, sort_keys=True)
    names = sorted(caps)
    key = f"{_compiler()}\n{arch} {kernel[0]}.{kernel[1]}\n{' '.join(names)}\n{identity}\n".encode()
    path = os.path.join(cache_dir, f"seccomp-{_sha1.sha1(key).hexdigest()[:16]}")
    program = _read_cache(path, key)
    if program is not None:
        return program
    if isinstance(profile, str):
        import json

        with open(profile, "rb") as file:
            try:
                profile = json.loads(file.read())
            except ValueError as error:
                raise ValueError(f"'{file.name}' is not valid JSON: {error}") from error
        if not isinstance(profile, dict) or "defaultAction" not in profile:
            raise ValueError(f"'{file.name}' is not a seccomp profile: no 'defaultAction'")
    program = compile(profile, arch=arch, caps=names, kernel=kernel)
    _write_cache(path, key, program)
    return program


def _compiler() -> str:
    """Differs when another pyctr, which may compile differently, uses the same cache."""
    here = os.path.dirname(os.path.abspath(__file__))
    times = []
    for name in ("bpftree.py", "seccomp_profile.py", "syscalls.py"):
        try:
            times.append(str(os.stat(f"{here}/{name}").st_mtime_ns))
        except OSError:
            times.append("-")  # not installed as source files: the version alone tells
    return f"pyctr {__version__} {' '.join(times)}"


def _read_cache(path: str, key: bytes) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return None
        content = os.read(fd, status.st_size + 1)
    finally:
        os.close(fd)
    # the whole key and the length are compared: neither a hash collision nor half a file passes
    head = key + struct.pack("=I", len(content) - len(key) - 4) if len(content) > len(key) + 4 else b""
    if not head or not content.startswith(head) or len(content[len(head) :]) % 8:
        return None
    return content[len(head) :]


def _write_cache(path: str, key: bytes, program: bytes) -> None:
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, key + struct.pack("=I", len(program)) + program)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        pass  # read-only, full: the next start compiles again


def parse_version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = ""
    for character in rest:
        if not character.isdigit():
            break
        minor += character
    if not major.isdigit() or not minor:
        raise ValueError(f"'{text}' is no kernel version")
    return int(major), int(minor)
