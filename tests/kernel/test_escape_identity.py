"""What a process inside is and may, asked from inside by every way a process gets there."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from pyctr.core.linux import procfs
from tests.support.host import REPOSITORY, Host
from tests.support.insider import DEFAULT
from tests.support.oci import Oci

Inside = Callable[..., "subprocess.CompletedProcess[str]"]
IMAGE = "localhost/base"
PYTHON = os.path.realpath(sys.executable)
NUMBERS = {
    "x86_64": {"mount": 165, "unshare": 272, "keyctl": 250, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425},
    "aarch64": {"mount": 40, "unshare": 97, "keyctl": 219, "bpf": 280, "userfaultfd": 282, "io_uring_setup": 425},
}[os.uname().machine]


@pytest.fixture(params=["run", "exec", "init"])
def inside(host: Host, request: pytest.FixtureRequest) -> Inside:
    """Runs words in a container, as its first process, below `--init`, or as a further one. The host's root is at
    /host, read-only, for an interpreter."""
    way: str = request.param

    def call(*words: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        common = [*flags, "--network", "none", "-v", "/:/host:ro"]
        if way != "exec":
            init = ["--init"] if way == "init" else []
            return host.run("run", "--rm", *init, *common, IMAGE, *words, check=False)
        id = host.run("run", "-d", *common, IMAGE, "sleep", "1000").stdout.strip()
        return host.run("exec", id, *words, check=False)

    return call


def python(code: str) -> tuple[str, ...]:
    """Words that run code in the interpreter of the host, as root inside."""
    return ("chroot", "/host", PYTHON, "-I", "-S", "-c", "import ctypes, os\n" + code)


CALLS = """
libc = ctypes.CDLL(None, use_errno=True)
def errno_of(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return os.strerror(ctypes.get_errno()) if result < 0 else 'done'
"""


def test_the_default_profile_refuses_what_the_fields_default_refuses(inside: Inside) -> None:
    n = NUMBERS
    code = CALLS + "\n".join(
        f"print({name!r}, errno_of({arguments}))"
        for name, arguments in {
            "new user namespace": f"{n['unshare']}, 0x10000000",
            "mount": f"{n['mount']}, 0, 0, 0, 0, 0",
            "keyctl": f"{n['keyctl']}, 0, -3, 0",
            "bpf": f"{n['bpf']}, 0, 0, 0",
            "userfaultfd": f"{n['userfaultfd']}, 0",
            "io_uring": f"{n['io_uring_setup']}, 1, 0",
            "of the future": "4000, 0",
        }.items()
    )
    said = dict(map(_split, inside(*python(code)).stdout.splitlines()))
    refused = "Operation not permitted"
    assert said == {
        "new user namespace": refused,
        "mount": refused,
        "keyctl": refused,
        "bpf": refused,
        "userfaultfd": refused,
        "io_uring": refused,
        "of the future": "Function not implemented",
    }


def _split(line: str) -> tuple[str, str]:
    for text in ("Operation not permitted", "Function not implemented"):
        if line.endswith(text):
            return line[: -len(text)].strip(), text
    return line, ""


def test_a_node_of_a_forbidden_device_cannot_be_opened(inside: Inside) -> None:
    # the kernel's log, which everybody may write to if no rule says otherwise
    script = "mknod /tmp/d c 1 11 && mknod /tmp/n c 1 3 && true >> /tmp/n && true >> /tmp/d"
    done = inside("sh", "-c", script)
    assert done.returncode != 0 and "not permitted" in done.stderr and "mknod" not in done.stderr, done.stderr


def test_rights_of_every_process(inside: Inside) -> None:
    lines = dict(line.split(":\t") for line in inside("cat", "/proc/self/status").stdout.splitlines() if ":\t" in line)
    assert {name: int(lines[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
        "CapInh": 0,
        "CapPrm": DEFAULT,
        "CapEff": DEFAULT,
        "CapBnd": DEFAULT,
        "CapAmb": 0,
    }
    assert (lines["NoNewPrivs"], lines["Seccomp"], lines["Groups"].strip()) == ("1", "2", "")


def test_no_descriptor_of_the_caller_gets_in(host: Host) -> None:
    """CVE-2024-21626: not even one that the caller forgot to mark."""
    directory = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        for words in (["run", "--rm"], ["run", "--rm", "--init"]):
            done = subprocess.run(
                [*host.command(*words), "--network", "none", IMAGE, "sh", "-c", "ls -l /proc/self/fd /proc/1/fd"],
                env=host.env,
                pass_fds=[directory],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
            targets = [line.split(" -> ")[1] for line in done.stdout.splitlines() if " -> " in line]
            assert targets and all(target.startswith(("pipe:", "/dev/null", "/proc/")) for target in targets), targets
    finally:
        os.close(directory)


def test_preserved_descriptors_are_those_that_were_named(oci: Oci) -> None:
    """--preserve-fds 1 hands 3 through, and nothing behind it."""
    oci.write(oci.config("ls", "-l", "/proc/self/fd"))
    read, write = os.pipe()
    leaked = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        script = f'exec 3<&{read} 9<&{leaked} {read}<&- {leaked}<&-; exec "$@"'
        words = oci.command("run", "--preserve-fds", "1", "--bundle", str(oci.path), "one")
        done = subprocess.run(
            ["bash", "-c", script, "bash", *words],
            env=oci.host.env,
            pass_fds=[read, leaked],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        for fd in (read, write, leaked):
            os.close(fd)
    numbers = {
        line.split(" -> ")[0].split()[-1]: line.split(" -> ")[1] for line in done.stdout.splitlines() if "->" in line
    }
    assert numbers.pop("3", "").startswith("pipe:"), done.stderr
    assert set(numbers) <= {"0", "1", "2", "4"}
    assert numbers.get("4", "/proc/").startswith("/proc/"), "the directory ls reads"


@pytest.mark.parametrize("fd", [3, 5, 7, 9, 11])
def test_a_working_directory_behind_a_descriptor_is_refused(host: Host, fd: int) -> None:
    done = host.run("run", "--rm", "--network", "none", "-w", f"/proc/self/fd/{fd}", IMAGE, "pwd", check=False)
    assert done.returncode != 0 and done.stdout == ""


def test_a_descriptor_that_was_handed_in_is_no_working_directory(oci: Oci) -> None:
    """CVE-2024-21626: what the caller means to give away still leads nowhere while the runtime is in charge."""
    oci.write(oci.config("sleep", "1000"))
    directory = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        assert oci.cli("run", "-d", "--bundle", str(oci.path), "one").returncode == 0
        place = "/proc/self/fd/3"
        words = oci.command("exec", "--preserve-fds", "1", "--cwd", place, "one", "pwd")
        done = subprocess.run(
            ["bash", "-c", f'exec 3<&{directory}; exec "$@"', "bash", *words],
            env=oci.host.env,
            pass_fds=[directory],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 255 and f"working directory '{place}'" in done.stderr, done
        assert done.stdout == ""
    finally:
        os.close(directory)
        oci.cli("delete", "--force", "one")


def test_the_starters_keys_stay_outside(host: Host) -> None:
    """A session keyring of its own, also where the filter would let a container ask."""
    keyctl = NUMBERS["keyctl"]
    add = {"x86_64": 248, "aarch64": 217}[os.uname().machine]
    find = f"""
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall({keyctl}, 10, -3, b'user', b'escape', 0), ctypes.get_errno())"""
    words = host.command(
        *("run", "--rm", "--network", "none", "--security-opt", "seccomp=unconfined", "-v", "/:/host:ro", IMAGE),
        *python(find),
    )
    starter = f"""
