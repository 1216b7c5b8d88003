"""A shim that only waits is no interpreter, and nothing of its container is lost by that."""

from __future__ import annotations

import contextlib
import errno
import json
import marshal
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyctr
from pyctr.core.linux import machine, procfs
from pyctr.core.runtime import doze, launch, sync
from pyctr.core.runtime.launch import Launched
from tests.support.bundle import Bundle, gone
from tests.support.host import Host
from tests.support.processes import ours

pytestmark = pytest.mark.skipif(not machine.possible(), reason="no program in memory can be executed here")

SOON = "from pyctr.core.runtime import rest;rest.ALONE=rest.IDLE=0.2;rest.ENOUGH=0;"
WAITS = "while [ ! -e /go ]; do sleep 0.05; done; echo said; exit 7"


@pytest.fixture
def bundle(bare_host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bundle]:
    last = "from pyctr.core.runtime.spawned"
    monkeypatch.setattr(launch, "_CODE", launch._CODE.replace(last, SOON + last))
    yield Bundle(bare_host)
    left = bare_host.census()
    assert not left, f"left behind: {left}"


def eventually(what: Callable[[], Any], patience: float = 60) -> Any:
    deadline = time.monotonic() + patience
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found, "it did not come to that"
    return found


def dozes(pid: int) -> bool:
    return os.readlink(f"/proc/{pid}/exe").startswith("/memfd:pyctr-doze")


def memory(pid: int, kind: str = "Pss:") -> int:
    """kB, of proc_pid_smaps_rollup(5)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1])


def waited(pid: int) -> int:
    """How often it has given its core away by itself."""
    with open(f"/proc/{pid}/status") as file:
        return int(next(line for line in file if line.startswith("voluntary_ctxt_switches")).split()[1])


def left_alone(bundle: Bundle, *args: str, **wishes: Any) -> Launched:
    """A container whose client has gone and whose shim dozes."""
    launched: Launched = bundle.start(bundle.config(*args), **wishes)
    launched.close()
    eventually(lambda: dozes(launched.shim_pid))
    return launched


def test_it_costs_next_to_nothing_and_hears_the_end(bundle: Bundle) -> None:
    shim = left_alone(bundle, "sh", "-c", WAITS).shim_pid
    assert memory(shim, "Rss:") <= 32 and Path(f"/proc/{shim}/comm").read_text() == "pyctr-shim\n"
    assert bundle.host.base.encode() in Path(f"/proc/{shim}/cmdline").read_bytes(), "it can be told whose it is"
    (bundle.rootfs / "go").touch()
    gone(shim)
    assert bundle.record()["exit"]["code"] == 7 and bundle.log() == ["stdout F said"]


def test_one_that_was_woken_dozes_again_with_all_that_it_has_learnt(bundle: Bundle) -> None:
    """Its client's STOP means no further start, also after that; what is typed arrives."""
    launched = left_alone(bundle, "cat", open_stdin=True, spec={"restart": "always"}, restart="always")
    for word in ("one", "two"):
        connection = bundle.connect()
        connection.attach()
        connection.send(sync.frame(sync.STDIN, f"{word}\n".encode()))
        assert connection.receive() == (sync.STDOUT, f"{word}\n".encode())
        assert not dozes(launched.shim_pid)
        connection.close()
        if word == "one":
            os.kill(launched.pid, signal.SIGKILL)  # and starts anew, once
            eventually(lambda: bundle.record().get("restarts") == 1)
    assert bundle.execute("echo", "further") == (0, "further\n", "")
    connection = bundle.connect()
    connection.send(sync.frame(sync.STOP))
    assert connection.receive()[0] == sync.DONE
    connection.close()
    os.kill(bundle.record()["process"]["pid"], signal.SIGKILL)
    gone(launched.shim_pid)
    record = bundle.record()
    assert (record["restarts"], record["exit"]["code"]) == (1, 137)
    assert bundle.log() == ["stdout F one", "stdout F two"]


def test_a_terminal_that_was_closed_inside_keeps_nobody_from_going_on(bundle: Bundle) -> None:
    closed = "exec 0<&- 1>&- 2>&-; while [ ! -e /go ]; do sleep 0.05; done; exit 7"
    launched = bundle.start(bundle.config("sh", "-c", closed, terminal=True))
    launched.close()
    eventually(lambda: dozes(launched.shim_pid))
    (bundle.rootfs / "go").touch()
    gone(launched.shim_pid)
    assert bundle.record()["exit"]["code"] == 7


def test_what_an_exec_has_left_running_is_read_until_it_ends(bundle: Bundle) -> None:
    """More than a pipe holds, though nobody is there who wants it."""
    launched = bundle.start(bundle.config("sleep", "1000"))
    shim = launched.shim_pid
    late = (
        "while [ ! -e /late ]; do sleep 0.05; done; dd if=/dev/zero bs=200000 count=1 && touch /done; exec sleep 1000"
    )
    assert bundle.execute("sh", "-c", f"({late}) & echo $! > /left")[0] == 0
    launched.close()
    looks = waited(shim) + 3
    eventually(lambda: dozes(shim) or waited(shim) > looks)  # at itself
    (bundle.rootfs / "late").touch()
    eventually((bundle.rootfs / "done").exists)
    assert not dozes(shim)
    bundle.execute("sh", "-c", "kill $(cat /left)")
    eventually(lambda: dozes(shim))
    os.kill(bundle.record()["process"]["pid"], signal.SIGKILL)
    gone(shim)


