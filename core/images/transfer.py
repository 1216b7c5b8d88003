"""Images from files: an OCI layout as directory or archive, and what docker save and podman save write.

Archives are read once, forward, packed or not, from files and pipes. Every blob goes into the store under its own
digest; what no image turns out to need is taken out again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from pyctr.core import jsontext
from pyctr.core.errors import PyctrError, StorageError, from_oserror
from pyctr.core.images import documents, tarstream
from pyctr.core.images.decompress import Plain
from pyctr.core.images.model import (
    CONFIG,
    INDEXES,
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    MANIFEST,
    REF_NAME,
    Image,
    image,
    platform_architecture,
)
from pyctr.core.images.reference import is_digest, parse
from pyctr.core.images.store import ImageStore
from pyctr.core.images.tarstream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.images.layers import LayerStore

    Fetch = Callable[[str], None]

_PIECE = 1 << 20
_SMALL = 16 << 20
_INDEX, _DOCKER = "index.json", "manifest.json"


def load(store: ImageStore, layers: LayerStore, path: str, names: list[str] | None = None) -> list[tuple[str, Image]]:
    """Import every image of a file, "-" for stdin, or directory, and unpack those for this host.

    Returns each with the name it got, "" for none. Nothing gets a name before all of it is found to be right. Raises
    StorageError for what is no image or damaged.
    """
    return _load(store, layers, path, names)


def load_layout(store: ImageStore, path: str, names: list[str] | None = None) -> list[Image]:
    """Import every image; `names` replace the names in the file, in order. Raises StorageError, PyctrError.

    Only blobs that a manifest needs are kept, each checked against its digest.
    """
    return [found for _, found in _load(store, None, path, names)]


def _load(store: ImageStore, layers: LayerStore | None, path: str, names: list[str] | None) -> list[tuple[str, Image]]:
    try:
        with store.adding():
            checked: set[str] = set()
            found = _from_directory(store, path) if os.path.isdir(path) else _from_archive(store, path, checked)
            if not found:
                raise StorageError(f"'{path}' holds no image")
            if layers is not None:
                for content, _ in found:
                    _unpack(store, layers, content, checked)
            given = list(names or [])
            named = [(content, str(parse(given.pop(0))) if given else name) for content, name in found]
            return [(name, store.add(content, name)) for content, name in named]
    except OSError as error:
        raise from_oserror(error, f"reading '{path}'") from error
    except (KeyError, TypeError) as error:
        raise StorageError(f"'{path}' is no OCI image layout: {error!r}") from error
    finally:
        store.collect()


def _unpack(store: ImageStore, layers: LayerStore, content: bytes, checked: set[str]) -> None:
    document, kind = documents.manifest(content, "", "a manifest")
    if kind in INDEXES:
        return  # the first start unpacks what it needs of it
    configuration = store.manifest(document["config"]["digest"])
    if configuration.get("architecture") in (None, "", platform_architecture()):
        layers.ensure(image("sha256:" + "0" * 64, [], document, configuration), checked=checked)


def _name(descriptor: dict[str, Any]) -> str:
    """The annotation is a whole reference, or with some tools only a tag, which names nothing."""
    annotations = descriptor.get("annotations") or {}
    for key in ("io.containerd.image.name", REF_NAME):
        text = str(annotations.get(key) or "")
        if "/" in text or ":" in text:
            try:
                return str(parse(text))
            except PyctrError:
                continue  # a name only the other tool understands: the image stays nameless
    return ""


def _from_directory(store: ImageStore, path: str) -> list[tuple[bytes, str]]:
    try:
        with open(f"{path}/{_INDEX}", "rb") as file:
            index = documents.parse(file.read(documents.LIMIT + 1), f"'{path}/{_INDEX}'")
    except FileNotFoundError:
        raise StorageError(f"'{path}' is no OCI image layout: no index.json in it") from None

    def copy(digest: str) -> None:
        if store.blobs.has(digest):
            return
        with open(f"{path}/blobs/sha256/{digest[7:]}", "rb") as source, store.blobs.writer() as writer:
            while piece := source.read(_PIECE):
                writer.write(piece)
            writer.commit(digest)

    return _gather(store, index, copy)


def _gather(store: ImageStore, index: dict[str, Any], fetch: Fetch) -> list[tuple[bytes, str]]:
    """Fetch everything below an index; (manifest, name) of its entries."""
    for digest in _needed(store, index, fetch, 0):
        fetch(digest)
    return [(store.blobs.read(entry["digest"]), _name(entry)) for entry in index.get("manifests") or []]


def _needed(store: ImageStore, index: dict[str, Any], fetch: Fetch, depth: int) -> Iterator[str]:
    """Digests of the blobs below an index; manifests are fetched on the way. Platforms that are absent are left out."""
    if depth > 3:
        raise StorageError("an index of indexes of indexes", hint="it is broken or hostile")
    for entry in index.get("manifests") or []:
        digest, _ = documents.descriptor(entry, "the index")
        try:
            fetch(digest)
        except FileNotFoundError:
            if entry.get("platform"):
                continue
            raise
        content = store.blobs.read(digest, documents.LIMIT)
        document, kind = documents.manifest(content, str(entry.get("mediaType") or ""), f"manifest '{digest[7:19]}'")
        if kind in INDEXES:
            yield from _needed(store, document, fetch, depth + 1)
            continue
        config = document["config"]["digest"]
        fetch(config)
        documents.configuration(
            store.blobs.read(config, documents.LIMIT), len(document["layers"]), f"configuration '{config[7:19]}'"
        )
        yield from (part["digest"] for part in document["layers"])


class _Archive:
    """What one pass over an archive found."""

    def __init__(self, checked: set[str]) -> None:
        self.checked = checked
        self.small: dict[str, bytes] = {}
        self.blobs: dict[str, str] = {}
        """Member -> digest."""
        self.links: dict[str, str] = {}


def _from_archive(store: ImageStore, path: str, checked: set[str]) -> list[tuple[bytes, str]]:
    """`checked` gets the digests of the blobs that came from it."""
    archive = _Archive(checked)
    file = sys.stdin.buffer if path == "-" else open(path, "rb", buffering=0)  # noqa: SIM115  closed below
    plain = iter(Plain(file, hashed=False))
    try:
        stream = Stream(plain)
        for entry in tarstream.entries(stream):
            _take(store, archive, entry, stream, path)
            stream.pad(entry.size)
    finally:
        plain.close()  # type: ignore[attr-defined]
        if path != "-":
            file.close()
    if _INDEX in archive.small:

        def present(digest: str) -> None:
            if not store.blobs.has(digest):
                raise FileNotFoundError(2, "blob is not in the archive", digest)

        return _gather(store, documents.parse(archive.small[_INDEX], f"index.json in '{path}'"), present)
    if _DOCKER in archive.small:
        return _from_docker(store, archive, path)
    raise StorageError(
        f"'{path}' is no image archive: neither index.json nor manifest.json in it",
        hint="'pyctr import' takes a rootfs",
    )


def _take(store: ImageStore, archive: _Archive, entry: tarstream.Entry, stream: Stream, path: str) -> None:
    """One member: a small document, a blob, or a link that old docker archives use for equal layers."""
    name = os.path.normpath(entry.name)
    if entry.kind in (tarstream.SYMLINK, tarstream.HARDLINK):
        base = os.path.dirname(name) if entry.kind == tarstream.SYMLINK else ""
        archive.links[name] = os.path.normpath(os.path.join(base, entry.linkname))
        return
    if entry.kind != tarstream.FILE:
        return
    if entry.spans is not None:
        raise StorageError(f"'{name}' in '{path}' is packed as a sparse file", hint="pack the image without --sparse")
    if name in (_INDEX, _DOCKER):
        if entry.size > _SMALL:
            raise StorageError(f"{name} in '{path}' is bigger than {_SMALL >> 20} MiB")
        archive.small[name] = stream.exactly(entry.size)
        return
    expected = f"sha256:{os.path.basename(name)}" if name.startswith("blobs/sha256/") else ""
    if expected and not is_digest(expected):
        stream.skip(entry.size)
        return
    with store.blobs.writer() as writer:
        remaining = entry.size
        while remaining:
            piece = stream.exactly(min(_PIECE, remaining))
            writer.write(piece)
            remaining -= len(piece)
        archive.blobs[name] = writer.commit(expected)
        if writer.fresh:
            archive.checked.add(archive.blobs[name])


def _from_docker(store: ImageStore, archive: _Archive, path: str) -> list[tuple[bytes, str]]:
    """docker save's manifest.json: configurations and layers by file name; manifests are made for them."""
    what = f"manifest.json in '{path}'"
    try:
        listed = jsontext.loads(archive.small[_DOCKER])
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{what} is not valid JSON: {error}") from None
    found = []
    for entry in listed if isinstance(listed, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("Layers"), list):
            raise StorageError(f"{what} is broken: no list 'Layers'")
        config = _member(archive, entry.get("Config"), what)
        content = store.blobs.read(config, documents.LIMIT)
        document = documents.configuration(content, len(entry["Layers"]), f"the configuration in '{path}'")
        layers = []
        for member, diff_id in zip(entry["Layers"], document["rootfs"]["diff_ids"], strict=True):
            digest = _member(archive, member, what)
            kind = _packing(store, digest)
            if kind == LAYER and digest != diff_id:
                raise StorageError(
                    f"layer '{diff_id[7:19]}' in '{path}' really is '{digest[7:19]}'", hint="it is damaged"
                )
            layers.append({"mediaType": kind, "digest": digest, "size": os.path.getsize(store.blobs.path(digest))})
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config, "size": len(content)},
            "layers": layers,
        }
        text = jsontext.dumps(manifest).encode()
        tags = [str(parse(str(tag))) for tag in entry.get("RepoTags") or []]
        found += [(text, tag) for tag in tags or [""]]
    return found


def _member(archive: _Archive, name: Any, what: str) -> str:
    """The digest of a member, through links."""
    at = os.path.normpath(str(name))
    for _ in range(40):
        if at in archive.blobs:
            return archive.blobs[at]
        if at not in archive.links:
            break
        at = archive.links[at]
    raise StorageError(
        f"{what} names '{str(name)[:100]}', which is not in it", hint="it was cut on its way: get it again"
    )


def _packing(store: ImageStore, digest: str) -> str:
    with store.blobs.open(digest) as blob:
        first = blob.read(4)
    return LAYER_GZIP if first[:2] == b"\x1f\x8b" else LAYER_ZSTD if first == b"\x28\xb5\x2f\xfd" else LAYER
