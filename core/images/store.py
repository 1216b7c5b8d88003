"""The image store: an OCI image layout (image-spec image-layout.md) in <root>/images, readable by every other tool.

    oci-layout              {"imageLayoutVersion": "1.0.0"}
    index.json              one descriptor per name; the name is its annotation org.opencontainers.image.ref.name
    blobs/sha256/<hex>      manifests, configurations, layers
    .lock .gc               ours: of writers of index.json; shared by adders, exclusive for the collector
    .ingest/                ours: blobs being written

A descriptor without a name is a dangling image. Looking an image up reads three small files.
"""

from __future__ import annotations

import os

from pyctr.core import jsontext
from pyctr.core.errors import Ambiguous, Conflict, ImageNotFound, StorageError, UsageError
from pyctr.core.fsutil import Lock, make_private_directory, read_json, write_atomic, write_json
from pyctr.core.images.blobs import Blobs
from pyctr.core.images.model import (
    INDEX,
    INDEXES,
    MANIFEST,
    REF_NAME,
    Image,
    image,
    platform_architecture,
)
from pyctr.core.images.reference import Reference, is_digest, is_hex, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.paths import Paths

    Images = list[Image]
    Pairs = list[tuple[str, str]]
    Strings = list[str]


class ImageStore:
    """All images of one pyctr."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.root = paths.images
        self.blobs = Blobs(self.root)

    # reading

    def resolve(self, text: str) -> Image:
        """The image of a reference, an id or an unambiguous beginning of an id.

        Raises ImageNotFound (with near names as its hint), Ambiguous, UsageError for what cannot be a reference.
        """
        found = self.find(text)
        if found is None:
            raise self._not_found(text)
        return found

    def find(self, text: str) -> Image | None:
        """Like `resolve`, but None when there is none."""
        index = self._index()
        try:
            reference: Reference | None = parse(text)
        except UsageError:
            if not text.startswith("sha256:"):
                raise
            reference = None
        if reference is not None:
            for candidate in _candidates(reference, text):
                if found := self._named(index, candidate):
                    return found
        digits = text.removeprefix("sha256:")
        if is_hex(digits) and (found := self._by_id(index, digits, text)):
            return found
        return self._configured(index, text) if reference is not None else None

    def list(self) -> Images:
        """Every image once, newest first; images that cannot be read are left out (`broken` tells them)."""
        return sorted(self._all(self._index())[0], key=lambda image: (-image.created, image.names, image.digest))

    def broken(self) -> Pairs:
        """(name or digest, reason) of images that are in the index but cannot be read."""
        return self._all(self._index())[1]

    def manifest(self, digest: str) -> dict[str, Any]:
        """The manifest or image index with this digest."""
        return self._document(digest)

    def configuration(self, image: Image) -> dict[str, Any]:
        """The whole OCI configuration, not only its member "config"."""
        return self._document(image.id)

    def users(self, image: Image) -> Strings:
        """Names of the containers made from this image."""
        return sorted(
            str(state.get("name") or state.get("id"))
            for state in container_states(self.paths)
            if state.get("image_id") == image.id
        )

    # writing

    def adding(self) -> Lock:
        """Held (as a context manager) while blobs are added that no manifest names yet: nothing is collected then."""
        self._make()
        return Lock(f"{self.root}/.gc", shared=True)

    def add(self, manifest: dict[str, Any] | bytes, name: str = "") -> Image:
        """Put a manifest whose blobs are all here into the index, under a name if there is one.

        A name that belonged to another image moves; that image stays, dangling if it has no other name.
        Raises StorageError when a blob is missing.
        """
        content = manifest if isinstance(manifest, bytes) else jsontext.dumps(manifest).encode()
        document: dict[str, Any] = jsontext.loads(content)
        media_type = document.get("mediaType") or (INDEX if "manifests" in document else MANIFEST)
        reference = str(parse(name)) if name else ""
        with self.adding():
            if media_type not in INDEXES:
                for descriptor in [document["config"], *document.get("layers", [])]:
                    if not self.blobs.has(descriptor["digest"]):
                        raise StorageError(f"blob '{descriptor['digest']}' of image '{name}' is missing")
            digest = self.blobs.add(content)
            descriptor = {"mediaType": media_type, "digest": digest, "size": len(content)}
            self._put(descriptor, reference)
        found = self.find(reference or digest)
        if found is None:
            raise StorageError(
                f"image '{name or digest}' has nothing for {platform_architecture()}", hint="choose another image"
            )
        return found

    def tag(self, text: str, new: str) -> Image:
        """Give an image one more name, taking it from the image that had it. Raises as `resolve`."""
        reference = parse(new)
        if reference.digest:
            raise UsageError(f"'{new}' is a digest, not a name", hint="use NAME:TAG")
        found = self.resolve(text)
        self._put(self.descriptor(found), str(reference))
        return self.resolve(new)

    def remove(self, text: str, force: bool = False) -> Pairs:
        """Remove a name; with its last name (or by id) the image, its blobs and its unused layers.

        Returns ("untagged", name), ("deleted", digest) in the order it was done. Raises Conflict when containers use
        the image, or an id has several names, unless `force`.
        """
        found = self.resolve(text)
        names = [name for name in found.names if self._means(text, name)] or found.names
        last = len(names) == len(found.names)
        if len(names) > 1 and not force:
            raise Conflict(
                f"image '{found.short_id}' has the names {', '.join(found.names)}",
                hint="remove it by name, or with --force",
            )
        if last and not force and (users := self.users(found)):
            raise Conflict(
                f"image '{text}' is used by {'container' if len(users) == 1 else 'containers'} {', '.join(users)}",
                hint=f"pyctr rm {' '.join(users)}",
            )
        done = [("untagged", parse(name).familiar) for name in names]
        with Lock(f"{self.root}/.lock"):
            index = self._index()
            kept = []
            for descriptor in index["manifests"]:
                name = (descriptor.get("annotations") or {}).get(REF_NAME)
                mine = (name in names) if name else (last and self._leads_to(descriptor, found.digest))
                if not mine:
                    kept.append(descriptor)
            index["manifests"] = kept
            self._write_index(index)
        if last:
            done += [("deleted", digest) for digest in self.collect()]
        return done

    def collect(self) -> Strings:
        """Delete blobs that no image needs and unpacked layers that no image and no container needs.

        Returns the digests. Does nothing while another pyctr adds an image: the next removal comes back to it.
        """
        from pyctr.core.images.layers import LayerStore

        self._make()
        lock = Lock(f"{self.root}/.gc")
        if not lock.try_acquire():
            return []
        try:
            needed, diff_ids = self.reachable()
            deleted = []
            for name in sorted(os.listdir(self.blobs.directory)):
                if f"sha256:{name}" not in needed:
                    os.unlink(f"{self.blobs.directory}/{name}")
                    deleted.append(f"sha256:{name}")
            LayerStore(self.paths).collect(diff_ids)
            return deleted
        finally:
            lock.release()

    def reachable(self) -> tuple[set[str], set[str]]:
        """(digests of blobs, diffIDs of layers) that images, the build cache or containers being made need."""
        digests: set[str] = set()
        diff_ids: set[str] = set()
        todo = [descriptor["digest"] for descriptor in self._index()["manifests"]]
        while todo:
            digest = todo.pop()
            if digest in digests or not self.blobs.has(digest):
                continue
            digests.add(digest)
            document = self._document(digest)
            todo += [entry["digest"] for entry in document.get("manifests") or []]
            if config := document.get("config"):
                digests.add(config["digest"])
                digests.update(layer["digest"] for layer in document.get("layers") or [])
                diff_ids |= self._diff_ids(config["digest"])
        for state in container_states(self.paths):
            # its record tells the layers only once the container is made
            if not (state.get("rootfs") or {}).get("lower") and is_digest(id := str(state.get("image_id"))):
                digests.add(id)
                diff_ids |= self._diff_ids(id)
        for record in build_records(self.paths):
            digests.add(str((record.get("descriptor") or {}).get("digest")))
            diff_ids.add(str(record.get("diff_id")))
        return digests, diff_ids

    def _diff_ids(self, configuration: str) -> set[str]:
        if not self.blobs.has(configuration):
            return set()
        return set((self._document(configuration).get("rootfs") or {}).get("diff_ids") or [])

    def load_layout(self, path: str, names: Strings | None = None) -> Images:
        """Import an OCI layout directory or oci-archive tar; see `transfer`."""
        from pyctr.core.images.transfer import load_layout

        return load_layout(self, path, names)

    # inside

    def _make(self) -> None:
        if not os.path.exists(f"{self.root}/oci-layout"):
            make_private_directory(self.blobs.directory)
            with Lock(f"{self.root}/.lock"):
                if not os.path.exists(f"{self.root}/index.json"):
                    self._write_index({"schemaVersion": 2, "manifests": []})
                write_atomic(f"{self.root}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def _index(self) -> dict[str, Any]:
        try:
            index: dict[str, Any] = read_json(f"{self.root}/index.json")
        except FileNotFoundError:
            return {"schemaVersion": 2, "manifests": []}
        except ValueError as error:
            raise StorageError(str(error), hint=f"repair or remove '{self.root}/index.json'") from error
        return index

    def _write_index(self, index: dict[str, Any]) -> None:
        write_json(f"{self.root}/index.json", index)

    def _document(self, digest: str) -> dict[str, Any]:
        try:
            document: dict[str, Any] = jsontext.loads(self.blobs.read(digest))
        except ValueError as error:
            raise StorageError(f"blob '{digest}' is not valid JSON: {error}") from error
        return document

    def _put(self, descriptor: dict[str, Any], name: str) -> None:
        self._make()
        with Lock(f"{self.root}/.lock"):
            index = self._index()
            kept, displaced, digests = [], [], set()
            for old in index["manifests"]:
                if name and (old.get("annotations") or {}).get(REF_NAME) == name:
                    displaced.append(old)
                elif old["digest"] == descriptor["digest"] and not (old.get("annotations") or {}).get(REF_NAME):
                    continue  # no longer (or again) dangling
                else:
                    kept.append(old)
                    digests.add(old["digest"])
            new = {key: descriptor[key] for key in ("mediaType", "digest", "size")}
            if name:
                new["annotations"] = {REF_NAME: name}
            for old in displaced:
                if old["digest"] not in digests and old["digest"] != new["digest"]:
                    old.pop("annotations")
                    kept.append(old)
            if len(kept) + 1 < len(index["manifests"]) or new not in index["manifests"]:
                index["manifests"] = [*kept, new]
                self._write_index(index)

    def _named(self, index: dict[str, Any], reference: Reference) -> Image | None:
        wanted = f"{reference.name}:{reference.tag}" if reference.tag else ""
        for descriptor in index["manifests"]:
            name = (descriptor.get("annotations") or {}).get(REF_NAME) or ""
            if reference.digest:
                matches = _repository(name) == reference.name and (
                    descriptor["digest"] == reference.digest or name.endswith(f"@{reference.digest}")
                )
            else:
                matches = name == wanted
            if matches and (found := self._image(descriptor, index)):
                return found
        return None

    def _configured(self, index: dict[str, Any], text: str) -> Image | None:
        """A short name that the user's registries.conf gives another meaning than Docker Hub."""
        from pyctr.core.images import registries

        if not registries.is_short(text) or not index["manifests"]:
            return None
        try:
            candidates = registries.load().candidates(text)
        except UsageError:
            return None  # several meanings, or a broken file: `pull` says so
        return next((found for one in candidates if (found := self._named(index, one))), None)

    def _by_id(self, index: dict[str, Any], digits: str, text: str) -> Image | None:
        images = self._all(index)[0]
        # manifests that differ only in how layers are compressed share their configuration: any of them is the image
        matching = {
            image.id: image
            for image in images
            if image.id.startswith(f"sha256:{digits}") or image.digest == f"sha256:{digits}"
        }
        if len(matching) > 1:
            names = ", ".join(sorted(f"{image.short_id} {image.familiar}" for image in matching.values()))
            raise Ambiguous(f"'{text}' fits several images: {names}", hint="give more of the id")
        return next(iter(matching.values()), None)

    def _all(self, index: dict[str, Any]) -> tuple[Images, Pairs]:
        images: dict[str, Image] = {}
        broken = []
        for descriptor in index["manifests"]:
            name = (descriptor.get("annotations") or {}).get(REF_NAME) or ""
            try:
                found = self._image(descriptor, index)
            except (StorageError, KeyError, TypeError) as error:
                broken.append((name or descriptor.get("digest", "?"), str(error)))
                continue
            if found is not None:
                if found.digest in images:
                    found.names = list(dict.fromkeys([*images[found.digest].names, *found.names]))
                images[found.digest] = found
        return [*images.values()], broken

    def _image(self, descriptor: dict[str, Any], index: dict[str, Any]) -> Image | None:
        """The image of a descriptor, for this platform; None when it has nothing for it."""
        digest = descriptor["digest"]
        manifest = self._document(digest)
        if descriptor.get("mediaType") in INDEXES or "manifests" in manifest:
            chosen = self._choose(manifest)
            if chosen is None:
                return None
            digest = chosen
            manifest = self._document(digest)
        names = [
            name
            for other in index["manifests"]
            if other["digest"] == descriptor["digest"] and (name := (other.get("annotations") or {}).get(REF_NAME))
        ]
        return image(digest, names, manifest, self._document(manifest["config"]["digest"]))

    def _choose(self, index: dict[str, Any]) -> str | None:
        from pyctr.core.images import platforms

        entry = platforms.choose(entry for entry in index["manifests"] if self.blobs.has(entry["digest"]))
        return str(entry["digest"]) if entry else None

    def descriptor(self, image: Image) -> dict[str, Any]:
        """The top-level descriptor that leads to an image (an image index keeps all its platforms when tagged)."""
        leading = [one for one in self._index()["manifests"] if self._leads_to(one, image.digest)]
        for descriptor in leading:
            if (descriptor.get("annotations") or {}).get(REF_NAME) in image.names:
                return dict(descriptor)
        if leading:
            return dict(leading[0])
        raise StorageError(f"image '{image.short_id}' vanished", hint="another pyctr removed it meanwhile")

    def _leads_to(self, descriptor: dict[str, Any], digest: str) -> bool:
        if descriptor["digest"] == digest:
            return True
        return descriptor.get("mediaType") in INDEXES and self._choose(self._document(descriptor["digest"])) == digest

    @staticmethod
    def _means(text: str, name: str) -> bool:
        try:
            reference = parse(text)
        except UsageError:
            return False
        if reference.digest:
            return False
        return name in {str(candidate) for candidate in _candidates(reference, text)}

    def _not_found(self, text: str) -> ImageNotFound:
        from pyctr.core.near import near

        known = {}
        for descriptor in self._index()["manifests"]:
            if name := (descriptor.get("annotations") or {}).get(REF_NAME):
                reference = parse(name)
                for spelling in (name, reference.familiar, reference.familiar_name, reference.repository):
                    known[spelling] = reference.familiar
        meant = list(dict.fromkeys(known[match] for match in near(text, known, 5)))
        hint = f"did you mean {' or '.join(meant[:3])}?" if meant else "'pyctr images' lists what is here"
        return ImageNotFound(f"no image '{text}'", hint=hint)


