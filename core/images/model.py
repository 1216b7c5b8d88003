"""An image as the rest of pyctr sees it: an OCI manifest and its configuration (image-spec manifest.md, config.md)."""

from __future__ import annotations

from pyctr.core.errors import StorageError
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = LAYER + "+gzip"
LAYER_ZSTD = LAYER + "+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEXES = (INDEX, DOCKER_INDEX)

REF_NAME = "org.opencontainers.image.ref.name"


class Layer(Record):
    """One layer of one image. `size` is that of the blob; `stack` are the diffIDs from the bottom up to this one."""

    digest: str
    diff_id: str
    size: int
    media_type: str
    stack: list[str]

    @property
    def chain_id(self) -> str:
        """Identity of this layer together with everything below it (config.md, "Layer ChainID")."""
        from hashlib import sha256

        chain = self.stack[0]
        for diff_id in self.stack[1:]:
            chain = "sha256:" + sha256(f"{chain} {diff_id}".encode()).hexdigest()
        return chain


class Image(Record):
    """An image for this host's platform. `id` is the digest of its configuration, `digest` that of its manifest."""

    nested = {"layers": Layer}

    id: str
    digest: str
    names: list[str]
    """Normal references that lead here; empty for a dangling image."""
    created: float
    """Seconds since the epoch; 0 when the image does not say."""
    size: int
    """Bytes of all layer blobs."""
    architecture: str
    os: str
    config: dict[str, Any]
    """The member "config" of the OCI configuration: Env, Cmd, Entrypoint, WorkingDir, User, Labels, …"""
    history: list[dict[str, Any]]
    layers: list[Layer]
    """Bottom first."""

    @property
    def short_id(self) -> str:
        return self.id.removeprefix("sha256:")[:12]

    @property
    def familiar(self) -> str:
        """The first name as people write it, or the short id."""
        from pyctr.core.images.reference import parse

        return parse(self.names[0]).familiar if self.names else self.short_id


def image(digest: str, names: list[str], manifest: dict[str, Any], config: dict[str, Any]) -> Image:
    """The image of a manifest and its configuration. Raises StorageError when they do not fit together."""
    descriptors = manifest.get("layers") or []
    diff_ids = (config.get("rootfs") or {}).get("diff_ids") or []
    if len(descriptors) != len(diff_ids):
        raise StorageError(
            f"image '{digest}' has {len(descriptors)} layers but {len(diff_ids)} diffIDs",
            hint="it is no container image, or its configuration is broken",
        )
    layers = [
        Layer(
            digest=descriptor["digest"],
            diff_id=diff_id,
            size=int(descriptor.get("size") or 0),
            media_type=descriptor.get("mediaType") or LAYER,
            stack=diff_ids[: number + 1],
        )
        for number, (descriptor, diff_id) in enumerate(zip(descriptors, diff_ids, strict=True))
    ]
    return Image(
        id=manifest["config"]["digest"],
        digest=digest,
        names=names,
        created=timestamp(config.get("created") or ""),
        size=sum(layer.size for layer in layers),
        architecture=config.get("architecture") or "",
        os=config.get("os") or "linux",
        config=config.get("config") or {},
        history=config.get("history") or [],
        layers=layers,
    )


def timestamp(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; 0 when it is none. (datetime costs 5 ms to import.)"""
    try:
        year, month, day = int(text[0:4]), int(text[5:7]), int(text[8:10])
        seconds = int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
        rest = text[19:]
        fraction = 0.0
        if rest.startswith("."):
            digits = rest[1:].rstrip("Zz")
            for sign in "+-":
                digits = digits.split(sign)[0]
            fraction = float("0." + digits)
            rest = rest[1 + len(digits) :]
        if rest[:1] in ("+", "-"):
            offset = int(rest[1:3]) * 3600 + int(rest[4:6]) * 60
            seconds -= offset if rest[0] == "+" else -offset
    except (ValueError, IndexError):
        return 0.0
    # days since the epoch of a proleptic Gregorian date (Howard Hinnant's days_from_civil)
    shifted = year - (month <= 2)
    era_year = shifted % 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = shifted // 400 * 146097 + era_year * 365 + era_year // 4 - era_year // 100 + day_of_year - 719468
    return days * 86400 + seconds + fraction


def rfc3339(seconds: float) -> str:
    """The inverse, in UTC and whole seconds."""
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def rfc3339_nano(seconds: float) -> str:
    """Likewise, with a fraction."""
    whole = int(seconds)
    return f"{rfc3339(whole)[:-1]}.{int((seconds - whole) * 1e9):09d}Z"


def platform_architecture(machine: str = "") -> str:
    """GOARCH of this host, as image configurations spell it."""
    import os

    machine = machine or os.uname().machine
    return {
        "x86_64": "amd64",
        "aarch64": "arm64",
        "i686": "386",
        "armv7l": "arm",
        "armv6l": "arm",
        "loongarch64": "loong64",
    }.get(machine, machine)
