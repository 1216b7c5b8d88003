"""Images from elsewhere: an OCI layout directory, or the same in a tar archive (oci-archive)."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pyctr.core.errors import PyctrError, StorageError, from_oserror
from pyctr.core.fsutil import read_json
from pyctr.core.images import tarstream
from pyctr.core.images.decompress import Plain
from pyctr.core.images.model import INDEXES, REF_NAME, Image
from pyctr.core.images.reference import is_digest, parse
from pyctr.core.images.store import ImageStore
from pyctr.core.images.tarstream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PIECE = 1 << 20


def load_layout(store: ImageStore, path: str, names: list[str] | None = None) -> list[Image]:
    """Import every image of a layout; `names` replace the names in it, in order.

    Only blobs that a manifest needs are kept, each checked against its digest. Raises StorageError for what is no
    layout or is damaged; nothing of it gets a name then.
    """
    try:
        with store.adding():
            index = _from_directory(store, path) if os.path.isdir(path) else _from_archive(store, path)
            given = list(names or [])
            images = []
            for descriptor in index.get("manifests") or []:
                name = given.pop(0) if given else _name(descriptor)
                images.append(store.add(store.blobs.read(descriptor["digest"]), name))
    except OSError as error:
        raise from_oserror(error, f"reading '{path}'") from error
    except (KeyError, TypeError) as error:
        raise StorageError(f"'{path}' is no OCI image layout: {error!r}") from error
    if not images:
        raise StorageError(f"'{path}' holds no image")
    return images


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


def _from_directory(store: ImageStore, path: str) -> dict[str, Any]:
    try:
        index: dict[str, Any] = read_json(f"{path}/index.json")
    except FileNotFoundError:
        raise StorageError(f"'{path}' is no OCI image layout: no index.json in it") from None
    except ValueError as error:
        raise StorageError(str(error)) from error

    def copy(digest: str) -> None:
        if store.blobs.has(digest):
            return
        with open(f"{path}/blobs/sha256/{digest[7:]}", "rb") as source, store.blobs.writer() as writer:
            while piece := source.read(_PIECE):
                writer.write(piece)
            writer.commit(digest)

    for digest in _needed(store, index, copy):
        copy(digest)
    return index


def _needed(store: ImageStore, index: dict[str, Any], fetch: object) -> Iterator[str]:
    """Digests of the blobs below an index; manifests are fetched on the way. Platforms that are absent are left out."""
    for descriptor in index.get("manifests") or []:
        digest = str(descriptor["digest"])
        if not is_digest(digest):
            raise StorageError(f"'{digest}' is not a sha256 digest")
        try:
            fetch(digest)  # type: ignore[operator]
        except FileNotFoundError:
            if descriptor.get("platform"):
                continue
            raise
        document = store.manifest(digest)
        if descriptor.get("mediaType") in INDEXES or "manifests" in document:
            yield from _needed(store, document, fetch)
            continue
        for part in [document["config"], *(document.get("layers") or [])]:
            if not is_digest(part["digest"]):
                raise StorageError(f"'{part['digest']}' is not a sha256 digest")
            yield part["digest"]


def _from_archive(store: ImageStore, path: str) -> dict[str, Any]:
    """One pass: every blob goes into the store under its own digest; what no manifest names is collected later."""
    import json

    index: dict[str, Any] | None = None
    with open(path, "rb", buffering=0) as file:
        plain = iter(Plain(file))
        try:
            stream = Stream(plain)
            for entry in tarstream.entries(stream):
                name = os.path.normpath(entry.name)
                if entry.kind != tarstream.FILE:
                    continue
                if name == "index.json" and entry.size <= 16 << 20:
                    try:
                        index = json.loads(stream.exactly(entry.size))
                    except ValueError as error:
                        raise StorageError(f"index.json in '{path}' is not valid JSON: {error}") from error
                elif name.startswith("blobs/sha256/") and is_digest(f"sha256:{os.path.basename(name)}"):
                    with store.blobs.writer() as writer:
                        remaining = entry.size
                        while remaining:
                            piece = stream.exactly(min(_PIECE, remaining))
                            writer.write(piece)
                            remaining -= len(piece)
                        writer.commit(f"sha256:{os.path.basename(name)}")
                else:
                    stream.skip(entry.size)
                stream.pad(entry.size)
        finally:
            plain.close()  # type: ignore[attr-defined]
    if index is None:
        raise StorageError(f"'{path}' is no oci-archive: no index.json in it")

    def present(digest: str) -> None:
        if not store.blobs.has(digest):
            raise FileNotFoundError(2, "blob is not in the archive", digest)

    for digest in _needed(store, index, present):
        present(digest)
    return index
