"""Who the user is at a registry: the files that docker, podman and skopeo write, and their credential helpers.

containers-auth.json(5) and docker's config.json: {"auths": {KEY: {"auth": base64("user:password"), "identitytoken"}},
"credHelpers": {REGISTRY: NAME}, "credsStore": NAME}. A helper is the program docker-credential-NAME; registries.conf
may name some for every registry (`credential-helpers`).
"""

from __future__ import annotations

import base64
import binascii
import os

from pyctr.core.errors import NotFound, PyctrError, StorageError
from pyctr.core.fsutil import Lock, make_private_directory, read_json, write_atomic
from pyctr.core.images import registries
from pyctr.core.images.reference import DEFAULT_REGISTRY
from pyctr.core.images.registries import AUTH_FILES
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HUB = "https://index.docker.io/v1/"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_TOKEN_USER = "<token>"
_HELPER_PATIENCE = 60


class Credentials(Record):
    """What to show a registry. With an `identity_token` the password is empty."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token)

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, …)"


class Keyring:
    """All the files a user may have, or only the one given (--authfile)."""

    def __init__(self, authfile: str = "") -> None:
        self.authfile = authfile or os.environ.get("REGISTRY_AUTH_FILE", "")

    def files(self) -> list[str]:
        """In the order they are asked."""
        if self.authfile:
            return [self.authfile]
        config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        found = [_runtime_file(), f"{config}/containers/auth.json", os.path.expanduser("~/.docker/config.json")]
        return [f"{docker}/config.json", *found[:2]] if (docker := os.environ.get("DOCKER_CONFIG")) else found

    def find(self, registry: str, repository: str = "") -> Credentials:
        """The credentials for a repository of a registry, empty ones when there are none.

        Raises StorageError for a broken file, PyctrError when a helper fails.
        """
        for helper in _for_everybody():
            if helper != AUTH_FILES:
                if found := _from_helper(helper, registry):
                    return found
                continue
            for path in self.files():
                if found := self._in(_load(path), registry, repository):
                    return found
        return Credentials()

    def login(self, registry: str, credentials: Credentials) -> str:
        """Keep them, with the helper that the file names for this registry, or in the file. Returns where."""
        path = self.files()[0]
        helper = self._helper(registry)
        if helper:
            import json

            words = {"ServerURL": _server(registry), "Username": credentials.username, "Secret": credentials.password}
            _ask(helper, "store", json.dumps(words))
            return f"docker-credential-{helper}"
        secret = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
        entry = {"auth": secret}
        if credentials.identity_token:
            entry["identitytoken"] = credentials.identity_token

        def change(document: dict[str, Any]) -> None:
            document.setdefault("auths", {})[registry] = entry

        _edit(path, change)
        return path

    def logout(self, registry: str) -> None:
        """Forget them in every file of ours and its helper. Raises NotFound when nobody was logged in."""
        done = False
        helper = self._helper(registry)
        if helper:
            try:
                _ask(helper, "erase", _server(registry))
                done = True
            except PyctrError as error:
                if "not found" not in error.message:
                    raise
        keys = _keys(registry, "")
        for path in self.files():
            if not any(key in (_load(path).get("auths") or {}) for key in keys):
                continue

            def change(document: dict[str, Any]) -> None:
                for key in keys:
                    document["auths"].pop(key, None)

            _edit(path, change)
            done = True
        if not done:
            raise NotFound(f"not logged in to '{registry}'", hint=f"'pyctr login {registry}' does that")

    # inside

    def _helper(self, registry: str) -> str:
        for path in self.files():
            if helper := _helper_of(_load(path), registry):
                return helper
        first = _for_everybody()[0]
        return "" if first == AUTH_FILES else first

    def _in(self, document: dict[str, Any], registry: str, repository: str) -> Credentials | None:
        helper = _helper_of(document, registry)
        if helper:
            found = _from_helper(helper, registry)
            if found:
                return found
        auths = document.get("auths") or {}
        for key in _keys(registry, repository):
            if isinstance(entry := auths.get(key), dict) and (found := _decode(entry)):
                return found
        for key, entry in auths.items():
            if isinstance(entry, dict) and _host(key) == registry and "/" not in key.partition("://")[2].strip("/"):
                return _decode(entry)
        return None


def _for_everybody() -> list[str]:
    return registries.load().helpers


def _keys(registry: str, repository: str) -> list[str]:
    """The keys that may stand for a repository, the most special first."""
    parts = repository.split("/") if repository else []
    found = ["/".join((registry, *parts[:count])) for count in range(len(parts), -1, -1)]
    if registry == DEFAULT_REGISTRY:
        found += [_HUB, *(f"https://{name}/v1/" for name in _HUB_NAMES), *_HUB_NAMES]
    return [*found, f"https://{registry}", f"https://{registry}/v1/", f"https://{registry}/v2/", f"http://{registry}"]


def _host(key: str) -> str:
    return key.partition("://")[2].partition("/")[0] if "://" in key else key.partition("/")[0]


def _server(registry: str) -> str:
    return _HUB if registry == DEFAULT_REGISTRY else registry


def _decode(entry: dict[str, Any]) -> Credentials | None:
    token = str(entry.get("identitytoken") or "")
    if secret := entry.get("auth"):
        try:
            username, colon, password = base64.b64decode(str(secret)).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None  # another tool's business; anonymous access may do
        if colon:
            return Credentials(username=username, password=password.rstrip("\0"), identity_token=token)
    if entry.get("username"):
        return Credentials(
            username=str(entry["username"]), password=str(entry.get("password") or ""), identity_token=token
        )
    return Credentials(identity_token=token) if token else None


def _helper_of(document: dict[str, Any], registry: str) -> str:
    helpers = document.get("credHelpers") or {}
    for key in (registry, _server(registry), *(_HUB_NAMES if registry == DEFAULT_REGISTRY else ())):
        if helpers.get(key):
            return str(helpers[key])
    return str(document.get("credsStore") or "")


def _from_helper(helper: str, registry: str) -> Credentials | None:
    import json

    try:
        found = json.loads(_ask(helper, "get", _server(registry)))
        username, secret = str(found.get("Username") or ""), str(found.get("Secret") or "")
    except PyctrError as error:
        if "not found" in error.message:
            return None
        raise
    except (ValueError, AttributeError):
        raise PyctrError(f"docker-credential-{helper} answered no JSON") from None
    if username == _TOKEN_USER:
        return Credentials(username=username, identity_token=secret)
    return Credentials(username=username, password=secret) if username else None


def _ask(helper: str, verb: str, words: str) -> str:
    """Raises PyctrError with what the helper said."""
    import subprocess

    if not helper.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise PyctrError(f"'{helper}' is no name of a credential helper")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb], input=words, capture_output=True, text=True, timeout=_HELPER_PATIENCE, check=False
        )
    except FileNotFoundError:
        raise PyctrError(
            f"the credential helper '{program}' is not installed",
            hint="install it, or remove it from credHelpers/credsStore in your auth.json or config.json",
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PyctrError(f"the credential helper '{program}' failed: {type(error).__name__}") from None
    if done.returncode:
        said = (done.stdout or done.stderr).strip().partition("\n")[0][:200]
        raise PyctrError(f"{program} {verb}: {said or f'exit code {done.returncode}'}")
    return done.stdout


def _runtime_file() -> str:
    """Where podman keeps them unless DOCKER_CONFIG is set: gone after a reboot."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return f"{runtime}/containers/auth.json" if runtime else f"/run/containers/{os.geteuid()}/auth.json"


def _load(path: str) -> dict[str, Any]:
    try:
        document = read_json(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (OSError, ValueError) as error:
        raise StorageError(str(error), hint="repair or remove that file") from None
    if not isinstance(document, dict):
        raise StorageError(f"'{path}' is no credentials file", hint="repair or remove it")
    return document


def _edit(path: str, change: object) -> None:
    """Only what is ours in it changes; other tools' settings stay."""
    import json

    path = os.path.realpath(path)
    make_private_directory(os.path.dirname(path))
    with Lock(f"{path}.lock") as lock:
        document = _load(path)
        change(document)  # type: ignore[operator]
        write_atomic(path, json.dumps(document, indent="\t").encode() + b"\n")
        os.unlink(lock.path)
