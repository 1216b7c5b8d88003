"""Image references: "alpine" is "docker.io/library/alpine:latest".

The grammar is that of the distribution project's reference package:
[registry/]repository[:tag][@algorithm:hex]. Checked by hand rather than with `re`, because compiling
those patterns costs more than reading the whole image.
"""

from __future__ import annotations

from pyctr.core.errors import UsageError

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_HEX = frozenset("0123456789abcdef")
_TAG = _ALNUM | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-")


class Reference:
    """A normalised reference. `tag` and `digest` may each be "", never both."""

    __slots__ = ("digest", "registry", "repository", "tag")

    def __init__(self, registry: str, repository: str, tag: str = "", digest: str = "") -> None:
        self.registry = registry
        self.repository = repository
        self.tag = tag
        self.digest = digest

    @property
    def name(self) -> str:
        """Registry and repository: "docker.io/library/alpine"."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: "alpine"."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        return self.repository.removeprefix("library/")

    @property
    def familiar(self) -> str:
        """The reference as people write it: "alpine:latest"."""
        return self.familiar_name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix

    def __repr__(self) -> str:
        return f"Reference({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def parse(text: str) -> Reference:
    """The normal form of what a user wrote. Raises UsageError quoting it, with what is wrong as the hint."""
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _invalid(text, f"'{digest}' is not a digest like sha256:<64 hex digits>")
    tag = ""
    slash, colon = rest.rfind("/"), rest.rfind(":")
    if colon > slash:
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not is_tag(tag):
            raise _invalid(text, "a tag has up to 128 letters, digits, '_', '.', '-' and starts with none of '.-'")
    first, slashed, remainder = rest.partition("/")
    if slashed and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, repository = first, remainder
        if not _is_registry(registry):
            raise _invalid(text, f"'{registry}' is not a registry host")
        if registry == "index.docker.io":
            registry = DEFAULT_REGISTRY
    else:
        registry, repository = DEFAULT_REGISTRY, rest
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    for component in repository.split("/"):
        if not _is_component(component):
            hint = "a repository has lower-case letters and digits, separated by '.', '_', '-' or '/'"
            if component != component.lower() and _is_component(component.lower()):
                hint = f"repositories are lower case: '{text.replace(component, component.lower())}'"
            raise _invalid(text, hint)
    if len(registry) + 1 + len(repository) > 255:
        raise _invalid(text, "a name has at most 255 characters")
    if not tag and not digest:
        tag = DEFAULT_TAG
    return Reference(registry, repository, tag, digest)


def is_digest(text: str) -> bool:
    """Is it a whole sha256 digest with its algorithm? (Others name nothing we could verify.)"""
    return len(text) == 71 and text.startswith("sha256:") and _HEX.issuperset(text[7:])


def is_hex(text: str) -> bool:
    """Can it be (the beginning of) the hex digits of an id?"""
    return 0 < len(text) <= 64 and _HEX.issuperset(text)


def is_tag(text: str) -> bool:
    """A tag of the distribution spec: [\\w][\\w.-]{0,127}."""
    return 0 < len(text) <= 128 and _TAG.issuperset(text) and text[0] not in ".-"


def _is_component(text: str) -> bool:
    if not text or text[0] not in _ALNUM or text[-1] not in _ALNUM:
        return False
    run = ""
    for char in text:
        if char in _ALNUM:
            if run and run not in (".", "_", "__") and run.strip("-"):
                return False
            run = ""
        elif char in "._-":
            run += char
        else:
            return False
    return True


def _is_registry(text: str) -> bool:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or not host or not _HEX.issuperset(host.lower().replace(":", "").replace(".", "")):
            return False
        return not port or (port[0] == ":" and port[1:].isdecimal())
    host, colon, port = text.partition(":")
    if colon and not (port.isascii() and port.isdecimal()):
        return False
    return all(
        label and label.isascii() and label.replace("-", "").isalnum() and label[0] != "-" and label[-1] != "-"
        for label in host.split(".")
    )


def _invalid(text: str, hint: str) -> UsageError:
    return UsageError(f"invalid image reference '{text}'", hint=hint)
