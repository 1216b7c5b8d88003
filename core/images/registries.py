"""Where an image may be fetched from: containers-registries.conf(5), the file podman, skopeo and buildah share.

Mirrors, other locations, blocked and insecure registries, short names. Read are $CONTAINERS_REGISTRIES_CONF or
~/.config/containers/registries.conf or /etc/containers/registries.conf, then the drop-ins of registries.conf.d beside
it in name order. Without any file a short name is Docker Hub's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from pyctr.core.errors import NetworkError, UsageError
from pyctr.core.images.reference import DEFAULT_REGISTRY, Reference, parse
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ENVIRONMENT = "CONTAINERS_REGISTRIES_CONF"
AUTH_FILES = "containers-auth.json"
_SYSTEM = "/etc/containers"


class Endpoint(Record):
    """One place that may hold an image."""

    registry: str
    """host[:port] as written in references; "docker.io" is resolved when connecting."""
    repository: str
    insecure: bool = False
    """Plain HTTP and unverified certificates are all right."""
    mirror: bool = False

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"


class Registries:
    """The merged configuration. Raises UsageError naming the file that cannot be read."""

    def __init__(self, documents: Iterable[tuple[str, dict[str, Any]]] = ()) -> None:
        self.search: list[str] = []
        self.mode = "permissive"
        """Which of several registries a short name is of: the first that has it, unless this is "enforcing"."""
        self.aliases: dict[str, str] = {}
        self.helpers = [AUTH_FILES]
        """Credential helpers to ask, in order; AUTH_FILES stands for the files."""
        self.rules: dict[str, dict[str, Any]] = {}
        for path, document in documents:
            self._merge(path, document)

    def endpoints(self, reference: Reference) -> list[Endpoint]:
        """Where to ask for a reference, mirrors first. Raises NetworkError when it is blocked."""
        name = reference.name
        prefix = self._allowed(name)
        if prefix is None:
            return [Endpoint(registry=reference.registry, repository=reference.repository)]
        rule = self.rules[prefix]
        found = []
        only_digests = bool(rule.get("mirror-by-digest-only"))
        for mirror in rule.get("mirror") or []:
            when = str(mirror.get("pull-from-mirror") or ("digest-only" if only_digests else "all"))
            if when == "all" or (when == "digest-only") == bool(reference.digest):
                found.append(self._moved(name, prefix, mirror, mirror=True))
        found.append(self._moved(name, prefix, {"location": _location(prefix, name), **rule}, mirror=False))
        return found

    def destination(self, reference: Reference) -> Endpoint:
        """Where to push: what the name says, since mirrors and other locations are for reading. Raises NetworkError."""
        prefix = self._allowed(reference.name)
        insecure = prefix is not None and bool(self.rules[prefix].get("insecure"))
        return Endpoint(registry=reference.registry, repository=reference.repository, insecure=insecure)

    def insecure(self, registry: str) -> bool:
        """May this registry be spoken to without verified TLS?"""
        prefix = self._match(registry)
        return prefix is not None and bool(self.rules[prefix].get("insecure"))

    def blocked(self, registry: str) -> bool:
        """Must this registry not be asked at all?"""
        prefix = self._match(registry)
        return prefix is not None and bool(self.rules[prefix].get("blocked"))

    def candidates(self, text: str) -> list[Reference]:
        """What a name may stand for, in the order to try. Raises UsageError for a short name that nobody may guess."""
        reference = parse(text)
        if not is_short(text):
            return [reference]
        bare = reference.repository.removeprefix("library/")
        if bare in self.aliases:
            target = parse(self.aliases[bare])
            return [Reference(target.registry, target.repository, reference.tag, reference.digest)]
        if not self.search:
            return [reference]
        found = []
        for registry in self.search:
            one = parse(f"{registry}/{bare}")
            found.append(Reference(one.registry, one.repository, reference.tag, reference.digest))
        if len(found) > 1 and self.mode == "enforcing":
            raise UsageError(
                f"the short name '{text}' could be {' or '.join(one.familiar_name for one in found)}",
                hint="write the whole name, or add an alias to registries.conf",
            )
        return found

    # inside

    def _allowed(self, name: str) -> str | None:
        """Like `_match`. Raises NetworkError when the entry says that nobody may go there."""
        prefix = self._match(name)
        if prefix is not None and self.rules[prefix].get("blocked"):
            raise NetworkError(f"'{name}' is blocked by registries.conf", hint=f"see the entry '{prefix}' there")
        return prefix

    def _match(self, name: str) -> str | None:
        """The longest prefix that covers a name."""
        best = None
        for prefix in self.rules:
            if _covers(prefix, name) and (best is None or len(prefix) > len(best)):
                best = prefix
        return best

    def _moved(self, name: str, prefix: str, entry: dict[str, Any], *, mirror: bool) -> Endpoint:
        location = str(entry.get("location") or "")
        if prefix.startswith("*.") and not mirror and location == _location(prefix, name):
            moved = name
        else:
            moved = location + name[len(_location(prefix, name)) :]
        registry, _, repository = moved.partition("/")
        return Endpoint(registry=registry, repository=repository, insecure=bool(entry.get("insecure")), mirror=mirror)

    def _merge(self, path: str, document: dict[str, Any]) -> None:
        try:
            if "unqualified-search-registries" in document:
                self.search = [str(one) for one in document["unqualified-search-registries"]]
            self.helpers = [str(one) for one in document.get("credential-helpers") or []] or self.helpers
            self.mode = str(document.get("short-name-mode") or self.mode)
            for alias, target in (document.get("aliases") or {}).items():
                if target:
                    self.aliases[str(alias)] = str(target)
                else:
                    self.aliases.pop(str(alias), None)
            for rule in document.get("registry") or []:
                prefix = str(rule.get("prefix") or rule.get("location") or "")
                if not prefix:
                    raise ValueError("a [[registry]] without prefix and location")
                self.rules[prefix.rstrip("/")] = dict(rule)
            # the first format of this file
            old = document.get("registries") or {}
            self.search = [str(one) for one in (old.get("search") or {}).get("registries") or self.search]
            for section, key in (("insecure", "insecure"), ("block", "blocked")):
                for registry in (old.get(section) or {}).get("registries") or []:
                    self.rules.setdefault(str(registry), {"location": str(registry)})[key] = True
        except (TypeError, AttributeError, ValueError) as error:
            raise UsageError(f"cannot understand '{path}': {error}", hint="containers-registries.conf(5)") from None


def load() -> Registries:
    """This user's configuration. Raises UsageError when a file is broken."""
    return Registries([(path, _read(path)) for path in files()])


