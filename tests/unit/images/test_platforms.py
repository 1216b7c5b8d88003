"""Which image of an index a host gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyctr.core.errors import UsageError
from pyctr.core.images import platforms


def entry(text: str) -> dict[str, object]:
    system, architecture, *variant = text.split("/")
    platform = {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
    return {"digest": text, "platform": platform}


def chosen(offers: str, wanted: str = "") -> str | None:
    found = platforms.choose([entry(word) for word in offers.split()], wanted)
    return found["digest"] if found else None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("wanted", "offers", "expected"),
    [
        ("linux/arm64", "linux/amd64 linux/arm64/v8 linux/arm/v7", "linux/arm64/v8"),
        ("aarch64", "linux/arm64", "linux/arm64"),
        ("linux/arm/v6", "linux/arm/v5 linux/arm/v6 linux/arm/v7", "linux/arm/v6"),
        ("linux/arm", "linux/arm/v5 linux/arm/v6", "linux/arm/v6"),
        ("linux/arm", "linux/arm/v5 linux/arm/v7", "linux/arm/v7"),
        ("linux/s390x", "linux/amd64 linux/arm64", None),
        ("windows/amd64", "linux/amd64 windows/amd64", "windows/amd64"),
    ],
)
def test_the_platform_that_was_asked_for_is_chosen(wanted: str, offers: str, expected: str | None) -> None:
    assert chosen(offers, wanted) == expected


def test_a_host_takes_the_best_it_can_run(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    v3 = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe"
    cpuinfo.write_text(f"flags\t: fpu {v3}\n")
    runs = [platforms.words(one) for one in platforms.runnable("x86_64", str(cpuinfo))]
    assert runs == ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]
    assert [platforms.words(one) for one in platforms.runnable("armv6l")] == ["linux/arm/v6", "linux/arm/v5"]


def test_attestations_are_never_taken_for_an_image() -> None:
    assert chosen("unknown/unknown") is None
    assert platforms.offered([entry("unknown/unknown"), entry("linux/arm64/v8")]) == ["linux/arm64"]


def test_an_index_without_platforms_has_its_image() -> None:
    found = platforms.choose([{"digest": "x"}])
    assert found is not None and found["digest"] == "x"


@pytest.mark.parametrize("text", ["linux/amd64/v2/x", "lin ux/amd64", "linux/am@d"])
def test_a_bad_platform_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="bad platform"):
        platforms.parse(text)
