"""An ordinary user: podman without root, and `pyctr-runtime` by itself. No cgroup may be made then."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.support import manager as managers
from tests.support.host import REPOSITORY
from tests.support.manager import Done, Manager

pytestmark = managers.needs("setpriv", "newuidmap", "unshare", "nsenter", "ip", "busybox")

UID = 23456
"""Of nobody here."""
SUBORDINATE = 3_000_000
NAME = "somebody"

CONFIGURATION = """
[containers]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""

TRAP = "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"


class Ordinary(Manager):
    """Everything in the yard is done as a user that only the yard's /etc knows."""

    name = "podman"
    run_words = ("--network=none",)

    def __init__(self) -> None:
        super().__init__()
        self.home, self.volatile = f"{self.base}/home", f"{self.base}/x"
        os.mkdir(self.volatile, 0o700)
        for path in (self.home, self.volatile):
            os.chown(path, UID, UID)
        lines = {"passwd": f"{NAME}:x:{UID}:{UID}::{self.home}:/bin/sh\n", "group": f"{NAME}:x:{UID}:\n"}
        lines["subuid"] = lines["subgid"] = f"{NAME}:{SUBORDINATE}:65536\n"
        os.mkdir(f"{self.base}/etc")
        for file, line in lines.items():
            Path(f"{self.base}/etc/{file}").write_text(line)
            subprocess.run(self.enter("mount", "--bind", f"{self.base}/etc/{file}", f"/etc/{file}"), check=True)
        Path(f"{self.base}/containers.conf").write_text(CONFIGURATION)
        self._script("pyctr-runtime", f"exec {self.interpreter()} -m pyctr.cli.runtime --root {self.volatile}/pyctr")
        self.base_words = ("--runtime", self.runtime)

    def interpreter(self) -> str:
        """One that this user may execute: a virtual environment's may be below somebody else's home."""
        ask = "import sys, sysconfig, tomllib, pyctr.cli.runtime; "
        ask += "print(sys.base_prefix, sysconfig.get_path('stdlib'))"
        for python in (sys.executable, "/usr/bin/python3"):
            words = self.by_user("env", f"PYTHONPATH={REPOSITORY}", python, "-c", ask)
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode == 0:
                self.prefix, self.library = done.stdout.split()
                return self.own(python)
        pytest.skip("no interpreter, or not this directory, can be used by an ordinary user")

    def own(self, python: str) -> str:
        """A copy of it that belongs to the user, as those do that users install for themselves."""
        top = Path(self.home) / "python"
        (top / "bin").mkdir(parents=True)
        copy = top / "bin" / os.path.basename(os.path.realpath(python))
        shutil.copy(os.path.realpath(python), copy)
        (top / "pyvenv.cfg").write_text(f"home = {os.path.dirname(os.path.realpath(python))}\n")
        os.chown(copy, UID, UID)
        self.python = str(copy)
        return f"env PYTHONPATH={REPOSITORY} {copy}"

    @property
    def env(self) -> Mapping[str, str]:
        own = {"HOME": self.home, "XDG_RUNTIME_DIR": self.volatile, "TMPDIR": self.volatile, "USER": NAME}
        return {**super().env, **own, "CONTAINERS_CONF": f"{self.base}/containers.conf"}

    def by_user(self, *words: str) -> list[str]:
        rights = ("--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--inh-caps=-all")
        return self.enter("setpriv", *rights, *words)

    def command(self, *words: str) -> list[str]:
        return self.by_user(self.name, *self.base_words, *words)

    def direct(self, *words: str) -> Done:
        """The runtime itself. Output goes to files: a container holds on to it."""
        files = [f"{self.base}/out", f"{self.base}/err"]
        with open(files[0], "w") as out, open(files[1], "w") as err:
            done = subprocess.run(
                self.by_user(self.runtime, *words),
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=60,
            )
        return subprocess.CompletedProcess(words, done.returncode, *(Path(file).read_text() for file in files))

    def close(self) -> None:
        # podman keeps its user namespace by a process that nobody else ends
        pause = Path(self.volatile) / "libpod/tmp/pause.pid"
        if pause.exists():
            os.kill(int(pause.read_text()), signal.SIGKILL)
        super().close()


