"""What a process has to listen on for published ports: where the kernel leads nobody, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from pyctr.core.runtime import doors


def _port(host_ip: str, number: int = 8080, inside: int = 80, protocol: str = "tcp", **more: Any) -> dict[str, Any]:
    return {"host_ip": host_ip, "host_port": number, "container_port": inside, "protocol": protocol, **more}


@pytest.mark.parametrize(
    ("ports", "six", "four"),
    [
        ([_port("")], {("::1", 8080, "tcp"): 80}, {("::1", 8080, "tcp"): 80}),
        ([_port("", only4=True)], {}, {}),
        ([_port("127.0.0.1")], {}, {}),
        ([_port("::1")], {("::1", 8080, "tcp"): 80}, {("::1", 8080, "tcp"): 80}),
        ([_port("::")], {("::1", 8080, "tcp"): 80}, {("::", 8080, "tcp"): 80}),
        ([_port("2001:db8::1")], {}, {("2001:db8::1", 8080, "tcp"): 80}),
        ([_port("", protocol="sctp")], {}, {}),
        ([_port(""), _port("", protocol="udp")], *2 * [{("::1", 8080, "tcp"): 80, ("::1", 8080, "udp"): 80}]),
        # who names ::1 means something, who names nothing means the rest
        ([_port(""), _port("::1", inside=81)], *2 * [{("::1", 8080, "tcp"): 81}]),
        ([_port(""), _port("::", inside=81)], {("::1", 8080, "tcp"): 81}, {("::", 8080, "tcp"): 81}),
    ],
)
def test_doors_are_where_nothing_else_can(ports: list[dict[str, Any]], six: object, four: object) -> None:
    attachment: dict[str, Any] = {"mode": "bridge", "address": "10.0.0.2/24", "ports": ports}
    assert doors.wanted(attachment) == four
    assert doors.wanted({**attachment, "address6": "fd00::2/64"}) == six


def test_what_is_on_no_bridge_has_none() -> None:
    assert doors.wanted({"mode": "cni", "ports": [_port("")]}) == doors.wanted({"mode": "none"}) == {}
