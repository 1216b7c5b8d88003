"""What systemd is asked for, from linux.cgroupsPath, linux.resources and annotations."""

from __future__ import annotations

import pytest

from pyctr.core import errors
from pyctr.core.cgroups import scope


@pytest.mark.parametrize(
    ("path", "slice", "unit", "group"),
    [
        ("machine.slice:libpod:abc", "machine.slice", "libpod-abc.scope", "/machine.slice/libpod-abc.scope"),
        ("", "system.slice", "pyctr-one.scope", "/system.slice/pyctr-one.scope"),
        (":docker:x", "system.slice", "docker-x.scope", "/system.slice/docker-x.scope"),
        ("a-b-c.slice::x", "a-b-c.slice", "x.scope", "/a.slice/a-b.slice/a-b-c.slice/x.scope"),
        ("-:p:x", "-.slice", "p-x.scope", "/p-x.scope"),
        ("a.slice:p:x.slice", "a.slice", "p-x.slice.scope", "/a.slice/p-x.slice.scope"),
    ],
)
def test_a_cgroups_path_is_a_slice_and_a_unit(
    monkeypatch: pytest.MonkeyPatch, path: str, slice: str, unit: str, group: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert scope.parse(path, "one") == (slice, unit)
    assert scope.group(slice, unit) == group


@pytest.mark.parametrize(
    "path",
    ["/a/b", "a.slice:b", "x:p:n", "a/b.slice:p:n", "a.slice:p:../n", "-a.slice:p:n", "a--b.slice:p:n", "a.slice:p:"],
)
def test_a_path_that_is_none_is_refused_by_name(path: str) -> None:
    with pytest.raises(errors.UsageError, match=r"linux\.cgroupsPath"):
        scope.parse(path, "one")


def test_limits_are_properties_of_systemd() -> None:
    resources = {
        "memory": {"limit": 1000, "swap": 3000, "reservation": 500},
        "cpu": {"shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0-1,9"},
        "pids": {"limit": -1},
    }
    assert dict(scope.limits(resources, unified=True)) == {
        "MemoryMax": ("t", 1000),
        "MemoryLow": ("t", 500),
        "MemorySwapMax": ("t", 2000),
        "CPUWeight": ("t", 100),
        "CPUQuotaPeriodUSec": ("t", 100_000),
        "CPUQuotaPerSecUSec": ("t", 500_000),
        "TasksMax": ("t", 2**64 - 1),
        "AllowedCPUs": ("ay", [3, 2]),
    }
    assert dict(scope.limits({"cpu": {"quota": -1}}, unified=False)) == {"CPUQuotaPerSecUSec": ("t", 2**64 - 1)}


def test_annotations_name_further_properties() -> None:
    text = {
        "org.systemd.property.TimeoutStopUSec": "uint64 123456789",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.After": "['a.service', 'b.service']",
        "other": "x",
    }
    assert dict(scope.annotated(text)) == {
        "TimeoutStopUSec": ("t", 123456789),
        "CollectMode": ("s", "inactive-or-failed"),
        "After": ("as", ["a.service", "b.service"]),
    }
    with pytest.raises(errors.UsageError, match=r"annotations\['org\.systemd\.property\.X'\]"):
        scope.annotated({"org.systemd.property.X": "uint64 many"})
