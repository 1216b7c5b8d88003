"""A login made by one tool serves the others."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import registry as registries
from tests.support.host import Host
from tests.support.registry import PASSWORD, USER, Registry

pytestmark = registries.needed


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry", tls=True, password=True) as running:
        yield running


@pytest.fixture
def host(bare_host: Host, tmp_path: Path) -> Host:
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "HOME"):
        (tmp_path / name).mkdir()
        bare_host.env[name] = str(tmp_path / name)
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
        bare_host.env.pop(name, None)
    return bare_host


def login(host: Host, registry: str, password: str) -> subprocess.CompletedProcess[str]:
    return host.run("login", "-u", USER, "--password-stdin", registry, input=f"{password}\n", check=False)


def test_login_asks_the_registry_before_it_keeps_anything(host: Host, secured: Registry, tmp_path: Path) -> None:
    wrong = login(host, secured.name, "nonsense")
    assert wrong.returncode == 125 and "does not accept this user name and password" in wrong.stderr
    assert "nonsense" not in wrong.stderr + wrong.stdout
    assert not (tmp_path / "XDG_RUNTIME_DIR/containers/auth.json").exists()
    right = login(host, secured.name, PASSWORD)
    assert right.stdout == "Login Succeeded\n"
    assert host.run("login", "--get-login", secured.name).stdout == f"{USER}\n"
    assert PASSWORD not in right.stdout + right.stderr
    assert host.run("logout", secured.name).stdout == f"Removed login credentials for {secured.name}\n"
    assert host.run("login", "--get-login", secured.name, check=False).returncode == 1


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo: apt install skopeo")
def test_skopeo_and_pyctr_share_their_logins(host: Host, secured: Registry) -> None:
    def skopeo(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["skopeo", *words], env=host.env, capture_output=True, text=True, input=PASSWORD)

    def allowed() -> bool:
        done = host.run("pull", f"{secured.name}/acme/none", check=False)
        assert "wants a login" in done.stderr or "no image" in done.stderr
        return "no image" in done.stderr

    assert not allowed()
    done = skopeo("login", "--tls-verify=false", "-u", USER, "--password-stdin", secured.name)
    assert done.returncode == 0, done.stderr
    assert allowed()
    host.run("logout", secured.name)
    assert not allowed()
    assert login(host, secured.name, PASSWORD).returncode == 0
    known = skopeo("login", "--get-login", secured.name)
    assert known.stdout == f"{USER}\n", known.stderr
    assert skopeo("logout", secured.name).returncode == 0
    assert not allowed()
