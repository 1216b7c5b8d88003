"""Questions to a registry that fetch no image: a manifest, its referrers, tags, and which repositories there are."""

from __future__ import annotations

from urllib.parse import urlencode

from pyctr.core import jsontext
from pyctr.core.errors import NetworkError, Unsupported, UsageError
from pyctr.core.images import documents, registries
from pyctr.core.images.access import Access
from pyctr.core.images.reference import DEFAULT_REGISTRY, Reference
from pyctr.core.images.registries import Endpoint
from pyctr.core.images.registry import Answer, Registry
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

_HUB = "index.docker.io"
_PAGE = 100


class Hit(Record):
    """One repository that a search found."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False


def manifest(text: str, access: Access) -> dict[str, Any]:
    """The manifest or index under a name. Raises ImageNotFound, NetworkError, StorageError."""

    def ask(registry: Registry, reference: Reference) -> dict[str, Any]:
        content, media_type, _ = registry.manifest(reference.digest or reference.tag)
        document, _ = documents.manifest(content, media_type, f"the manifest of '{reference.familiar}'")
        return document

    return _ask(text, access, ask)


def referrers(text: str, access: Access) -> list[dict[str, Any]]:
    """Descriptors of what refers to an image. Raises as `manifest`."""

    def ask(registry: Registry, reference: Reference) -> list[dict[str, Any]]:
        digest = reference.digest or registry.manifest(reference.tag)[2]
        return registry.referrers(digest)

    return _ask(text, access, ask)


def tags(text: str, access: Access) -> list[tuple[str, str]]:
    """(repository, tag) of all its tags. Raises NetworkError."""

    def ask(registry: Registry, reference: Reference) -> list[tuple[str, str]]:
        return [(reference.familiar_name, tag) for tag in registry.tags()]

    return _ask(text, access, ask)


def search(term: str, limit: int, access: Access) -> list[Hit]:
    """Repositories with a word in their name: Docker Hub's search, elsewhere the catalog.

    Raises Unsupported where a registry offers neither, NetworkError.
    """
    first, slash, rest = term.partition("/")
    named = bool(slash) and not registries.is_short(term)
    place, word = (first, rest) if named else (DEFAULT_REGISTRY, term)
    if not word and not named:
        raise UsageError("nothing to search for", hint="pyctr search nginx")
    configuration = registries.load()
    transport = access.transport()
    try:
        host = _HUB if place == DEFAULT_REGISTRY else place
        endpoint = Endpoint(registry=host, repository="", insecure=configuration.insecure(place))
        if configuration.blocked(place):
            raise NetworkError(f"'{place}' is blocked by registries.conf")
        registry = access.open(endpoint, transport)
        try:
            return _offered(registry, word, limit)
        except Answer as answer:
            if answer.status not in (400, 401, 403, 404, 405):
                raise
        try:
            found = [name for name in registry.catalog() if word in name]
        except Answer as answer:
            raise Unsupported(f"'{place}' offers no search", hint=answer.message) from None
        return [Hit(name=f"{place}/{name}") for name in found[:limit]]
    finally:
        transport.close()


def _offered(registry: Registry, word: str, limit: int) -> list[Hit]:
    """The search of Docker's first API, which Hub and some others still have."""
    where = "/v1/search?" + urlencode({"q": word, "n": min(limit, _PAGE)})
    content = registry.read(registry.request("GET", where, scopes=[]), documents.LIMIT, "the search result")
    try:
        results = jsontext.loads(content)["results"]
        prefix = "" if registry.endpoint.registry == _HUB else f"{registry.endpoint.registry}/"
        return [
            Hit(
                name=prefix + str(one["name"]),
                description=str(one.get("description") or ""),
                stars=int(one.get("star_count") or 0),
                official=bool(one.get("is_official")),
            )
            for one in results[:limit]
        ]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NetworkError(f"'{registry.host}' answers a search with something else") from None


def _ask(text: str, access: Access, ask: Callable[[Registry, Reference], T]) -> T:
    configuration = registries.load()
    [reference, *_] = configuration.candidates(text)
    transport = access.transport()
    try:
        return ask(access.open(configuration.endpoints(reference)[-1], transport), reference)
    finally:
        transport.close()
