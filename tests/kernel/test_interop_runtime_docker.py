"""Docker with `pyctr-runtime` as an additional runtime: what its users do."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support import manager as managers
from tests.support.manager import Manager
from tests.support.scenarios import TRAP, Scenarios

pytestmark = managers.needs("dockerd", "docker", "containerd", "iptables", "unshare", "nsenter", "ip", "busybox")


class Docker(Manager):
    name = "docker"
    run_words = ("--runtime", "pyctr")
    own_mounts = ("d",)

    def __init__(self) -> None:
        super().__init__()
        self.socket = f"{self.base}/d.sock"
        self.base_words = ("-H", f"unix://{self.socket}")

    def prepare(self) -> None:
        words = ["dockerd", "--data-root", f"{self.base}/d", "--exec-root", f"{self.base}/dr", "-H", self.base_words[1]]
        words += ["--pidfile", f"{self.base}/d.pid", "--cgroup-parent", self.group, "--bip", "192.0.2.1/24"]
        words += ["--add-runtime", f"pyctr={self.runtime}", "--add-runtime", f"peer={self.base}/runc"]
        log = Path(f"{self.base}/d.log")
        with log.open("wb") as file:
            self.daemon = subprocess.Popen(self.enter(*words), env=self.env, stdout=file, stderr=file)
        deadline = time.monotonic() + 60
        while self("version", check=False).returncode:
            assert time.monotonic() < deadline and self.daemon.poll() is None, log.read_text()[-2000:]
            time.sleep(0.1)  # it gives no sign before its socket answers
        self("import", self.rootfs, "box")

    def with_runc(self) -> list[str]:
        return ["run", "--runtime", "peer"]


@pytest.fixture(scope="module")
def manager() -> Iterator[Docker]:
    docker = Docker()
    try:
        docker.prepare()
        yield docker
        assert docker("ps", "-aq").stdout == ""
    finally:
        docker.close()


class TestDocker(Scenarios):
    def test_a_health_check_runs_in_the_container(self, manager: Docker) -> None:
        flags = ("--health-cmd", "test -e /tmp/well", "--health-interval", "100ms", "--health-retries", "1")
        manager.run("-d", "--name", "probed", *flags, "box", "sleep", "1000")
        for wanted in ("unhealthy", "healthy"):
            manager.until(partial(self.is_state, manager, wanted), wanted)
            manager("exec", "probed", "touch", "/tmp/well")
        manager.remove("probed")

    def is_state(self, manager: Docker, wanted: str) -> bool:
        return manager.state("probed", "{{.State.Health.Status}}") == wanted

    def test_a_published_port_leads_into_the_container(self, manager: Docker) -> None:
        command = ("nc", "-l", "-p", "80", "-e", "echo", "hello")
        manager.run("-d", "--name", "server", "-p", "127.0.0.1:8080:80", "box", *command)
        ask = manager.enter("busybox", "nc", "127.0.0.1", "8080")

        def answered() -> bool:
            return subprocess.run(ask, capture_output=True, stdin=subprocess.DEVNULL).stdout == b"hello\n"

        manager.until(answered, "the server's answer")
        manager.remove("server")

    def test_an_exec_with_all_privileges_has_them(self, manager: Docker) -> None:
        manager.run("-d", "--name", "plain", "box", "sleep", "1000")
        said = manager("exec", "--privileged", "plain", "grep", "CapEff", "/proc/self/status").stdout
        assert int(said.split()[1], 16) & 1 << 21  # CAP_SYS_ADMIN
        manager.remove("plain")

    def test_a_daemon_that_comes_back_finds_its_containers(self, manager: Docker) -> None:
        assert manager.daemon is not None
        manager.run("-d", "--name", "again", "--restart", "always", "box", "sh", "-c", TRAP)
        manager.stop()
        manager.prepare()
        manager.until(lambda: manager.state("again", "{{.State.Running}}") == "true", "running again")
        manager.remove("again")

    def test_networks_of_pyctr_beside_dockers_own(self, manager: Docker) -> None:
        """Both publish ports, and FORWARD drops as docker or ufw may say: each reaches the other's, nothing stays."""

        def pyctr(*words: str) -> str:
            whole = manager.enter(*manager.host.command(*words))
            done = subprocess.run(whole, env=manager.host.env, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            return done.stdout

        def rules() -> str:
            return subprocess.run(manager.enter("iptables", "-S"), capture_output=True, text=True, check=True).stdout

        serve = "while true; do echo {} | nc -l -p 80; done"
        call = "n=0; until nc {} {}; do n=$((n+1)); [ $n -lt 200 ] || exit 1; sleep 0.1; done"
        subprocess.run(manager.enter("iptables", "-P", "FORWARD", "DROP"), check=True)
        before = rules()
        pyctr("import", manager.rootfs, "box")
        pyctr("run", "-d", "--name", "ours", "-p", "8081:80", "box", "sh", "-c", serve.format("ours"))
        manager("run", "-d", "--name", "theirs", "-p", "8082:80", "box", "sh", "-c", serve.format("theirs"))
        try:
            gateway = pyctr("inspect", "-f", "{{.NetworkSettings.Gateway}}", "ours").strip()
            assert manager("exec", "theirs", "sh", "-c", call.format("192.0.2.1", 8081)).stdout == "ours\n"
            assert pyctr("exec", "ours", "sh", "-c", call.format(gateway, 8082)) == "theirs\n"
            assert "interface docker0  192.0.2.1/24  a bridge of others" in pyctr("network", "graph")
        finally:
            pyctr("rm", "-f", "ours")
            manager("rm", "-f", "theirs")
            pyctr("network", "prune", "--all", "--force")
        assert rules() == before, "nothing of docker's was touched, nothing of ours stays"
