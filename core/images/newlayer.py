"""A layer made on this host: its tar stream is hashed, packed and stored as it is written."""

from __future__ import annotations

import zlib
from hashlib import sha256

from pyctr.core.images.model import LAYER_GZIP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.images.blobs import Blobs

_LEVEL = 4
"""zlib's middle: 2.5 times as fast as its default, 4 % bigger."""


def write(blobs: Blobs, produce: Callable[[Callable[[bytes], object]], object]) -> tuple[dict[str, Any], str]:
    """`produce` writes a tar archive to the function it is given; returns the blob's descriptor and its diffID."""
    plain = sha256()
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    with blobs.writer() as writer:

        def take(data: bytes) -> None:
            plain.update(data)
            if packed := packer.compress(data):
                writer.write(packed)

        produce(take)
        writer.write(packer.flush())
        digest = writer.commit()
    return {"mediaType": LAYER_GZIP, "digest": digest, "size": writer.size}, f"sha256:{plain.hexdigest()}"
