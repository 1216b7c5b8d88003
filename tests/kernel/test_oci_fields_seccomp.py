"""`linux.seccomp` in containers: actions, arguments, flags, architectures, and somebody who answers."""

from __future__ import annotations

import _socket
import array
import ctypes
import errno
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyctr.core.linux.syscalls import TABLES
from tests.support.oci import Oci

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")

NUMBERS = TABLES["x86_64"]


def seccomp(*rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> Callable[[dict[str, Any]], None]:
    profile = {"defaultAction": default, "syscalls": list(rules), **more}
    return lambda config: config["linux"].update(seccomp=profile)


def rule(action: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": f"SCMP_ACT_{action}", **more}


def test_errno_is_eperm_unless_named(oci: Oci) -> None:
    assert "Operation not permitted" in oci.inside("mkdir /tmp/x 2>&1 || true", seccomp(rule("ERRNO", "mkdir")))
    said = oci.inside("mkdir /tmp/x 2>&1 || true", seccomp(rule("ERRNO", "mkdir", errnoRet=errno.EXDEV)))
    assert "cross-device link" in said
    profile = seccomp(rule("ALLOW", *(set(NUMBERS) - {"mkdir"})), default="SCMP_ACT_ERRNO", defaultErrnoRet=errno.EXDEV)
    assert "cross-device link" in oci.inside("mkdir /tmp/x 2>&1 || true", profile)


@pytest.mark.parametrize(
    ("action", "code"), [("KILL", 128 + 31), ("KILL_THREAD", 128 + 31), ("KILL_PROCESS", 128 + 31), ("TRAP", 128 + 31)]
)
def test_killing_and_trapping(oci: Oci, action: str, code: int) -> None:
    assert oci.inside("mkdir /tmp/x 2>/dev/null || echo $?", seccomp(rule(action, "mkdir"))).split() == [str(code)]


def test_log_lets_the_call_through(oci: Oci) -> None:
    assert oci.inside("mkdir /tmp/x && echo made", seccomp(rule("LOG", "mkdir"))) == "made\n"


def test_trace_without_a_tracer_is_enosys(oci: Oci) -> None:
    assert "Function not implemented" in oci.inside(
        "mkdir /tmp/x 2>&1 || true", seccomp(rule("TRACE", "mkdir", errnoRet=7))
    )


@pytest.mark.parametrize(
    ("op", "value", "second", "refused"),
    [
        ("EQ", 0o700, 0, True),
        ("EQ", 0o701, 0, False),
        ("NE", 0o700, 0, False),
        ("LT", 0o701, 0, True),
        ("LE", 0o700, 0, True),
        ("GT", 0o700, 0, False),
        ("GE", 0o700, 0, True),
        ("MASKED_EQ", 0o070, 0, True),
        ("MASKED_EQ", 0o700, 0o700, True),
        ("MASKED_EQ", 0o700, 0o100, False),
    ],
)
def test_arguments_are_compared(oci: Oci, op: str, value: int, second: int, refused: bool) -> None:
    args = [{"index": 1, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": second}]
    script = "touch /tmp/x; busybox chmod 700 /tmp/x 2>/dev/null && echo done || echo refused"
    assert (oci.inside(script, seccomp(rule("ERRNO", "chmod", args=args))) == "refused\n") == refused


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["SECCOMP_FILTER_FLAG_LOG"],
        ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        ["SECCOMP_FILTER_FLAG_TSYNC"],
        ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
    ],
)
def test_flags_are_taken(oci: Oci, flags: list[str]) -> None:
    assert oci.inside("mkdir /tmp/x 2>/dev/null || echo no", seccomp(rule("ERRNO", "mkdir"), flags=flags)) == "no\n"


def test_spec_allow_leaves_speculation_alone(oci: Oci) -> None:
    see = "grep Speculation_Store_Bypass /proc/self/status"
    with_flag = oci.inside(see, seccomp(rule("ERRNO", "mkdir"), flags=["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]))
    plain = oci.inside(see, lambda config: None)
    assert with_flag == plain


@pytest.mark.parametrize("new", [True, False])
def test_the_filter_holds_without_no_new_privileges_too(oci: Oci, new: bool) -> None:
    change = seccomp(rule("ERRNO", "mkdir"))
    out = oci.inside(
        "mkdir /tmp/x 2>/dev/null || grep -E '^Seccomp:|NoNew' /proc/self/status", change, noNewPrivileges=new
    )
    assert out.split() == ["NoNewPrivs:", str(int(new)), "Seccomp:", "2"]


def test_a_filter_may_kill_for_all_that_the_start_itself_does(oci: Oci) -> None:
    """Between the filter and execve nothing is called that a profile of a bare program would not list."""
    program = _exit_program(oci, 42)
    config = oci.config(program)
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [rule("ALLOW", "execve", "exit", "exit_group", "write", "read", "brk", "mmap", "munmap", "futex")],
    }
    assert oci.run_config(config).returncode == 42


def _exit_program(oci: Oci, code: int, *, narrow: bool = False) -> str:
    """A static program that only exits; `narrow` through the 32-bit door."""
    if narrow:
        text = b"\xb8\x01\x00\x00\x00\xbb" + struct.pack("<I", code) + b"\xcd\x80"
    else:
        text = b"\xb8\x3c\x00\x00\x00\xbf" + struct.pack("<I", code) + b"\x0f\x05"
    return _program(oci, text)


def _program(oci: Oci, text: bytes) -> str:
    base = 0x400000
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = 120 + len(text)
    head += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 4096)
    path = oci.rootfs / "program"
    path.write_bytes(head + text)
    path.chmod(0o755)
    return "/program"


@pytest.mark.parametrize(("listed", "code"), [(True, 7), (False, 128 + 31)])
def test_architectures_that_are_not_listed_kill(oci: Oci, listed: bool, code: int) -> None:
    config = oci.config(_exit_program(oci, 7, narrow=True))
    names = ["SCMP_ARCH_X86_64", *(["SCMP_ARCH_X86", "SCMP_ARCH_X32"] if listed else [])]
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": names}
    assert oci.run_config(config).returncode == code


@pytest.mark.parametrize(("listed", "code"), [(True, 9), (False, 128 + 31)])
def test_x32_is_an_architecture_of_its_own(oci: Oci, listed: bool, code: int) -> None:
    """getpid by its x32 number, whatever it answers; then exit."""
    text = b"\xb8" + struct.pack("<I", 0x40000000 | 39) + b"\x0f\x05"
    text += b"\xb8\x3c\x00\x00\x00\xbf" + struct.pack("<I", 9) + b"\x0f\x05"
    config = oci.config(_program(oci, text))
    names = ["SCMP_ARCH_X86_64", *(["SCMP_ARCH_X32"] if listed else [])]
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": names}
    assert oci.run_config(config).returncode == code


class Agent:
    """Answers every call it is asked about with an errno of its own, as the specification's seccomp agent."""

    def __init__(self, path: str, answer: int) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.socket.listen(4)
        self.states: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self.answer = answer
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            data, fds = b"", array.array("i")
            while True:
                part, ancillary, _, _ = connection.recvmsg(65536, _socket.CMSG_SPACE(64))
                for _, _, raw in ancillary:
                    fds.frombytes(raw)
                if not part:
                    break
                data += part
            connection.close()
            self.states.append(json.loads(data))
            threading.Thread(target=self._answer, args=(fds[0],), daemon=True).start()

    def _answer(self, fd: int) -> None:
        """SECCOMP_IOCTL_NOTIF_RECV and _SEND (seccomp_unotify(2)), until all who have the filter are gone."""
        libc = ctypes.CDLL(None, use_errno=True)
        calls = select.poll()
        calls.register(fd, select.POLLIN)
        while calls.poll()[0][1] & select.POLLIN:
            asked = ctypes.create_string_buffer(80)
            if libc.ioctl(fd, ctypes.c_ulong(0xC0502100), asked) < 0:
                if ctypes.get_errno() == errno.ENOENT:  # killed in between
                    continue
                break
            id, _, _, number = struct.unpack_from("=QIIi", asked.raw)
            self.calls.append(number)
            reply = struct.pack("=QqiI", id, 0, -self.answer, 0)
            libc.ioctl(fd, ctypes.c_ulong(0xC0182101), reply)
        os.close(fd)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture
def agent(oci: Oci) -> Iterator[Agent]:
    agent = Agent(str(oci.path / "agent.sock"), errno.EXDEV)
    yield agent
    agent.close()


def test_somebody_else_answers(oci: Oci, agent: Agent) -> None:
    config = oci.config("sh", "-c", "mkdir /tmp/x 2>&1; echo $?")
    config["annotations"] = {"k": "v"}
    seccomp(
        rule("NOTIFY", "mkdir"),
        listenerPath=str(oci.path / "agent.sock"),
        listenerMetadata="opaque data",
        flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    )(config)
    done = oci.run_config(config)
    assert "cross-device link" in done.stdout, done.stderr
    assert agent.calls == [NUMBERS["mkdir"]]
    (state,) = agent.states
    pid = state.pop("pid")
    assert pid > 1 and state["state"].pop("pid") == pid
    assert state.pop("state") == {
        "ociVersion": "1.2.0",
        "id": "one",
        "status": "creating",
        "bundle": str(oci.path),
        "annotations": {"k": "v"},
    }
    assert state == {"ociVersion": "1.2.0", "fds": ["seccompFd"], "metadata": "opaque data"}


def test_a_filter_with_a_listener_may_refuse_sendmsg(oci: Oci, agent: Agent) -> None:
    change = seccomp(
        rule("NOTIFY", "mkdir"), rule("ERRNO", "sendmsg", "sendto"), listenerPath=str(oci.path / "agent.sock")
    )
    assert "cross-device link" in oci.inside("mkdir /tmp/x 2>&1 || true", change)


def test_a_created_container_is_listened_to_from_its_start_on(oci: Oci, agent: Agent) -> None:
    config = oci.config("sh", "-c", "mkdir /tmp/x 2> /said; sleep 100")
    seccomp(rule("NOTIFY", "mkdir"), listenerPath=str(oci.path / "agent.sock"))(config)
    oci.write(config)
    assert oci.cli("create", "--bundle", str(oci.path), "one").returncode == 0
    started = oci.cli("start", "one")
    assert started.returncode == 0, started.stderr
    run = oci.cli("exec", "one", "mkdir", "/tmp/y")
    oci.cli("delete", "--force", "one")
    assert run.returncode != 0 and "cross-device link" in run.stderr
    assert [state["state"]["status"] for state in agent.states] == ["creating", "running"]


def test_a_listener_that_nobody_takes_is_named(oci: Oci) -> None:
    said = oci.refused(seccomp(rule("NOTIFY", "mkdir"), listenerPath="/nowhere/agent.sock"))
    assert "linux.seccomp.listenerPath: nobody takes the listener at '/nowhere/agent.sock'" in said


def test_an_operator_nobody_knows_is_named_by_its_path(oci: Oci) -> None:
    said = oci.refused(
        seccomp(
            rule("ERRNO", "mkdir"),
            rule("ERRNO", "rmdir", args=[{"index": 0, "value": 1, "op": "SCMP_CMP_ODD"}]),
        )
    )
    assert said.endswith("linux.seccomp.syscalls[1].args[0].op: 'SCMP_CMP_ODD' is unknown")
