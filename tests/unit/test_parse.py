"""What both faces read with: mounts, ports and words that exclude each other are refused with a reason and a hint."""

from __future__ import annotations

import pytest

from pyctr.core import parse


def test_a_command_is_words_as_a_shell_separates_them() -> None:
    assert parse.command("""sh -c "trap 'exit 3' TERM; sleep 1" a\\ b""") == [
        "sh",
        "-c",
        "trap 'exit 3' TERM; sleep 1",
        "a b",
    ]
    assert parse.command("") == []
    assert parse.command("echo $HOME *") == ["echo", "$HOME", "*"]


def test_a_quote_that_is_left_open_is_named() -> None:
    with pytest.raises(parse.BadValue, match="no closing quotation") as caught:
        parse.command("sh -c 'x")
    assert caught.value.hint


def test_one_port_of_the_host_is_given_once() -> None:
    parse.check_ports([*parse.ports("8080:80"), *parse.ports("8080:80/udp"), *parse.ports("80"), *parse.ports("80")])
    with pytest.raises(parse.BadValue, match="8080/tcp is named twice"):
        parse.check_ports([*parse.ports("8080:80"), *parse.ports("8080:81")])
    for one, other in (("127.0.0.1:", ""), ("127.0.0.1:", "0.0.0.0:"), ("[::1]:", "[0::0]:"), ("[fd99::7]:", "")):
        parse.check_ports([*parse.ports(f"{one}8080:80"), *parse.ports(f"{other}8080:80")])
        with pytest.raises(parse.BadValue, match="8080/tcp is named twice"):
            parse.check_ports([*parse.ports(f"{one}8080:80"), *parse.ports(f"{other}8080:81")])
    for one, other in (("127.0.0.1:", "127.0.0.2:"), ("0.0.0.0:", "[::]:"), ("[::1]:", "[fd99::7]:")):
        parse.check_ports([*parse.ports(f"{one}8080:80"), *parse.ports(f"{other}8080:81")])


@pytest.mark.parametrize("address", ["fe80::1", "febf::2", "::ffff:127.0.0.1"])
def test_an_address_that_no_socket_can_be_bound_to_is_refused_by_name(address: str) -> None:
    with pytest.raises(parse.BadValue, match=f"no port can be published on '{address}'"):
        parse.ports(f"[{address}]:8080:80")


def test_a_range_of_the_host_for_one_port_is_where_to_look() -> None:
    (port,) = parse.ports("127.0.0.1:8000-8010:80/udp")
    assert (port.host_port, port.host_last, port.container_port, port.asked()) == (8000, 8010, 80, "8000-8010")
    parse.check_ports([port, port])
    assert [port.asked() for port in parse.ports("8000-8001:80-81")] == ["8000", "8001"]
    with pytest.raises(parse.BadValue, match="differ in length"):
        parse.ports("8000-8002:80-81")


def test_one_place_in_the_container_is_mounted_once() -> None:
    parse.check_mounts([parse.volume("/srv:/a"), parse.volume("/srv:/b")])
    with pytest.raises(parse.BadValue, match="two mounts on '/a'"):
        parse.check_mounts([parse.volume("/srv:/a"), parse.volume("vol:/a/")])