@pytest.fixture(scope="module")
def user() -> Iterator[Ordinary]:
    ordinary = Ordinary()
    try:
        yield ordinary
    finally:
        ordinary.close()


@pytest.mark.skipif(not (shutil.which("podman") and shutil.which("conmon")), reason="needs podman, conmon")
def test_podman_without_root_runs_containers(user: Ordinary) -> None:
    """What its users do first: input, output, codes, users, mounts, a terminal, a life, further processes."""
    user("import", "-q", user.rootfs, "box")
    done = user.run("--rm", "-i", "box", "sh", "-c", "cat; echo wrong >&2; exit 3", check=False, input="in\n")
    assert (done.returncode, done.stdout) == (3, "in\n") and "wrong\n" in done.stderr
    done = user.run("--rm", "box", "nothere", check=False)
    assert done.returncode == 127 and "executable file not found in $PATH" in done.stderr
    os.mkdir(f"{user.home}/v")
    os.chown(f"{user.home}/v", UID, UID)
    script = "id -u; touch /v/made /x; touch /t/x && echo tmpfs; grep -E 'CapEff|Seccomp:' /proc/self/status"
    flags = ("-v", f"{user.home}/v:/v", "--read-only", "--tmpfs", "/t", "--cap-drop", "all")
    said = user.inside(f"{script}; stat -c %u /v/made; cat /proc/self/uid_map", *flags).split()
    assert said == [
        "0",
        "tmpfs",
        "CapEff:",
        "0" * 16,
        "Seccomp:",
        "2",
        "0",
        "0",
        str(UID),
        "1",
        "1",
        "3000000",
        "65536",
    ]
    assert os.stat(f"{user.home}/v/made").st_uid == UID
    assert user.inside("id -u; id -g", "--userns=keep-id").split() == [str(UID), str(UID)]
    code, said_there = user.with_terminal("run", *user.run_words, "--rm", "-it", "box", "sh", "-c", "tty; exit 5")
    assert code == 5 and "/dev/pts/0" in said_there
    user.run("-d", "--name", "living", "box", "sh", "-c", TRAP)
    user.until(lambda: user("logs", "living").stdout == "up\n", "the first line")
    done = user("exec", "-u", "sam", "living", "sh", "-c", "id -u; id -g; exit 4", check=False)
    assert (done.returncode, done.stdout.split()) == (4, ["1000", "1001"])
    assert "sleep" in user("top", "living").stdout
    user("stop", "living")
    assert user.state("living", "{{.State.Status}} {{.State.ExitCode}}") == "exited 7"
    user("start", "living")
    user("kill", "living")
    assert user("wait", "living").stdout == "137\n"
    user("rm", "living")
    assert not user.containers() and not os.listdir(f"{user.volatile}/pyctr")


@pytest.fixture
def bundle(user: Ordinary) -> Path:
    """Made by `spec --rootless`."""
    path = Path(tempfile.mkdtemp(prefix="bundle", dir=user.home))
    (path / "rootfs").mkdir(parents=True)
    subprocess.run(["tar", "xf", user.rootfs, "-C", path / "rootfs"], check=True)
    subprocess.run(["chown", "-R", f"{UID}:{UID}", path], check=True)
    done = user.direct("spec", "--rootless", "--bundle", str(path))
    assert done.returncode == 0, done.stderr
    return path


def change(
    bundle: Path,
    *words: str,
    resources: object = None,
    pid: bool = True,
    ids: tuple[int, ...] = (),
    mounts: Sequence[object] = (),
    env: Sequence[str] = (),
) -> None:
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(terminal=False, args=list(words), env=["PATH=/bin", *env])
    config["mounts"] += mounts
    linux = config["linux"]
    linux["resources"] = resources
    if not pid:
        linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "pid"]
    for place, first in enumerate(ids, 1):
        for name in ("uidMappings", "gidMappings"):
            linux[name] = [*linux[name][:1], {"containerID": place, "hostID": first, "size": 100}]
    (bundle / "config.json").write_text(json.dumps(config))


