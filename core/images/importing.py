"""An image out of the archive of a root filesystem: one layer, and a configuration of the user's making."""

from __future__ import annotations

import sys
import time

from pyctr.core import jsontext
from pyctr.core.errors import NetworkError, StorageError, from_oserror
from pyctr.core.images import instructions, platforms
from pyctr.core.images.access import Access
from pyctr.core.images.decompress import allowed, too_much
from pyctr.core.images.model import (
    CONFIG,
    LAYER,
    LAYER_GZIP,
    LAYER_ZSTD,
    MANIFEST,
    Image,
    image,
    platform_architecture,
    rfc3339,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyctr.core.images.layers import LayerStore
    from pyctr.core.images.store import ImageStore

_PIECE = 1 << 18


def import_image(
    images: ImageStore,
    layers: LayerStore,
    source: str,
    name: str = "",
    *,
    changes: list[str] | None = None,
    message: str = "",
    platform: str = "",
) -> Image:
    """An image of a tar archive (plain, gzip, zstd, xz, bzip2) in a file, at an address, or "-" for stdin.

    Raises StorageError for what is no archive, UsageError for a change that is none; nothing stays then.
    """
    config: dict[str, Any] = {}
    for change in changes or []:
        instructions.apply(config, change)
    try:
        with images.adding():
            descriptor = _store(images, _pieces(source))
            diff_id = layers.adopt(descriptor["digest"])
            return add(
                images,
                layers,
                name,
                layers_=[(descriptor, diff_id)],
                config=config,
                history=[
                    {"created": rfc3339(time.time()), "created_by": "", "comment": message or f"imported from {source}"}
                ],
                platform=platform,
            )
    except OSError as error:
        raise from_oserror(error, f"importing '{source}'") from error
    finally:
        images.collect()


def add(
    images: ImageStore,
    layers: LayerStore,
    name: str,
    *,
    layers_: list[tuple[dict[str, Any], str]],
    config: dict[str, Any],
    history: list[dict[str, Any]],
    platform: str = "",
    author: str = "",
) -> Image:
    """Put a new image of (descriptor, diffID) layers into the store, unpacked. The caller holds `images.adding()`."""
    system, architecture, variant = platforms.parse(platform) if platform else platforms.runnable()[-1]
    if not platform:
        architecture, variant = platform_architecture(), "" if architecture != "arm" else variant
    document: dict[str, Any] = {
        "created": rfc3339(time.time()),
        **({"author": author} if author else {}),
        "architecture": architecture,
        **({"variant": variant} if variant else {}),
        "os": system,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers_]},
        "history": history,
    }
    content = jsontext.dumps(document).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": images.blobs.add(content), "size": len(content)},
        "layers": [descriptor for descriptor, _ in layers_],
    }
    layers.ensure(image("sha256:" + "0" * 64, [], manifest, document))
    return images.add(manifest, name)


def _inflated(unpacker: Any, piece: bytes) -> Iterator[bytes]:
    """What comes of a piece, little by little: it may be very much."""
    more = True
    while more:
        yield unpacker.decompress(piece, 1 << 20)
        piece, more = b"", not unpacker.eof and not unpacker.needs_input


def _store(images: ImageStore, pieces: Iterator[bytes]) -> dict[str, Any]:
    """The archive as a blob, as it came where layers may be packed like that."""
    first = next(pieces, b"")
    unpacker: Any = None
    kind = LAYER
    if first[:2] == b"\x1f\x8b":
        kind = LAYER_GZIP
    elif first[:4] == b"\x28\xb5\x2f\xfd":
        kind = LAYER_ZSTD
    elif first[:6] == b"\xfd7zXZ\0":
        import lzma

        unpacker = lzma.LZMADecompressor()
    elif first[:3] == b"BZh":
        import bz2

        unpacker = bz2.BZ2Decompressor()
    with images.blobs.writer() as writer:
        piece, packed = first, 0
        while piece:
            packed += len(piece)
            try:
                for out in _inflated(unpacker, piece) if unpacker else (piece,):
                    writer.write(out)
                    if unpacker and writer.size > allowed(packed):
                        raise too_much(packed, writer.size)
            except (ValueError, OSError, EOFError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                raise StorageError(f"the archive is damaged: {error}") from None
            piece = next(pieces, b"")
        if writer.size == 0 or (unpacker is not None and not unpacker.eof):
            raise StorageError("the archive is empty or cut short")
        digest = writer.commit()
    return {"mediaType": kind, "digest": digest, "size": writer.size}


def _pieces(source: str) -> Iterator[bytes]:
    if source.startswith(("http://", "https://")):
        yield from _fetched(source)
        return
    file = sys.stdin.buffer if source == "-" else open(source, "rb", buffering=0)  # noqa: SIM115
    try:
        while piece := file.read(_PIECE):
            yield piece
    finally:
        if source != "-":
            file.close()


def _fetched(url: str) -> Iterator[bytes]:
    from urllib.parse import urljoin

    transport = Access().transport()
    import urllib3

    try:
        for _ in range(8):
            response = transport.send("GET", url)
            if response.status not in (301, 302, 303, 307, 308):
                break
            url = urljoin(url, response.headers.get("Location", ""))
        if response.status != 200:
            raise NetworkError(f"'{url}' answers {response.status}")
        while piece := response.read(_PIECE):
            yield piece
    except urllib3.exceptions.HTTPError as error:
        raise NetworkError(f"'{url}' broke off: {type(error).__name__}", hint="try again") from None
    finally:
        transport.close()
