"""The shell script `pyctr-runtime`: what it does by itself, and that it leaves everything else to the interpreter."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core.runtime import ops_depart, plain
from tools import scripts

SHELLS = [words for words in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(words[0])]
ASKED = """\
#!/bin/sh
printf '%s|' "$@"
printf '%s' "$PYCTR_SAID" | od -An -tu1 | tr -s ' \\n' ' '
exit 7
"""
"""In the interpreter's place: says what it was asked."""


class Front:
    """The script with a stand-in for the interpreter, and a container: directory, gate, group."""

    def __init__(self, shell: list[str], top: Path) -> None:
        self.shell = shell
        self.bin = top / "bin"
        self.bin.mkdir()
        self.script = self.bin / "pyctr-runtime"
        shutil.copy(scripts.FRONT, self.script)
        asked = self.bin / "pyctr-runtime-python"
        asked.write_text(ASKED)
        asked.chmod(0o755)
        self.root = top / "root"
        self.directory = self.root / "one"
        self.group = top / "group"
        self.group.mkdir()
        self.directory.mkdir(parents=True)
        (self.directory / "lock").touch()
        for name in ("exec.fifo", "said.fifo"):
            os.mkfifo(self.directory / name)
        self.describe(2**22 + 1)  # above what a pid can be

    def describe(self, pid: int) -> None:
        (self.directory / "plain").write_text(f"1 {pid} {self.group}\n")

    def call(self, *words: str, script: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        line = [*self.shell, str(script or self.script), *words]
        return subprocess.run(line, capture_output=True, text=True, env={**os.environ, **env}, timeout=60)

    def asked(self, *words: str, **env: str) -> bool:
        """Whether the interpreter was, with exactly the same words."""
        done = self.call(*words, **env)
        if done.returncode == 7:
            assert done.stdout.startswith("|".join(words)), done.stdout
            assert not done.stderr
            return True
        assert done.returncode == 0, done.stderr
        assert not done.stdout + done.stderr
        return False


@pytest.fixture(params=SHELLS, ids=lambda words: words[0])
def front(request: pytest.FixtureRequest, tmp_path: Path) -> Front:
    return Front(request.param, tmp_path)


class Init:
    """What waits at the gate and says `words` before its end; `takes` is whether it reads the byte."""

    def __init__(self, front: Front, words: bytes = b"", takes: bool = True) -> None:
        self.go = os.open(front.directory / "exec.fifo", os.O_RDWR)
        self.said = os.open(front.directory / "said.fifo", os.O_RDWR)
        self.heard = b""
        self.words, self.takes = words, takes
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        if self.takes:
            self.heard = os.read(self.go, 1)
            os.write(self.said, self.words)
        os.close(self.go)
        os.close(self.said)


def waited(front: Front, *words: str, **init: object) -> tuple[bool, Init]:
    there = Init(front, **init)  # type: ignore[arg-type]
    asked = front.asked("--root", str(front.root), *words)
    there.thread.join(20)
    return asked, there


def test_a_waiting_init_is_let_go_without_an_interpreter(front: Front):
    asked, init = waited(front, "start", "one")
    assert not asked and init.heard == b"G"


def test_an_init_that_does_not_wait_any_more_is_the_interpreters(front: Front):
    """It died: the byte is still there, so nobody has been let go."""
    asked, _ = waited(front, "start", "one", takes=False)
    assert asked


def test_what_init_says_gets_to_the_interpreter(front: Front, monkeypatch: pytest.MonkeyPatch):
    frame = b"X\0\0\0\x08" + b"\x08\0\0\0" + b"\x01\0\0\0"  # ENOEXEC of execve
    init = Init(front, frame)
    done = front.call("--root", str(front.root), "start", "one")
    init.thread.join(20)
    assert done.returncode == 7
    said = bytes(int(word) for word in done.stdout.rpartition("|")[2].split())
    monkeypatch.setitem(os.environb, b"PYCTR_SAID", said)
    assert "exec format error" in ops_depart.refused(plain.told(), "/x").message
    assert plain.told() == b"", "a child of ours must not find it"


def test_a_second_start_is_the_interpreters(front: Front):
    assert not waited(front, "start", "one")[0]
    there = Init(front)
    assert front.asked("--root", str(front.root), "start", "one")
    os.close(os.open(front.directory / "exec.fifo", os.O_WRONLY | os.O_NONBLOCK))  # it has not been let go
    fd = os.open(front.directory / "exec.fifo", os.O_WRONLY)
    os.write(fd, b"G")
    os.close(fd)
    there.thread.join(20)


def test_a_container_that_is_gone_is_deleted_with_its_group(front: Front):
    assert not front.asked("--root", str(front.root), "delete", "one")
    assert not front.directory.exists() and not front.group.exists()
    assert front.root.exists()


@pytest.mark.parametrize("flag", ["--force", "-f"])
def test_force_makes_no_difference_to_what_is_gone(front: Front, flag: str):
    assert not front.asked(f"--root={front.root}", "--log", "/x", "--log-format=json", "delete", flag, "one")
    assert not front.directory.exists()


def test_one_whose_process_lives_is_not_touched(front: Front):
    front.describe(os.getpid())
    assert front.asked("--root", str(front.root), "delete", "one")
    assert front.group.exists() and (front.directory / "plain").exists()


def test_a_group_that_cannot_be_removed_is_the_interpreters(front: Front):
    (front.group / "below").mkdir()
    assert front.asked("--root", str(front.root), "delete", "one")
    assert (front.directory / "plain").exists()


@pytest.mark.parametrize("verb", ["start", "delete"])
def test_one_that_is_being_changed_is_the_interpreters(front: Front, verb: str):
    """Which waits, and with --force kills before it does."""
    with open(front.directory / "lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert front.asked("--root", str(front.root), verb, "one")
    assert (front.directory / "plain").exists() and front.group.exists() and not (front.directory / "started").exists()


def test_nothing_of_it_is_held_when_the_interpreter_comes(front: Front):
    """Which would wait for the lock for ever."""
    there = Init(front, b"X\0\0\0\x08" + b"\x08\0\0\0" + b"\x01\0\0\0")
    ls = "#!/bin/sh\nls -l /proc/$$/fd\nexit 7\n"
    (front.bin / "pyctr-runtime-python").write_text(ls)
    done = front.call("--root", str(front.root), "start", "one")
    there.thread.join(20)
    assert done.returncode == 7 and str(front.root) not in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["plain", "lock"])
def test_without_one_of_its_files_it_is_the_interpreters(front: Front, name: str):
    (front.directory / name).unlink()
    assert front.asked("--root", str(front.root), "delete", "one")
    assert not (front.directory / name).exists()


@pytest.mark.parametrize("content", ["", "1\n", "1 x /y\n", "1 -5 /y\n", "2 4194305 /y\n", "1 4194305 /y"])
def test_a_description_that_is_not_whole_is_not_believed(front: Front, content: str):
    (front.directory / "plain").write_text(content)
    assert front.asked("--root", str(front.root), "delete", "one")
    assert front.directory.exists()


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--version",
        "--root",
        "start",
        "delete",
        "start one two",
        "delete one --force",
        "delete --force",
        "delete --help",
        "delete ..",
        "delete .",
        "delete one/../one",
        "kill one",
        "--debug=0 delete one",
        "--log-format xml delete one",
        "--cgroup-manager mine delete one",
        "--unknown delete one",
        "create --bundle delete one",
    ],
)
def test_every_other_word_is_the_interpreters(front: Front, words: str):
    flags = [] if words == "--root" else ["--root", str(front.root)]
    assert front.asked(*flags, *words.split())
    assert front.asked(*flags, *words.split(), "an argument", "* of 'several'")
    assert front.directory.exists()