def test_the_users_own_interpreter_cannot_be_written_to_from_inside(user: Ordinary, bundle: Path) -> None:
    """CVE-2019-5736: root inside is the user, to whom it belongs. The image has us execute ourselves."""
    for path in subprocess.run(["ldd", user.python], capture_output=True, text=True).stdout.split():
        if path.startswith("/") and not (bundle / "rootfs" / path[1:]).exists():
            (bundle / "rootfs" / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, bundle / "rootfs" / path[1:])
    library = {"destination": user.library, "type": "bind", "source": user.library, "options": ["rbind", "ro"]}
    change(bundle, "sleep", "1000", mounts=[library], env=[f"PYTHONHOME={user.prefix}"])
    assert user.direct("run", "-d", "--bundle", str(bundle), "one").returncode == 0
    try:
        attack = "import os; print(os.readlink('/proc/self/exe')); os.open('/proc/self/exe', os.O_RDWR)"
        done = user.direct("exec", "one", "/proc/self/exe", "-S", "-c", attack)
        assert done.stdout.startswith("/memfd:pyctr-python"), done
        assert done.returncode == 1, "nor is that one written to"
    finally:
        user.direct("delete", "--force", "one")


def test_a_bundle_of_an_ordinary_user_lives_and_ends_without_a_cgroup(user: Ordinary, bundle: Path) -> None:
    change(bundle, "sh", "-c", "sleep 1000 & exec sleep 1000")
    run = ("run", "-d", "--bundle", str(bundle), "--pid-file", f"{user.volatile}/pid", "one")
    done = user.direct(*run)
    assert done.returncode == 0, done.stderr
    pid = int(Path(f"{user.volatile}/pid").read_text())
    assert os.stat(f"/proc/{pid}").st_uid == UID
    done = user.direct("exec", "one", "sh", "-c", "id -u; cat /proc/self/setgroups; ls -A /sys/fs/cgroup")
    assert done.stdout.split() == ["0", "deny"], done.stderr
    user.until(lambda: user.direct("ps", "one").stdout.count("sleep 1000") == 2, "both of its processes")
    for verb in ("pause", "update", "events"):
        words = {"update": ("--pids-limit", "5"), "events": ("--stats",)}.get(verb, ())
        done = user.direct(verb, *words, "one")
        assert done.returncode == 1 and "has no cgroup" in done.stderr, verb
    assert user.direct("kill", "one", "KILL").returncode == 0
    user.until(lambda: json.loads(user.direct("state", "one").stdout)["status"] == "stopped", "its end")
    assert user.direct("delete", "one").returncode == 0
    # more ids than one's own come from newuidmap, which says whose they are
    change(bundle, "cat", "/proc/self/uid_map", ids=(SUBORDINATE,))
    done = user.direct("run", "--bundle", str(bundle), "one")
    assert done.stdout.split() == ["0", str(UID), "1", "1", str(SUBORDINATE), "100"], done.stderr
    change(bundle, "true", ids=(1,))
    done = user.direct("run", "--bundle", str(bundle), "one")
    assert done.returncode == 1 and "newuidmap: it refuses" in done.stderr
    for refused, words in (
        ({"resources": {"pids": {"limit": 5}}}, "linux.resources.pids: this container has no cgroup"),
        ({"pid": False}, "linux.namespaces: without a cgroup"),
    ):
        change(bundle, "true", **refused)  # type: ignore[arg-type]
        done = user.direct("run", "--bundle", str(bundle), "one")
        assert done.returncode == 1 and words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert user.direct("--rootless", "false", "run", "--bundle", str(bundle), "one").returncode == 1
    assert user.direct("list", "-q").stdout == ""