def files() -> list[str]:
    """The files that count, in the order they are merged."""
    home = os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "containers")
    chosen = os.environ.get(ENVIRONMENT, "")
    folders = [f"{_SYSTEM}/registries.conf.d", f"{home}/registries.conf.d"]
    if chosen:
        main, folders = chosen, [f"{chosen}.d"]
    elif os.path.exists(f"{home}/registries.conf"):
        main, folders = f"{home}/registries.conf", [f"{home}/registries.conf.d"]
    else:
        main = f"{_SYSTEM}/registries.conf"
    found = [main] if os.path.exists(main) else []
    for folder in folders:
        try:
            found += [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if name.endswith(".conf")]
        except OSError:
            continue  # there need be none
    return found


def is_short(text: str) -> bool:
    """Does a name come without a registry?"""
    first, slash, _ = text.partition("/")
    return not (slash and ("." in first or ":" in first or first == "localhost"))


def _read(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read '{path}': {error}", hint="containers-registries.conf(5)") from None


def _covers(prefix: str, name: str) -> bool:
    if prefix.startswith("*."):
        return name.partition("/")[0].partition(":")[0].endswith(prefix[1:])
    return name == prefix or (name.startswith(prefix) and name[len(prefix)] in "/:@")


def _location(prefix: str, name: str) -> str:
    """The part of a name that its prefix covers."""
    return name.partition("/")[0] if prefix.startswith("*.") else prefix


def server(registry: str) -> str:
    """The host that answers for a registry: Docker Hub's is called otherwise."""
    return "registry-1.docker.io" if registry == DEFAULT_REGISTRY else registry
