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


def test_one_place_in_the_container_is_mounted_once() -> None:
    parse.check_mounts([parse.volume("/srv:/a"), parse.volume("/srv:/b")])
    with pytest.raises(parse.BadValue, match="two mounts on '/a'"):
        parse.check_mounts([parse.volume("/srv:/a"), parse.volume("vol:/a/")])
