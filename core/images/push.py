"""An image into a registry: its blobs side by side, then its manifest, then the index that holds it."""

from __future__ import annotations

import threading

from pyctr.core.errors import NetworkError, StorageError, UsageError
from pyctr.core.images import documents, registries, upload
from pyctr.core.images.access import Access
from pyctr.core.images.model import INDEXES
from pyctr.core.images.progress import NOTE, Progress
from pyctr.core.images.reference import Reference, parse
from pyctr.core.images.transport import Cancel
from pyctr.core.images.workers import together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.images.registry import Registry
    from pyctr.core.images.store import ImageStore
    from pyctr.core.images.workers import Tell

    Manifests = list[tuple[str, bytes, str]]
    Blobs = dict[str, int]

PARALLEL = 4


def push(
    images: ImageStore,
    text: str,
    target: str = "",
    *,
    access: Access | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancel: Cancel | None = None,
) -> tuple[str, str]:
    """Push an image under its name or another; returns (reference, digest) there.

    Raises ImageNotFound, UsageError, NetworkError, StorageError, Cancelled. A manifest follows its
    blobs, never the other way round.
    """
    cancel = cancel or Cancel()
    tell = progress or (lambda event: None)
    reference = destination(images, text, target)
    top, manifests, blobs = complete(images, text, lambda note: tell(Progress(what=NOTE, text=note)))
    access = access or Access()
    transport = access.transport(cancel)
    try:
        endpoint = registries.load().destination(reference)
        registry = access.open(endpoint, transport, lambda note: tell(Progress(what=NOTE, text=note)))
        registry.ping()
        neighbours = _neighbours(images, reference)
        todo = list(blobs.items())
        lock = threading.Lock()

        def work(tell: Tell) -> None:
            while True:
                with lock:
                    if not todo:
                        return
                    digest, size = todo.pop(0)
                upload.blob(registry, images.blobs, digest, size, neighbours.get(digest, []), tell)

        together([work] * min(PARALLEL, len(todo)), tell, cancel)
        _put(registry, manifests, top, reference)
        return str(reference), top
    finally:
        transport.close()


def destination(images: ImageStore, text: str, target: str = "") -> Reference:
    """Where a push goes. Raises UsageError for names that are no registry's."""
    reference = parse(target) if target else None
    if reference is None:
        found = images.resolve(text)
        named = parse(text) if not text.startswith("sha256:") else None
        if named is None or str(named) not in found.names:
            if not found.names:
                raise UsageError(f"'{text}' has no name to push it by", hint="pyctr push IMAGE REGISTRY/NAME:TAG")
            named = parse(found.names[0])
        reference = named
    if reference.registry == "localhost":
        raise UsageError(f"'{reference}' is a name of this host only", hint="pyctr push IMAGE REGISTRY/NAME:TAG")
    if reference.digest:
        raise UsageError(f"'{reference}' is a digest, not a name", hint="push it by a tag")
    return reference


def complete(images: ImageStore, text: str, note: Callable[[str], None]) -> tuple[str, Manifests, Blobs]:
    """(digest of the top, manifests from the inside out as (digest, content, media type), blobs with their sizes).

    An index of which not everything is here is left out: what goes is the image itself.
    """
    found = images.resolve(text)
    top = images.descriptor(found)["digest"]
    manifests: Manifests = []
    blobs: Blobs = {}
    if top != found.digest:
        try:
            _gather(images, top, manifests, blobs)
            return top, manifests, blobs
        except StorageError:
            note("only this host's platform is here: it goes alone, without the index")
            manifests, blobs = [], {}
    _gather(images, found.digest, manifests, blobs)
    return found.digest, manifests, blobs


def _gather(images: ImageStore, digest: str, manifests: Manifests, blobs: Blobs) -> None:
    content = images.blobs.read(digest)
    document, media_type = documents.manifest(content, "", f"manifest '{digest[:19]}…'")
    if media_type in INDEXES:
        for entry in document["manifests"]:
            _gather(images, entry["digest"], manifests, blobs)
    else:
        for part in [*document["layers"], document["config"]]:
            if not images.blobs.has(part["digest"]):
                raise StorageError(f"blob '{part['digest'][:19]}…' is missing", hint="pull the image again")
            blobs[part["digest"]] = part["size"]
    manifests.append((digest, content, media_type))


def _neighbours(images: ImageStore, target: Reference) -> dict[str, list[str]]:
    """Blob -> repositories of the same registry that have it as far as we know."""
    known: dict[str, list[str]] = {}
    for image in images.list():
        for name in image.names:
            reference = parse(name)
            if reference.registry != target.registry or reference.repository == target.repository:
                continue
            for digest in [layer.digest for layer in image.layers] + [image.id]:
                if reference.repository not in known.setdefault(digest, []):
                    known[digest].append(reference.repository)
    return known


def _put(registry: Registry, manifests: Manifests, top: str, reference: Reference) -> None:
    for digest, content, media_type in manifests:
        upload.manifest(registry, content, media_type, reference.tag if digest == top else digest)
    if not registry.has_manifest(top):
        raise NetworkError(f"'{registry.host}' took '{reference.familiar}' but does not have it")
