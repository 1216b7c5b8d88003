"""The runtime's own sockets and records, for who should not use them."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from pyctr.core.linux import caps, const, namespaces
from pyctr.core.runtime import sync
from tests.support.host import Host
from tests.support.insider import DEFAULT


def served(path: str, mask: int | None = None, *, users: bool = False) -> bool:
    """Whether a socket answers to root with these capabilities, or with all in a user namespace of its own."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            if users:
                namespaces.unshare(const.CLONE_NEWUSER)
                Path("/proc/self/uid_map").write_text("0 0 1")
            if mask is not None:
                caps.drop_bounding(mask)
                caps.set(mask, mask, 0)
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(10)
                peer.connect(path)
                # "no further restarts": the shim says done; the launcher's child ends its parent and closes
                peer.sendall(sync.frame(sync.STOP))
                code = 0 if peer.recv(1) else 1
        except (ConnectionResetError, BrokenPipeError):
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_peer_that_is_gone_is_not_whoever_has_its_pid_now(tmp_path: Path) -> None:
    """SO_PEERCRED is a number: its next owner may be the host's root."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        pid = os.fork()
        if pid == 0:
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(tmp_path / "s"))
            os._exit(0)
        connected, _ = listening.accept()
        with connected:
            try:
                connected.getsockopt(socket.SOL_SOCKET, 77)
            except OSError as error:
                if error.errno == errno.ENOPROTOOPT:
                    pytest.skip("SO_PEERPIDFD needs Linux 6.5")
            os.waitpid(pid, 0)
            for _ in range(200):
                Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
                heir = os.fork()
                if heir == 0:
                    signal.pause()
                if heir == pid:
                    break
                os.kill(heir, signal.SIGKILL)
                os.waitpid(heir, 0)
            try:
                assert heir == pid, "other processes were quicker every time"
                assert not sync.trusted(connected)
            finally:
                os.kill(heir, signal.SIGKILL)
                os.waitpid(heir, 0)


def test_root_of_a_container_is_not_the_hosts_root_for_a_shim(host: Host) -> None:
    """With the run directory mounted, or by a shared pid namespace, uid 0 with a container's capabilities connects."""
    id = host.run("run", "-d", "localhost/base", "sleep", "1000").stdout.strip()
    path = f"{host.paths.run}/containers/{id}/shim.sock"
    assert served(path), "the host's root is"
    assert not served(path, DEFAULT)
    assert not served(path, DEFAULT | caps.mask(["CAP_SYS_PTRACE", "CAP_NET_ADMIN"]))
    assert not served(path, users=True), "its capabilities mean nothing here"
    assert host.run("exec", id, "echo", "still").stdout == "still\n"


def test_a_launcher_forks_for_nobody_with_fewer_rights(host: Host) -> None:
    host.run("run", "--rm", "localhost/base", "true")
    (path,) = Path(host.paths.run).glob("launcher-*.sock")
    assert not served(str(path), DEFAULT)
    assert path.exists(), "a word to end was obeyed"


def test_records_are_closed_and_no_socket_is_without_a_path(host: Host) -> None:
    id = host.run("run", "-d", "localhost/base", "sleep", "1000").stdout.strip()
    for directory in (host.paths.containers, host.paths.container(id), host.paths.run, host.paths.runtime(id)):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700, directory
    for file in ("state.json", "config.json"):
        assert not os.stat(host.paths.container(id, file)).st_mode & 0o077, file
    shim = [pid for pid in os.listdir("/proc") if pid.isdigit() and host.base in arguments(pid)]
    held = {link for pid in shim for link in links(pid)}
    abstract = [line.split() for line in Path("/proc/net/unix").read_text().splitlines() if " @" in line]
    assert not [line for line in abstract if f"socket:[{line[6]}]" in held]


def arguments(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def links(pid: str) -> list[str]:
    try:
        return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except (FileNotFoundError, ProcessLookupError):
        return []


def test_values_of_the_environment_are_in_no_argument_and_no_journal(host: Host, tmp_path: Path) -> None:
    secret = "s3cret-" + os.urandom(6).hex()
    file = tmp_path / "env"
    file.write_text(f"PASSWORD={secret}\n")
    id = host.run("run", "-d", "--env-file", str(file), "localhost/base", "sleep", "1000").stdout.strip()
    host.run("exec", "--env-file", str(file), id, "true", check=False)
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and secret in arguments(pid)]
    assert secret not in Path(host.paths.events).read_text()
    assert subprocess.run(["grep", "-rl", secret, host.paths.run], capture_output=True, text=True).stdout == ""