def test_a_root_through_dots_is_the_interpreters(front: Front):
    assert front.asked("--root", f"{front.root}/../root", "delete", "one")


def test_the_root_of_the_environment(front: Front):
    (front.root / "runtime").mkdir()
    front.directory.rename(front.root / "runtime/one")
    assert front.asked("delete", "one", PYCTR_RUNROOT=str(front.root)) == (os.geteuid() != 0)


def test_the_environment_leads_it_nowhere(front: Front, tmp_path: Path):
    """Programs of a PATH, separators of an IFS, a file to be read first."""
    for name in ("rm", "rmdir", "flock", "readlink", "test", "[", "true"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "env").write_text(f"touch {tmp_path}/called\n")
    env = {"PATH": str(tmp_path), "IFS": "/o1", "ENV": f"{tmp_path}/env", "BASH_ENV": f"{tmp_path}/env"}
    line = [
        shutil.which(front.shell[0]),
        *front.shell[1:],
        str(front.script),
        "--root",
        str(front.root),
        "delete",
        "one",
    ]
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "called").exists() and not front.directory.exists()


def test_a_link_to_it_finds_the_interpreter_and_a_copy_says_what_is_missing(front: Front, tmp_path: Path):
    (tmp_path / "link").symlink_to(front.script)
    assert front.call("list", script=tmp_path / "link").returncode == 7
    shutil.copy(front.script, tmp_path / "copy")
    done = front.call("list", script=tmp_path / "copy")
    assert done.returncode == 1 and f"'{tmp_path}/pyctr-runtime-python' does not exist" in done.stderr


def test_a_directory_of_blanks(front: Front, tmp_path: Path):
    moved = tmp_path / "two words *"
    front.root.rename(moved)
    assert not front.asked("--root", str(moved), "delete", "one")
    assert not (moved / "one").exists() and moved.exists()


class Groups:
    def __init__(self, *paths: str) -> None:
        self.found = {str(number): path for number, path in enumerate(paths)}

    def paths(self) -> dict[str, str]:
        return self.found


@pytest.fixture
def record() -> Iterator[dict[str, object]]:
    yield {"pid": 12, "scope": None}


def test_a_container_without_particulars_is_plain(record: dict[str, object], tmp_path: Path):
    (tmp_path / "g").mkdir()
    groups = Groups(f"{tmp_path}/g", f"{tmp_path}/missing")
    assert plain.line(record, {}, groups) == f"1 12 {tmp_path}/g\n"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "config",
    [
        {"hooks": {"poststart": [{"path": "/x"}]}},
        {"hooks": {"poststop": [{"path": "/x"}]}},
        {"hooks": {"startContainer": [{"path": "/x"}]}},
        {"linux": {"intelRdt": {"closID": "x"}}},
    ],
)
def test_what_has_more_to_be_done_is_not_plain(record: dict[str, object], config: dict[str, object], tmp_path: Path):
    assert plain.line(record, config, Groups(str(tmp_path))) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["two words", "star*", "new\nline", "q'uote", "dollar$x"])
def test_a_group_that_a_shell_could_misread_is_not_plain(record: dict[str, object], name: str, tmp_path: Path):
    (tmp_path / name).mkdir()
    assert plain.line(record, {}, Groups(f"{tmp_path}/{name}")) == ""  # type: ignore[arg-type]


def test_a_group_of_systemds_is_not_plain(record: dict[str, object], tmp_path: Path):
    record["scope"] = {"unit": "x"}
    assert plain.line(record, {}, Groups(str(tmp_path))) == ""  # type: ignore[arg-type]
