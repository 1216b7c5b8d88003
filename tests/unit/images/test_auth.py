"""Credentials in the files that other tools write."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from pyctr.core.errors import NotFound, PyctrError, StorageError
from pyctr.core.images.auth import Credentials, Keyring


def secret(words: str) -> dict[str, str]:
    return {"auth": base64.b64encode(words.encode()).decode()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "HOME/.docker").mkdir()
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def helper(home: Path, script: str, name: str = "test") -> None:
    program = home / f"bin/docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def who(registry: str, repository: str = "") -> tuple[str, str]:
    found = Keyring().find(registry, repository)
    return found.username, found.password


def test_docker_s_and_podman_s_files_are_read_in_podman_s_order(home: Path) -> None:
    write(
        home / "HOME/.docker/config.json",
        {"auths": {"quay.io": secret("d:1"), "https://index.docker.io/v1/": secret("hub:2")}},
    )
    assert who("quay.io") == ("d", "1") and who("docker.io", "library/alpine") == ("hub", "2")
    write(home / "XDG_CONFIG_HOME/containers/auth.json", {"auths": {"quay.io": secret("c:3")}})
    assert who("quay.io") == ("c", "3")
    write(home / "XDG_RUNTIME_DIR/containers/auth.json", {"auths": {"quay.io": secret("r:4:5")}})
    assert who("quay.io") == ("r", "4:5") and who("ghcr.io") == ("", "")


def test_the_most_special_key_wins(home: Path) -> None:
    auths = {"quay.io": secret("all:0"), "quay.io/acme": secret("acme:1"), "quay.io/acme/app": secret("app:2")}
    write(home / "XDG_RUNTIME_DIR/containers/auth.json", {"auths": auths})
    assert who("quay.io", "acme/app") == ("app", "2")
    assert who("quay.io", "acme/other") == ("acme", "1")
    assert who("quay.io", "acmeapp") == ("all", "0")


def test_a_helper_is_asked(home: Path) -> None:
    write(home / "HOME/.docker/config.json", {"credHelpers": {"quay.io": "test"}, "credsStore": "none"})
    helper(home, 'read server; echo "{\\"Username\\": \\"$1\\", \\"Secret\\": \\"$server\\"}"')
    helper(home, "echo credentials not found in native keychain; exit 1", "none")
    assert who("quay.io") == ("get", "quay.io")
    assert who("ghcr.io") == ("", "")
    helper(home, 'echo \'{"Username": "<token>", "Secret": "t0"}\'')
    assert Keyring().find("quay.io").identity_token == "t0"


def test_helpers_for_every_registry_come_in_the_order_of_registries_conf(home: Path) -> None:
    write(home / "HOME/.docker/config.json", {"auths": {"quay.io": secret("file:1")}})
    helper(home, 'read server; [ "$server" = quay.io ] && echo \'{"Username": "h", "Secret": "2"}\' || '
                 '{ echo credentials not found in native keychain; exit 1; }')  # fmt: skip
    settings = home / "registries.conf"
    settings.write_text('credential-helpers = ["test", "containers-auth.json"]\n')
    assert who("quay.io") == ("h", "2") and who("ghcr.io") == ("", "")
    settings.write_text('credential-helpers = ["containers-auth.json", "test"]\n')
    assert who("quay.io") == ("file", "1")
    settings.write_text('credential-helpers = ["containers-auth.json"]\n')
    helper(home, "exit 3")
    assert who("quay.io") == ("file", "1")


def test_a_helper_that_fails_or_is_missing_is_named(home: Path) -> None:
    write(home / "HOME/.docker/config.json", {"credsStore": "test"})
    with pytest.raises(PyctrError, match="'docker-credential-test' is not installed"):
        Keyring().find("quay.io")
    helper(home, "echo the vault is locked; exit 1")
    with pytest.raises(PyctrError, match="the vault is locked"):
        Keyring().find("quay.io")
    write(home / "HOME/.docker/config.json", {"credsStore": "../../bin/sh"})
    with pytest.raises(PyctrError, match="no name of a credential helper"):
        Keyring().find("quay.io")


def test_login_writes_what_podman_reads_and_keeps_the_rest(home: Path) -> None:
    path = home / "XDG_RUNTIME_DIR/containers/auth.json"
    write(path, {"auths": {"ghcr.io": secret("other:1")}, "future": [1]})
    assert Keyring().login("quay.io", Credentials(username="me", password="p:w")) == str(path)
    document = json.loads(path.read_text())
    assert document["auths"]["quay.io"] == secret("me:p:w") and document["future"] == [1]
    assert path.stat().st_mode & 0o777 == 0o600
    Keyring().logout("quay.io")
    assert list(json.loads(path.read_text())["auths"]) == ["ghcr.io"]
    with pytest.raises(NotFound, match=r"not logged in to 'quay\.io'"):
        Keyring().logout("quay.io")


def test_login_leaves_the_password_to_a_helper_that_is_there_for_it(home: Path) -> None:
    write(home / "HOME/.docker/config.json", {"credHelpers": {"quay.io": "test"}})
    helper(home, f"cat > {home}/kept-$1")
    Keyring().login("quay.io", Credentials(username="me", password="pw"))
    assert json.loads((home / "kept-store").read_text()) == {"ServerURL": "quay.io", "Username": "me", "Secret": "pw"}
    assert not (home / "XDG_RUNTIME_DIR/containers/auth.json").exists()
    Keyring().logout("quay.io")
    assert (home / "kept-erase").read_text() == "quay.io"


def test_docker_config_says_where_docker_s_file_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "elsewhere"))
    assert Keyring().login("quay.io", Credentials(username="me", password="pw")) == f"{home}/elsewhere/config.json"
    assert who("quay.io") == ("me", "pw")


def test_a_broken_file_is_named_and_a_password_never_shown(home: Path) -> None:
    (home / "HOME/.docker/config.json").write_text("{nonsense")
    with pytest.raises(StorageError, match=r"config\.json"):
        Keyring().find("quay.io")
    assert "hush" not in repr(Credentials(username="me", password="hush", identity_token="hush"))