import ctypes, subprocess
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall({keyctl}, 1, None)
assert libc.syscall({add}, b'user', b'escape', b'secret', 6, -3) > 0
assert libc.syscall({keyctl}, 10, -3, b'user', b'escape', 0) > 0
subprocess.run({words!r}, check=True)"""
    env = {**host.env, "PYCTR_LAUNCHER": "0"}
    done = subprocess.run([sys.executable, "-c", starter], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["-1", "126"], done.stderr + "ENOKEY is 126"


def test_typing_into_the_callers_terminal_is_refused(oci: Oci) -> None:
    """TIOCSTI: a process that has the caller's controlling terminal as stdin is of another session."""
    code = "import fcntl\nfor key in b'id\\n': fcntl.ioctl(0, 0x5412, bytes([key]))"
    config = oci.config("chroot", "/host", PYTHON, "-I", "-S", "-c", code)
    (oci.rootfs / "bin/chroot").symlink_to("busybox")
    config["mounts"].append(oci.mount("/host", "bind", "/", "bind", "ro"))
    oci.write(config)
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            oci.command("run", "--bundle", str(oci.path), "one"),
            env=oci.host.env,
            stdin=slave,
            capture_output=True,
            text=True,
            timeout=60,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        assert "PermissionError" in done.stderr or "Input/output error" in done.stderr, done.stderr
        os.set_blocking(master, False)
        with pytest.raises(BlockingIOError):
            os.read(master, 10)
    finally:
        os.close(master)
        os.close(slave)


