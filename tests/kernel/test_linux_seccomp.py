"""Filters in the real kernel: what a confined process sees."""

import ctypes
import errno
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.linux import process, seccomp
from pyctr.core.linux.libc import libc
from pyctr.core.linux.syscalls import TABLES

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

NUMBERS = TABLES[{"x86_64": "x86_64", "aarch64": "aarch64"}[os.uname().machine]]


def program(profile: str | dict[str, Any], tmp_path: Path, caps: tuple[str, ...] = ()) -> bytes:
    return seccomp.compiled(profile, caps, str(tmp_path))


def confined(code: bytes, body: Callable[[], Any]) -> Any:
    """What `body` returns in a child with the filter; the negative signal number if it is killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            process.no_new_privs()
            seccomp.load(code, seccomp.FLAG_SPEC_ALLOW)
            os.write(writer, json.dumps(body()).encode())
        except BaseException as error:
            os.write(writer, json.dumps(repr(error)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else json.loads(answer)


def call(name: str | int, *arguments: int) -> int:
    """errno of a raw call, 0 if it worked."""
    number = NUMBERS[name] if isinstance(name, str) else name
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(value) for value in arguments])
    return 0 if result >= 0 else ctypes.get_errno()


def test_the_default_profile_in_the_kernel(tmp_path: Path) -> None:
    def body() -> dict[str, Any]:
        return {
            "unshare": call("unshare", 0),
            "keyctl": call("keyctl", 0, -3, 0),
            "clone3": call("clone3", 0, 0),
            "namespace": call("clone", 0x10000000, 0, 0, 0, 0),
            "vsock": call("socket", 40, 1, 0),
            "vsock with a high bit": call("socket", 40 | 1 << 32, 1, 0),
            "unix": call("socket", 1, 1, 0),
            "unheard of": call(4321),
            "listns": call("listns", 0, 0, 0, 0),
            "python": sum(range(10)),
            "status": [line for line in open("/proc/self/status") if line.startswith("Seccomp:")],
        }

    assert confined(program(seccomp.DEFAULT, tmp_path), body) == {
        "unshare": errno.EPERM,
        "keyctl": errno.EPERM,
        "clone3": errno.ENOSYS,
        "namespace": errno.EPERM,
        "vsock": errno.EPERM,
        "vsock with a high bit": errno.EPERM,
        "unix": 0,
        "unheard of": errno.ENOSYS,
        "listns": errno.ENOSYS,
        "python": 45,
        "status": ["Seccomp:\t2\n"],
    }


def test_threads_processes_and_programs_run_below_the_default_profile(tmp_path: Path) -> None:
    def body() -> list[Any]:
        import threading

        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(threading.get_native_id()))
        thread.start()
        thread.join()
        done = subprocess.run(["/bin/sh", "-c", "echo $((6*7)) | cat"], capture_output=True, text=True)
        return [len(seen), done.stdout]

    assert confined(program(seccomp.DEFAULT, tmp_path), body) == [1, "42\n"]


def test_killing_actions_kill(tmp_path: Path) -> None:
    rule = {"names": ["getppid"], "action": "SCMP_ACT_KILL_PROCESS"}
    code = program({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, tmp_path)
    assert confined(code, os.getppid) == -signal.SIGSYS


def test_a_chosen_errno_arrives_and_arguments_count(tmp_path: Path) -> None:
    args = [
        {"index": 0, "value": 2, "op": "SCMP_CMP_GE"},
        {"index": 1, "value": 0xFF00000000, "valueTwo": 0x1200000000, "op": "SCMP_CMP_MASKED_EQ"},
    ]
    rule = {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args}
    code = program({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, tmp_path)
    high = 0x12 << 32
    answers = confined(
        code, lambda: [call("getpriority", 2, high), call("getpriority", 0, 0), call("getpriority", 2, 0)]
    )
    assert answers == [77, 0, 0]


def test_a_filter_cannot_be_taken_off_by_another(tmp_path: Path) -> None:
    deny = program(
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}]}, tmp_path
    )
    allow = program({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}, tmp_path)

    def body() -> int:
        seccomp.load(allow)
        return call("getppid")

    assert confined(deny, body) == errno.EPERM


def test_a_filter_needs_no_new_privs_or_privilege() -> None:
    code = seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW"}, arch=os.uname().machine, caps=[], kernel=(6, 1))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setuid(65534)
            seccomp.load(code)
        except PermissionError as error:
            status = 0 if "seccomp" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="int 0x80 is x86")
@pytest.mark.parametrize("listed", [True, False])
def test_the_32_bit_door_is_guarded(tmp_path: Path, listed: bool) -> None:
    """`int $0x80` from a 64-bit program makes an i386 call: number 310 is unshare there, 64 is getppid."""
    import mmap

    profile: dict[str, Any] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"] if listed else [],
        "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 55}],
    }
    code = program(profile, tmp_path)
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # push %rbx; mov $64,%eax; xor %ebx,%ebx; int $0x80; pop %rbx; ret
    page.write(b"\x53\xb8\x40\x00\x00\x00\x31\xdb\xcd\x80\x5b\xc3")
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    try:
        native = confined(
            program({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"]}, tmp_path), function
        )
        if native == -errno.ENOSYS:
            pytest.skip("this kernel runs no 32-bit programs")
        assert confined(code, function) == (-55 if listed else -signal.SIGSYS)
    finally:
        del function
