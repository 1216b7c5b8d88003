"""Manifests, indexes and configurations from outside: checked before anything in them is believed.

image-spec manifest.md, image-index.md, config.md; Docker's schema 2 of the same. Every refusal is one StorageError.
"""

from __future__ import annotations

from pyctr.core import jsontext
from pyctr.core.errors import StorageError, Unsupported
from pyctr.core.images.model import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, INDEXES, MANIFEST
from pyctr.core.images.reference import is_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Document = dict[str, Any]

LIMIT = 4 << 20
"""Bytes of a manifest, an index or a configuration: what registries accept (distribution-spec, "Pushing Manifests")."""

MAX_LAYERS = 2000
ACCEPT = (INDEX, MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_CONFIGS = ("application/vnd.oci.image.config.v1+json", DOCKER_CONFIG, "application/octet-stream")
_SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
_LAYERS = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
)
_FOREIGN = (
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)
_PACKED = ("", "+gzip", "+zstd", ".gzip", ".zstd")


def manifest(content: bytes, media_type: str, what: str) -> tuple[Document, str]:
    """(document, media type) of a manifest or index.

    `media_type` is what its bearer called it, "" when nobody did. `what` names it in messages. Raises StorageError for
    what is neither, Unsupported for what pyctr does not do: schema 1, artifacts, foreign layers, other digests.
    """
    document = parse(content, what)
    inner = document.get("mediaType")
    given = media_type.partition(";")[0].strip()
    kind = str(inner or given)
    if kind in _SCHEMA_1 or given in _SCHEMA_1 or document.get("schemaVersion") == 1:
        raise Unsupported(f"{what} is a manifest of schema 1, which no current tool writes", hint="push it anew")
    if kind not in ACCEPT and not inner and given in ("", "application/json", "text/plain", "application/octet-stream"):
        kind = INDEX if "manifests" in document else MANIFEST if "config" in document else ""
    if kind not in ACCEPT:
        raise StorageError(f"{what} has the media type '{kind or given or 'none'}'", hint="it is no container image")
    if inner and given in ACCEPT and given != inner:
        raise StorageError(f"{what} came as '{given}' but calls itself '{inner}'", hint="the registry is broken")
    if document.get("schemaVersion") != 2:
        raise StorageError(f"{what} has no schemaVersion 2")
    if kind in INDEXES:
        if "layers" in document or "config" in document:
            raise StorageError(f"{what} is an index and a manifest at once", hint="it is broken or hostile")
        for entry in _list(document, "manifests", what):
            descriptor(entry, what)
    else:
        if "manifests" in document:
            raise StorageError(f"{what} is an index and a manifest at once", hint="it is broken or hostile")
        _image(document, what)
    return document, kind


def descriptor(entry: Any, what: str) -> tuple[str, int]:
    """(digest, size) of a descriptor. Raises StorageError, Unsupported for a digest that is not sha256."""
    if not isinstance(entry, dict):
        raise StorageError(f"{what} is broken: a descriptor is no object")
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        if isinstance(digest, str) and digest.startswith(("sha512:", "sha384:", "blake3:")):
            raise Unsupported(f"{what} names a '{digest[:6]}' digest", hint="pyctr reads sha256 only")
        raise StorageError(f"{what} is broken: '{str(digest)[:80]}' is not a sha256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 50:
        raise StorageError(f"{what} is broken: '{str(size)[:40]}' is no size")
    return digest, size


def configuration(content: bytes, layers: int, what: str) -> Document:
    """The image configuration for a manifest of that many layers. Raises StorageError."""
    document = parse(content, what)
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not all(isinstance(one, str) and is_digest(one) for one in diff_ids):
        raise StorageError(f"{what} has no list of diffIDs", hint="it is no container image, or it is broken")
    if len(diff_ids) != layers:
        raise StorageError(f"{what} has {len(diff_ids)} diffIDs for {layers} layers", hint="it is broken")
    for key, kind in (("config", dict), ("history", list), ("architecture", str), ("os", str), ("created", str)):
        if document.get(key) is not None and not isinstance(document[key], kind):
            raise StorageError(f"{what} is broken: its member '{key}' is no {kind.__name__}")
    if not all(isinstance(step, dict) for step in document.get("history") or []):
        raise StorageError(f"{what} is broken: its history is no list of objects")
    if document.get("os") not in (None, "", "linux"):
        raise Unsupported(f"{what} is for {document['os']}", hint="pyctr runs linux images")
    return document


def parse(content: bytes, what: str) -> Document:
    """A JSON object. Raises StorageError for anything else, however deep or odd."""
    if len(content) > LIMIT:
        raise StorageError(f"{what} is bigger than {LIMIT >> 20} MiB", hint="it is no container image")
    try:
        document = jsontext.loads(content)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{what} is not valid JSON: {str(error)[:100]}") from None
    if not isinstance(document, dict):
        raise StorageError(f"{what} is not a JSON object")
    return document


def is_layer(media_type: str) -> bool:
    return any(media_type == base + packing for base in _LAYERS for packing in _PACKED)


def is_foreign(media_type: str) -> bool:
    return any(media_type == base + packing for base in _FOREIGN for packing in _PACKED)


def _image(document: Document, what: str) -> None:
    config = document.get("config")
    descriptor(config, what)
    assert isinstance(config, dict)
    kind = config.get("mediaType")
    if kind not in _CONFIGS:
        raise Unsupported(
            f"{what} is an artifact of the type '{str(document.get('artifactType') or kind)[:100]}'",
            hint="it is no container image",
        )
    layers = _list(document, "layers", what)
    if len(layers) > MAX_LAYERS:
        raise StorageError(f"{what} has {len(layers)} layers", hint="it is broken or hostile")
    for layer in layers:
        digest, _ = descriptor(layer, what)
        kind = str(layer.get("mediaType") or "")
        if is_foreign(kind):
            raise Unsupported(
                f"layer '{digest[7:19]}' of {what} is a foreign one, which registries do not hold",
                hint="such layers are part of Windows images; pyctr fetches nothing from other places",
            )
        if kind and not is_layer(kind):
            raise Unsupported(f"layer '{digest[7:19]}' of {what} has the media type '{kind[:100]}'", hint="not a layer")


def _list(document: Document, key: str, what: str) -> list[Any]:
    found = document.get(key)
    if not isinstance(found, list):
        raise StorageError(f"{what} is broken: no list '{key}'")
    return found
