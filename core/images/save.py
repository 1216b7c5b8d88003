"""Images into files: an OCI layout as directory or archive, and the archive that docker load and podman load read.

docker-archive is an oci-archive with Docker's manifest.json beside the index, as Docker itself writes it since 25.0:
readers of either format find theirs. Layers go as they are, so digests stay.
"""

from __future__ import annotations

import io
import os
import tarfile

from pyctr.core import jsontext
from pyctr.core.errors import StorageError, UsageError, from_oserror
from pyctr.core.fsutil import make_private_directory, sync_directory, write_atomic
from pyctr.core.images import push
from pyctr.core.images.model import INDEX, REF_NAME
from pyctr.core.images.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from pyctr.core.images.store import ImageStore

DOCKER_ARCHIVE, OCI_ARCHIVE, OCI_DIRECTORY = "docker-archive", "oci-archive", "oci-dir"
FORMATS = (DOCKER_ARCHIVE, OCI_ARCHIVE, OCI_DIRECTORY)
_CONTAINERD_NAME = "io.containerd.image.name"


class Bundle:
    """What goes into a file: blobs with their sizes, and the small documents that lead to them."""

    def __init__(self, images: ImageStore, names: list[str]) -> None:
        """Raises ImageNotFound, StorageError when a blob is missing."""
        self.images = images
        self.blobs: dict[str, int] = {}
        self.descriptors: list[dict[str, Any]] = []
        self.docker: list[dict[str, Any]] = []
        for name in names:
            self._add(name)

    def documents(self, form: str) -> dict[str, bytes]:
        """File name -> content."""
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.descriptors}
        found = {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": jsontext.dumps(index).encode(),
        }
        if form == DOCKER_ARCHIVE:
            found["manifest.json"] = jsontext.dumps(self.docker).encode()
        return found

    def _add(self, text: str) -> None:
        found = self.images.resolve(text)
        top, manifests, blobs = push.complete(self.images, text, lambda note: None)
        for digest, content, _ in manifests:
            self.blobs[digest] = len(content)
        self.blobs |= blobs
        _, content, media_type = manifests[-1]
        names = _names(text, found.names)
        base = {"mediaType": media_type, "digest": top, "size": len(content)}
        for name in names or [""]:
            notes = {"annotations": {REF_NAME: name, _CONTAINERD_NAME: name}} if name else {}
            self.descriptors.append({**base, **notes})
        self.docker.append(
            {
                "Config": _path(found.id),
                "RepoTags": [parse(name).familiar for name in names if "@" not in name],
                "Layers": [_path(layer.digest) for layer in found.layers],
            }
        )


def save(images: ImageStore, names: list[str], out: BinaryIO, form: str = DOCKER_ARCHIVE) -> None:
    """Write images as an archive. Raises ImageNotFound, StorageError, OSError of `out`."""
    if form not in (DOCKER_ARCHIVE, OCI_ARCHIVE):
        raise UsageError(f"'{form}' is no archive", hint=f"one of {', '.join(FORMATS)}")
    with images.adding():
        bundle = Bundle(images, names)
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for directory in ("blobs", "blobs/sha256"):
                tar.addfile(_member(directory, 0, tarfile.DIRTYPE))
            for digest, size in bundle.blobs.items():
                with images.blobs.open(digest) as blob:
                    there = os.fstat(blob.fileno()).st_size
                    if there != size:
                        raise StorageError(
                            f"blob '{digest}' has {there} bytes, not {size}", hint="pull the image again"
                        )
                    tar.addfile(_member(_path(digest), size), blob)
            for name, content in bundle.documents(form).items():
                tar.addfile(_member(name, len(content)), io.BytesIO(content))


def save_directory(images: ImageStore, names: list[str], path: str) -> None:
    """Write images as an OCI layout into a directory that is new or empty. Raises as `save`."""
    try:
        if os.path.isdir(path) and os.listdir(path):
            raise UsageError(f"'{path}' is not empty", hint="give a directory that is new")
        with images.adding():
            bundle = Bundle(images, names)
            target = f"{path}/blobs/sha256"
            make_private_directory(target)
            for digest in bundle.blobs:
                _copy(images.blobs.path(digest), f"{target}/{digest[7:]}")
            sync_directory(target)
            for name, content in bundle.documents(OCI_DIRECTORY).items():
                write_atomic(f"{path}/{name}", content, mode=0o644)
    except OSError as error:
        raise from_oserror(error, f"writing '{path}'") from error


def _copy(source: str, target: str) -> None:
    import shutil

    shutil.copyfile(source, target)
    fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _names(text: str, names: list[str]) -> list[str]:
    """The name that was asked for, or all when it was asked for by id."""
    try:
        asked = str(parse(text))
    except UsageError:
        return names
    if asked in names:
        return [asked]
    local = [name for name in names if parse(name).repository == parse(text).repository.removeprefix("library/")]
    return local or names


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest[7:]}"


def _member(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type = kind
    found.size = size
    found.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return found
