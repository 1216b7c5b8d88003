"""The strings of flags are read as Docker reads them, and bad ones say what was wrong and what to try."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from pyctr.cli import values
from pyctr.core.parse import BadValue
from pyctr.core.spec import Mount, Port


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1024", 1024),
        ("512m", 512 << 20),
        ("512M", 512 << 20),
        ("512mb", 512 << 20),
        ("512MiB", 512 << 20),
        ("1.5g", 3 << 29),
        ("64 k", 64 << 10),
        ("0", 0),
        ("7b", 7),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert values.size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("10", 10), ("2.5", 2.5), ("1h30m", 5400), ("500ms", 0.5), ("1m30s", 90), ("0s", 0)]
)
def test_durations(text: str, expected: float) -> None:
    assert values.duration(text) == pytest.approx(expected)


def test_moments() -> None:
    assert values.moment("1700000000.5") == 1700000000.5
    assert values.moment("2026-01-02T03:04:05Z") == 1767323045
    assert values.moment("2026-01-02T03:04:05.123456789Z") == pytest.approx(1767323045.123456)
    assert values.moment("2026-01-02T05:04:05+02:00") == 1767323045
    assert values.moment("10m") == pytest.approx(time.time() - 600, abs=5)


def test_one_port_in_every_form() -> None:
    assert values.ports("80") == [Port(container_port=80)]
    assert values.ports("8080:80") == [Port(container_port=80, host_port=8080)]
    assert values.ports("8080:80/udp") == [Port(container_port=80, host_port=8080, protocol="udp")]
    assert values.ports("127.0.0.1:8080:80") == [Port(container_port=80, host_port=8080, host_ip="127.0.0.1")]
    assert values.ports("127.0.0.1::80") == [Port(container_port=80, host_ip="127.0.0.1")]
    assert values.ports("[::1]:8080:80") == [Port(container_port=80, host_port=8080, host_ip="::1")]


def test_port_ranges_pair_up() -> None:
    assert [(p.host_port, p.container_port) for p in values.ports("8000-8002:80-82")] == [
        (8000, 80),
        (8001, 81),
        (8002, 82),
    ]
    assert [p.container_port for p in values.ports("80-81")] == [80, 81]


def test_volumes_are_binds_when_they_look_like_paths() -> None:
    assert values.volume("/srv:/data") == Mount(kind="bind", source="/srv", target="/data")
    assert values.volume("/srv:/data:ro,rslave") == Mount(
        kind="bind", source="/srv", target="/data", readonly=True, options=["rslave"]
    )
    assert values.volume("pg:/data/") == Mount(kind="volume", source="pg", target="/data")
    assert values.volume("/data") == Mount(kind="volume", target="/data")
    assert values.volume("./x:/data").source.startswith("/")
    assert values.volume("pg:/data:nocopy").nocopy


def test_mount_fields() -> None:
    assert values.mount("type=bind,src=/srv,dst=/data,readonly,bind-propagation=rshared") == Mount(
        kind="bind", source="/srv", target="/data", readonly=True, options=["rshared"]
    )
    assert values.mount("type=tmpfs,target=/run,tmpfs-size=1m,tmpfs-mode=1777") == Mount(
        kind="tmpfs", target="/run", options=["size=1048576", "mode=1777"]
    )
    assert values.mount("source=pg,target=/data,readonly=false") == Mount(kind="volume", source="pg", target="/data")


def test_tmpfs() -> None:
    assert values.tmpfs("/run:size=64m,mode=755,noexec") == Mount(
        kind="tmpfs", target="/run", options=["size=67108864", "mode=755", "noexec"]
    )
    assert values.tmpfs("/run:ro").readonly


def test_devices() -> None:
    assert values.device("/dev/kvm") == "/dev/kvm:/dev/kvm:rwm"
    assert values.device("/dev/kvm:r") == "/dev/kvm:/dev/kvm:r"
    assert values.device("/dev/a:/dev/b:rw") == "/dev/a:/dev/b:rw"
    assert values.device_bytes("/dev/sda:1mb") == ("/dev/sda", 1 << 20)
    assert values.device_operations("/dev/sda:100") == ("/dev/sda", 100)


def test_quoted_fields_of_a_mount_may_contain_commas() -> None:
    assert values.mount('type=bind,"source=/a,b",target=/x').source == "/a,b"


def test_what_becomes_of_mounts_below_a_bind() -> None:
    bind = "type=bind,source=/a,target=/x"
    assert values.mount(f"{bind},bind-recursive=disabled").options == ["bind"]
    assert values.mount(f"{bind},readonly,bind-recursive=writable").options == ["ro"]


def test_zero_cpus_and_no_list_are_no_limit() -> None:
    assert values.cpus("0") == 0
    assert values.cpus_of_host("") == ""
    assert values.cpus_of_host("0") == "0"


def test_ulimits() -> None:
    assert values.ulimit("nofile=1024:4096") == ("nofile", [1024, 4096])
    assert values.ulimit("core=-1") == ("core", [-1, -1])


def test_an_env_file_skips_comments_and_takes_values_from_here(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_HERE", "yes")
    monkeypatch.delenv("NOT_HERE", raising=False)
    path = f"{tmp_path}/env"
    with open(path, "w") as file:
        file.write("# a comment\n\nA=1\n  B=two words \nFROM_HERE\nNOT_HERE\nC=\n")
    assert values.env_file(path) == ["A=1", "B=two words ", "FROM_HERE=yes", "C="]


def test_the_last_value_of_a_variable_wins() -> None:
    assert values.unique_environment(["A=1", "B=2", "", "A=3"]) == ["A=3", "B=2"]


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (values.size, "12q"),
        (values.size, ""),
        (values.size, "-5m"),
        (values.size, "1.2.3m"),
        (values.duration, "abc"),
        (values.duration, "5x"),
        (values.moment, "yesterday"),
        (values.cpus, "-1"),
        (values.cpus, "nan"),
        (values.cpus_of_host, "1-0"),
        (values.cpus_of_host, "0-8000"),
        (values.nodes_of_host, "x"),
        (values.mount, "type=bind,source=/a,target=/x,bind-recursive=maybe"),
        (values.name, "a b"),
        (values.name, "-x"),
        (values.ports, "abc"),
        (values.ports, "99999:80"),
        (values.ports, "80:80/icmp"),
        (values.ports, "1.2.3:80:80"),
        (values.ports, "8000-8001:80-85"),
        (values.ports, "0"),
        (values.ports, "::1:80:80"),
        (values.volume, "a:b"),
        (values.volume, "/a:/"),
        (values.volume, "/a:/b:bogus"),
        (values.volume, "a b:/c"),
        (values.volume, "/a:/b:ro:x"),
        (values.mount, "type=nfs,target=/x"),
        (values.mount, "type=bind,target=/x"),
        (values.mount, "type=volume,colour=red,target=/x"),
        (values.tmpfs, "run"),
        (values.tmpfs, "/run:colour=red"),
        (values.device, "kvm"),
        (values.device, "/dev/kvm:/dev/kvm:rwx"),
        (values.device_rule, "z 1:3 rwm"),
        (values.device_bytes, "sda:1mb"),
        (values.ulimit, "bogus=1"),
        (values.ulimit, "nofile=9:1"),
        (values.restart, "sometimes"),
        (values.restart, "always:3"),
        (values.add_host, "db"),
        (values.add_host, "db:nowhere"),
        (values.mac, "01:00:00:00:00:00"),
        (values.environment, "=x"),
    ],
)
def test_bad_values_are_quoted(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(BadValue) as caught:
        read(text)
    assert f"'{text}'" in str(caught.value)
    assert str(caught.value)[-1] != "."