def test_the_terminal_is_of_the_containers_own_devpts(host: Host) -> None:
    script = "tty; ls /dev/pts; readlink /dev/ptmx"
    command = host.command("run", "--rm", "-it", "--network", "none", IMAGE)
    done = subprocess.run(
        ["script", "-qec", f"{shlex.join(command)} sh -c '{script}'", "/dev/null"],
        env=host.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = done.stdout.replace("^@", "").split()  # the echo of what script(1) reads from /dev/null
    assert said == ["/dev/pts/0", "0", "ptmx", "pts/ptmx"], done.stdout


def test_start_hooks_of_an_image_have_the_commands_rights(oci: Oci) -> None:
    """A hook that is a file of the image runs where the command will, and may no more."""
    config = oci.config("cat", "/tmp/hook")
    config["hooks"] = {
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "/bin/grep Cap /proc/self/status > /tmp/hook"]}]
    }
    done = oci.run_config(config)
    found = {line.split()[0]: int(line.split()[1], 16) for line in done.stdout.splitlines()}
    assert found["CapBnd:"] == found["CapPrm:"] == DEFAULT and found["CapInh:"] == 0, done.stderr


def test_a_start_hook_cannot_look_into_the_init_that_runs_it(oci: Oci) -> None:
    """CVE-2016-9962, CVE-2019-5736: it has the rights of the command, as that init has by now, and is of the same uid.
    What it could look into is an interpreter of the host's, which nobody can write to by that way either."""
    look = "for file in environ maps mem fd/0; do cat /proc/1/$file; done; readlink /proc/1/cwd || echo end"
    script = f"({look}) >/tmp/seen 2>&1; read x </tmp/go; true"
    config = oci.config("true")
    config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    os.mkfifo(oci.rootfs / "tmp/go")
    oci.write(config)
    assert oci.cli("create", "--bundle", str(oci.path), "--pid-file", str(oci.path / "pid"), "one").returncode == 0
    pid = int((oci.path / "pid").read_text())
    start = subprocess.Popen(oci.command("start", "one"), env=oci.host.env, stdin=subprocess.DEVNULL)
    try:
        with open(oci.rootfs / "tmp/go", "w"):  # open as soon as the hook reads there
            assert os.path.samefile(f"/proc/{pid}/exe", PYTHON), "there is something to be looked into"
            with pytest.raises(OSError, match="Read-only file system"):
                os.chmod(f"/proc/{pid}/exe", 0o755)
        assert start.wait(60) == 0
    finally:
        start.kill()
        oci.cli("delete", "--force", "one")
    seen = (oci.rootfs / "tmp/seen").read_text().splitlines()
    assert [line for line in seen if "ermission denied" not in line] == ["end"], seen


def test_a_created_container_that_waits_has_laid_everything_down(oci: Oci) -> None:
    """The window between create and start: rights, root and descriptors of the command already."""
    oci.write(oci.config("sleep", "100"))
    assert oci.cli("create", "--bundle", str(oci.path), "--pid-file", str(oci.path / "pid"), "one").returncode == 0
    try:
        pid = int((oci.path / "pid").read_text())
        status = procfs.status(pid)
        assert int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == DEFAULT
        assert not os.path.exists(f"/proc/{pid}/root{REPOSITORY}")
        held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert {Path(link).name for link in held if link.endswith(".fifo")} == {"exec.fifo", "said.fifo"}
        kinds = [os.stat(f"/proc/{pid}/fd/{fd}").st_mode >> 12 for fd in os.listdir(f"/proc/{pid}/fd")]
        assert 4 not in kinds, "a directory is open"
        exe = f"/proc/{pid}/exe"
        assert os.readlink(exe).startswith("/memfd:pyctr-")
        with pytest.raises(OSError):
            os.open(exe, os.O_RDWR)
        fd = os.open(exe, os.O_RDONLY)
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        os.close(fd)
        assert seals & fcntl.F_SEAL_WRITE and seals & fcntl.F_SEAL_SEAL, "nobody can write it later, either"
    finally:
        oci.cli("delete", "--force", "one")