def _candidates(reference: Reference, text: str) -> list[Reference]:
    """A short name means Docker Hub's image, or else what was made on this host ("base": localhost/base)."""
    if text.partition("/")[0] in (reference.registry, "index.docker.io"):
        return [reference]
    local = reference.repository.removeprefix("library/")
    return [reference, Reference("localhost", local, reference.tag, reference.digest)]


def _repository(name: str) -> str:
    """ "a/b:tag", "a/b@sha256:…" -> "a/b"."""
    name = name.partition("@")[0]
    colon = name.rfind(":")
    return name[:colon] if colon > name.rfind("/") else name


def build_records(paths: Paths) -> list[dict[str, Any]]:
    """What `build.cache` keeps."""
    records = []
    try:
        names = os.listdir(paths.build_cache)
    except FileNotFoundError:
        return []
    for name in names:
        if name.endswith(".json"):
            try:
                records.append(read_json(f"{paths.build_cache}/{name}"))
            except (OSError, ValueError):
                continue  # pruned just now, or damaged: the build does not use it either
    return records


def container_states(paths: Paths) -> list[dict[str, Any]]:
    """The records of all containers, as far as they can be read."""
    states = []
    try:
        ids = os.listdir(paths.containers)
    except FileNotFoundError:
        return []
    for id in ids:
        try:
            states.append(read_json(paths.container(id, "state.json")))
        except (OSError, ValueError):
            continue  # being made or being removed; a broken record is `doctor`'s business
    return states
