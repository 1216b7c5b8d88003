"""The runtime's own code seen from inside: it can be neither overwritten nor executed to harm (CVE-2019-5736)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core.linux import machine
from tests.support.bundle import Bundle
from tests.support.host import Host

MACHINE = os.uname().machine


@pytest.fixture
def bundle(bare_host: Host) -> Iterator[Bundle]:
    yield Bundle(bare_host)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def refused_to_write(pid: int) -> None:
    """Not because somebody executes it now (ETXTBSY), which ends some time: it is read-only by this way."""
    exe = f"/proc/{pid}/exe"
    with pytest.raises(OSError, match="Read-only file system"):
        os.chmod(exe, os.stat(exe).st_mode & 0o7777)


@pytest.mark.parametrize("warm", [False, True])
def test_nobody_can_write_through_the_executable_of_a_shim(bundle: Bundle, warm: bool) -> None:
    """What a container's process is before its execve: a copy of the shim, spawned or forked by a launcher."""
    if warm:
        bundle.run("true")
    launched = bundle.start(bundle.config("sleep", "100"), attach=True)
    try:
        refused_to_write(launched.shim_pid)
    finally:
        bundle.kill(launched)


def test_an_interpreter_of_proc_self_exe_gets_nothing_that_can_be_written(bundle: Bundle, tmp_path: Path) -> None:
    """The attack itself: an image whose command is a script that the runtime's own executable interprets."""
    script = bundle.rootfs / "bin/evil"
    script.write_text("#!/proc/self/exe -IS\nprint('interpreted', flush=True)\nopen(0).read()\n")
    script.chmod(0o755)
    root = bundle.rootfs
    for path in subprocess.run(
        ["ldd", os.path.realpath("/proc/self/exe")], capture_output=True, text=True
    ).stdout.split():
        if path.startswith("/") and not (root / path[1:]).exists():
            (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / path[1:])
    library = sysconfig.get_path("stdlib")
    shared = {"destination": library, "type": "bind", "source": library, "options": ["rbind", "ro"]}
    config = bundle.config("/bin/evil", env=["PATH=/bin", f"PYTHONHOME={sys.base_prefix}"])
    config["mounts"].append(shared)
    # runs as long as its standard input is open, with the host's interpreter as /proc/1/exe
    launched = bundle.start(config, attach=True, open_stdin=True)
    try:
        bundle.hear(launched, "interpreted")
        found = os.stat(f"/proc/{launched.pid}/exe")
        assert found.st_ino == os.stat(os.path.realpath("/proc/self/exe")).st_ino, "it is the attack"
        refused_to_write(launched.pid)
    finally:
        bundle.kill(launched)


def test_pid_1_of_init_holds_nothing_of_the_host(host: Host) -> None:
    """Even for who may look into every process: no interpreter, no library, no memory of ours, no descriptor."""
    script = "ls -l /proc/1/exe; cat /proc/1/maps; ls /proc/1/fd; echo x > /proc/1/exe"
    done = host.run(
        *("run", "--rm", "--privileged", "--init", "--network", "none", "localhost/base", "sh", "-c", script),
        check=False,
    )
    where, *maps = done.stdout.splitlines()
    assert where.endswith("/memfd:pyctr-init (deleted)")
    files = {line.split(maxsplit=5)[5] for line in maps if len(line.split(maxsplit=5)) == 6}
    assert {name for name in files if not name.startswith("[")} == {"/memfd:pyctr-init (deleted)"}
    assert not [line for line in maps if line.isdigit()], "descriptors"
    assert done.returncode and ("Text file busy" in done.stderr or "not permitted" in done.stderr)


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", ["init", "gate", "spawn", "doze"])
def test_the_programs_are_what_their_sources_say(tmp_path: Path, name: str, arch: str) -> None:
    tools = "" if arch == MACHINE else f"{arch.replace('_', '-')}-linux-gnu-"
    source = Path(machine.__file__).parent / "asm" / f"{name}.{arch}.S"
    try:
        subprocess.run([f"{tools}as", "-I", source.parent, source, "-o", tmp_path / "o"], check=True)
    except FileNotFoundError:
        pytest.skip(f"no assembler for {arch}: apt install binutils{'-aarch64-linux-gnu' if tools else ''}")
    subprocess.run([f"{tools}objcopy", "-O", "binary", "-j", ".text", tmp_path / "o", tmp_path / "bin"], check=True)
    assert (tmp_path / "bin").read_bytes() == machine.image(name, arch)


def test_a_program_cannot_be_changed_through_its_descriptor() -> None:
    fd = machine.program("init")
    try:
        with pytest.raises(PermissionError):
            os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC)
        writable = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
        with pytest.raises(PermissionError):
            os.write(writable, b"x")
        os.close(writable)
    finally:
        os.close(fd)