def test_it_goes_on_though_its_program_was_removed_meanwhile(bare_host: Host, tmp_path: Path) -> None:
    """Or upgraded, or is just being written."""
    top = tmp_path / "installed"
    shutil.copytree(Path(pyctr.__file__).parent, top / "pyctr", ignore=shutil.ignore_patterns("__pycache__"))
    where = top / "pyctr/core/runtime/rest.py"
    text = where.read_text()
    for name in ("ALONE", "IDLE"):
        assert f"\n{name} = " in text
        text = text.replace(f"\n{name} = ", f"\n{name} = 0.5 or ")
    where.write_text(text.replace("\nENOUGH = ", "\nENOUGH = 0 and "))
    code = f"import sys;sys.path.insert(0,{str(top)!r});from pyctr.cli.main import main;sys.exit(main())"
    command = [
        sys.executable,
        "-c",
        code,
        "run",
        "-d",
        "--name",
        "last",
        "--network",
        "none",
        "base",
        "sh",
        "-c",
        WAITS,
    ]
    subprocess.run(command, env=bare_host.env, check=True, stdout=subprocess.DEVNULL)
    state = json.loads(bare_host.run("inspect", "last").stdout)[0]["State"]
    eventually(lambda: dozes(state["ShimPid"]))
    shutil.rmtree(top)
    Path(f"/proc/{state['Pid']}/root/go").touch()
    gone(state["ShimPid"])
    assert bare_host.run("inspect", "-f", "{{.State.ExitCode}}", "last").stdout == "7\n"
    assert bare_host.run("logs", "last").stdout == "said\n"
    bare_host.run("rm", "last")


def test_who_cannot_doze_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors 3 and 4 are anybody's until then."""

    def refused(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "vm.memfd_noexec")

    def descriptors() -> dict[str, tuple[str, bool]]:
        found = {}
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # that of the listing
                found[fd] = os.readlink(f"/proc/self/fd/{fd}"), os.get_inheritable(int(fd))
        return found

    monkeypatch.setattr(os, "execve", refused)
    with select.epoll() as watch, open("/dev/null", "rb") as kept:
        before = descriptors()
        doze.until(watch.fileno(), "waits", "shim", (b"", []), (kept.fileno(),))
        assert descriptors() == before


def test_no_descriptor_is_lost_by_an_attempt_without_enough_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter((os.dup(0), None))

    def moved(fd: int) -> int:
        if (copy := next(given)) is None:
            raise OSError(errno.EMFILE, "too many open files")
        return copy

    monkeypatch.setattr(doze, "_moved", moved)
    with open("/dev/null", "rb") as one, open("/dev/null", "rb") as other:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match="too many"):
            doze._execute(-1, {one.fileno(): other.fileno(), other.fileno(): one.fileno()}, ())
        assert len(os.listdir("/proc/self/fd")) == before - 1, "the copy is gone, too"


def test_who_cannot_go_on_at_once_tries_again(tmp_path: Path) -> None:
    """No memory or no descriptors in the moment when an interpreter is needed again."""
    boot = f"""
import os
class doze:
    def wake(go, state): os._exit(go)
try:
    os.mkdir({str(tmp_path / "tried")!r})
except FileExistsError:
    go = 7
else:
    raise MemoryError
"""
    state = machine.sealed("state", marshal.dumps((compile(boot, "boot", "exec"), [], "", -1, "", None)))
    pid = os.fork()
    if pid == 0:
        os.dup2(state, 4)
        os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", doze._CODE], {})
    os.close(state)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_without_its_interpreter_it_goes_on_waiting(tmp_path: Path) -> None:
    """The end of a shim would be the end of what is known of its container."""
    needed, said = tmp_path / "needed", tmp_path / "said"
    program = machine.program("doze", f"waits\0{needed}\0".encode())
    reader, writer = os.pipe()
    watch = select.epoll()
    watch.register(reader, select.EPOLLIN)
    pid = os.fork()
    if pid == 0:
        os.dup2(watch.fileno(), 3)
        os.set_inheritable(reader, True)
        os.execve(f"/proc/self/fd/{program}", ["/bin/sh", "-c", f"echo $PPID > {said}"], {"PATH": "/bin"})
    try:
        os.close(program)
        eventually(lambda: Path(f"/proc/{pid}/comm").read_text() == "waits\n")
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        os.kill(pid, signal.SIGCONT)
        os.write(writer, b"!")
        eventually(lambda: "nanosleep" in Path(f"/proc/{pid}/wchan").read_text())
        assert not said.exists()
        needed.touch()
        assert os.waitpid(pid, 0)[1] == 0 and said.read_text() == f"{os.getpid()}\n"
    finally:
        os.close(reader)
        os.close(writer)
        watch.close()


def test_a_host_with_one_container_pays_for_one_process(host: Host) -> None:
    """As it is used: the default network, nobody else there."""
    host.run("run", "-d", "--name", "lone", "base", "sh", "-c", WAITS)
    shim = int(host.run("inspect", "-f", "{{.State.ShimPid}}", "lone").stdout)
    eventually(lambda: dozes(shim))
    assert procfs.children(shim) == [int(host.run("inspect", "-f", "{{.State.Pid}}", "lone").stdout)], "no dead one"
    large = {what for pid, what in ours(host).items() if memory(pid) > 100}
    assert large <= {"pyctr-steward", "pyctr-launcher"}, "who writes down what it uses, and who may not have gone yet"
    assert host.run("exec", "lone", "touch", "/go").returncode == 0
    assert host.run("wait", "lone").stdout == "7\n" and host.run("logs", "lone").stdout == "said\n"
    host.run("rm", "lone")
