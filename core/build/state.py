"""What a stage has come to: its layers, its configuration, its history."""

from __future__ import annotations

import dataclasses
from hashlib import sha256

from pyctr.core import jsontext
from pyctr.core.images import platforms
from pyctr.core.images.model import CONFIG, MANIFEST, Image, image, rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.images.platforms import Platform
    from pyctr.core.images.store import ImageStore

Layer = tuple["dict[str, Any]", str]
"""(descriptor of the blob, diffID)"""
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclasses.dataclass
class State:
    """One point of a stage. `config` is the member "config" of an image configuration; layers are bottom first."""

    platform: Platform
    layers: list[Layer] = dataclasses.field(default_factory=list)
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    author: str = ""
    created: float = 0.0
    """Seconds since the epoch; 0 when nobody knows."""

    @classmethod
    def scratch(cls, platform: Platform) -> State:
        """Nothing but a search path, as other builders have it."""
        return cls(platform, config={"Env": [PATH], "WorkingDir": "/"})

    @classmethod
    def of(cls, images: ImageStore, found: Image) -> State:
        """An image of the store, to build on."""
        document = images.configuration(found)
        descriptors = images.manifest(found.digest)["layers"]
        told = sum(1 for step in found.history if not step.get("empty_layer"))
        missing: list[dict[str, Any]] = [{"created_by": ""} for _ in range(len(found.layers) - told)]
        config = {key: value for key, value in found.config.items() if value is not None}
        if not any(one.startswith("PATH=") for one in config.get("Env") or []):
            config["Env"] = [PATH, *(config.get("Env") or [])]
        return cls(
            platforms.normal(found.os, found.architecture, str(document.get("variant") or "")),
            [(descriptor, layer.diff_id) for descriptor, layer in zip(descriptors, found.layers, strict=True)],
            config,
            [*found.history, *missing],
            created=found.created,
        )

    def copy(self) -> State:
        config = {key: value.copy() if isinstance(value, (list, dict)) else value for key, value in self.config.items()}
        return State(self.platform, list(self.layers), config, list(self.history), self.author, self.created)

    @property
    def env(self) -> dict[str, str]:
        return dict(one.split("=", 1) for one in self.config.get("Env") or [] if "=" in one)

    @property
    def files(self) -> str:
        """Identity of the files: a digest of the layers' own."""
        return sha256(" ".join(diff_id for _, diff_id in self.layers).encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """The image configuration (image-spec config.md)."""
        system, architecture, variant = self.platform
        return {
            "created": rfc3339(self.created),
            **({"author": self.author} if self.author else {}),
            "architecture": architecture,
            **({"variant": variant} if variant and architecture == "arm" else {}),
            "os": system,
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in self.layers]},
            "history": self.history,
        }

    def image(self) -> Image:
        """As an image that is in no store; for what works on images."""
        content = jsontext.dumps(self.document()).encode()
        return image(f"sha256:{'0' * 64}", [], self._manifest(content), self.document())

    def store(self, images: ImageStore, name: str = "") -> Image:
        """Put it into the store, with a name if there is one."""
        content = jsontext.dumps(self.document()).encode()
        images.blobs.add(content)
        return images.add(self._manifest(content), name)

    def _manifest(self, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{sha256(content).hexdigest()}"
        return {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest, "size": len(content)},
            "layers": [descriptor for descriptor, _ in self.layers],
        }
