"""Platforms as image indexes name them: os/architecture[/variant], and which of them this host runs best.

The order of preference is that of the field (image-spec image-index.md; GOARM, GOAMD64 for the variants): the host's
own variant, then lower ones, then the 32-bit sibling where the processor runs it.
"""

from __future__ import annotations

import os

from pyctr.core.errors import UsageError
from pyctr.core.images.model import platform_architecture

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Platform = tuple[str, str, str]

_NAMES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}
_LEVELS = {
    "v2": ("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"),
    "v3": ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"),
    "v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
"""Flags of /proc/cpuinfo that each x86-64 level adds (x86-64 psABI, micro-architecture levels)."""


def parse(text: str) -> Platform:
    """("linux", "arm64", "v8") of "linux/arm64/v8", "arm64" or "aarch64". Raises UsageError."""
    parts = text.strip().lower().split("/")
    if len(parts) == 1:
        parts = [parts[0], ""] if parts[0] == "linux" else ["linux", parts[0]]
    if len(parts) > 3 or not all(part.replace("_", "").replace("-", "").isalnum() for part in parts[:2] if part):
        raise UsageError(f"bad platform '{text}'", hint="like linux/amd64 or linux/arm/v7")
    return normal(parts[0], parts[1] or platform_architecture(), parts[2] if len(parts) == 3 else "")


def normal(system: str, architecture: str, variant: str) -> Platform:
    """One spelling for each; the variants that everybody leaves out are left out."""
    architecture, implied = _NAMES.get(architecture, (architecture, ""))
    variant = variant or implied
    if variant[:1].isdigit():
        variant = f"v{variant}"
    if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    if architecture == "arm" and not variant:
        variant = "v7"
    return system, architecture, variant


def words(platform: Platform) -> str:
    """ "linux/arm/v7"."""
    return "/".join(part for part in platform if part)


def runnable(machine: str = "", cpuinfo: str = "/proc/cpuinfo") -> list[Platform]:
    """What this host runs, best first."""
    machine = machine or os.uname().machine
    architecture = platform_architecture(machine)
    if architecture == "amd64":
        levels = ["", *(("v2", "v3", "v4")[: _level(cpuinfo)])]
        return [*(("linux", "amd64", level) for level in reversed(levels)), ("linux", "386", "")]
    if architecture == "arm":
        own = 6 if machine.startswith("armv6") else 5 if machine.startswith("armv5") else 7
        return [("linux", "arm", f"v{number}") for number in range(own, 4, -1)]
    return [("linux", architecture, "")]


def choose(entries: Iterable[dict[str, Any]], wanted: str = "") -> dict[str, Any] | None:
    """The descriptor in an image index that fits `wanted`, or this host; None when none does.

    A wanted platform without a variant takes the best of that architecture. Descriptors without a platform are for
    everybody (single-image indexes of build tools), if nothing fits better.
    """
    offered: dict[Platform, dict[str, Any]] = {}
    anyone = None
    for entry in entries:
        platform = entry.get("platform")
        if not isinstance(platform, dict) or not platform.get("architecture"):
            anyone = anyone or entry
            continue
        key = normal(
            str(platform.get("os") or "linux"), str(platform["architecture"]), str(platform.get("variant") or "")
        )
        offered.setdefault(key, entry)
    for candidate in [parse(wanted)] if wanted else runnable():
        if candidate in offered:
            return offered[candidate]
    if wanted and wanted.count("/") < 2:
        system, architecture, _ = parse(wanted)
        alike = sorted(key for key in offered if key[:2] == (system, architecture))
        if alike:
            return offered[alike[-1]]
    return anyone


def offered(entries: Iterable[dict[str, Any]]) -> list[str]:
    """The platforms of an index in words, for a message."""
    found = []
    for entry in entries:
        platform = entry.get("platform") or {}
        name = words(
            normal(
                str(platform.get("os") or ""),
                str(platform.get("architecture") or ""),
                str(platform.get("variant") or ""),
            )
        )
        if name and "unknown" not in name and name not in found:
            found.append(name)
    return found


def _level(cpuinfo: str) -> int:
    """How many of the levels v2, v3, v4 this processor has."""
    try:
        with open(cpuinfo, encoding="ascii", errors="replace") as file:
            flags = next((set(line.split()) for line in file if line.startswith("flags")), set())
    except OSError:
        return 0
    level = 0
    for needed in _LEVELS.values():
        if not flags.issuperset(needed):
            break
        level += 1
    return level
