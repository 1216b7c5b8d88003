"""Images made for tests: layers from lists of members, hostile ones included."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable

from pyctr.core.images.model import CONFIG, LAYER, LAYER_GZIP, MANIFEST, Image, platform_architecture
from pyctr.core.images.store import ImageStore

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes | str = b"", **fields: object) -> Member:
    """One tar member; `type`, `linkname`, `mode`, `uid`, `pax_headers`, ... as TarInfo names them."""
    info = tarfile.TarInfo(name)
    body = content.encode() if isinstance(content, str) else content
    info.size = len(body)
    info.mtime = 1_600_000_000
    if name.endswith("/"):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    for field, value in fields.items():
        setattr(info, field, value)
    return info, body


def symlink(name: str, target: str) -> Member:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hardlink(name: str, target: str) -> Member:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def archive(members: Iterable[Member], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive that says exactly what it was told, whatever names those are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for info, body in members:
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def image(
    store: ImageStore,
    name: str,
    layers: list[list[Member]],
    *,
    compressed: bool = True,
    config: dict[str, object] | None = None,
    history: list[dict[str, object]] | None = None,
    architecture: str = "",
) -> Image:
    """An image in the store, one layer per list of members, bottom first."""
    descriptors, diff_ids = [], []
    with store.adding():
        for members in layers:
            plain = archive(members)
            diff_ids.append(digest(plain))
            blob = gzip.compress(plain, mtime=0) if compressed else plain
            kind = LAYER_GZIP if compressed else LAYER
            descriptors.append({"mediaType": kind, "digest": store.blobs.add(blob), "size": len(blob)})
        document = json.dumps(
            {
                "created": "2024-02-29T12:30:15.25Z",
                "architecture": architecture or platform_architecture(),
                "os": "linux",
                "config": config or {},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": history or [{"created_by": f"COPY layer {n}"} for n in range(len(layers))],
            }
        ).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": store.blobs.add(document), "size": len(document)},
            "layers": descriptors,
        }
        return store.add(manifest, name)
