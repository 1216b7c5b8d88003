"""Device rules on cgroup v2."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def attach(directory: str, rules: list[dict[str, Any]]) -> None:
    """Make the kernel ask `rules` (OCI linux.resources.devices) at every open and mknod in the group."""
    raise NotImplementedError
