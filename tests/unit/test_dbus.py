"""The D-Bus wire against the specification's rules, and against bytes that another implementation wrote."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core import dbus

BASIC = {
    "y": st.integers(0, 255),
    "b": st.booleans(),
    "n": st.integers(-(2**15), 2**15 - 1),
    "q": st.integers(0, 2**16 - 1),
    "i": st.integers(-(2**31), 2**31 - 1),
    "u": st.integers(0, 2**32 - 1),
    "x": st.integers(-(2**63), 2**63 - 1),
    "t": st.integers(0, 2**64 - 1),
    "s": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    "g": st.sampled_from(["", "s", "a{sv}", "(ii)"]),
}
SIGNATURES = st.recursive(
    st.sampled_from(sorted(BASIC)),
    lambda inner: st.one_of(
        inner.map(lambda kind: f"a{kind}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda kinds: f"({''.join(kinds)})"),
        inner.map(lambda kind: f"a{{s{kind}}}"),
    ),
    max_leaves=5,
)


def values(kind: str) -> st.SearchStrategy[Any]:
    if kind in BASIC:
        return BASIC[kind]
    if kind[0] == "a":
        return st.lists(values(kind[1:]), max_size=3)
    return st.tuples(*(values(part) for part in dbus.split(kind[1:-1])))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_written_is_read_again(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(SIGNATURES, max_size=4))
    wanted = [data.draw(values(kind)) for kind in kinds]
    assert dbus.unmarshal("".join(kinds), dbus.marshal("".join(kinds), wanted)) == wanted


@settings(max_examples=150, deadline=None)
@given(SIGNATURES, st.binary(max_size=60))
def test_garbage_is_a_value_error_and_nothing_else(signature: str, data: bytes) -> None:
    try:
        dbus.unmarshal(signature, data)
    except ValueError:
        pass


def test_alignment_is_that_of_the_specification() -> None:
    """Structs and 64 bits at 8, the padding before an array's first item not counted in its length."""
    assert dbus.marshal("yt", (1, 2)).hex() == "01" + "00" * 7 + "02" + "00" * 7
    assert dbus.marshal("a(y)", ([(7,)],)).hex() == "01000000" + "00000000" + "07"
    assert dbus.marshal("v", (("u", 5),)).hex() == "01" + "7500" + "00" + "05000000"
    assert dbus.marshal("s", ("ab",)).hex() == "02000000" + "616200"


@pytest.mark.parametrize("signature", ["(", "a", "(s", "{", "z", "a{s"])
def test_a_wrong_signature_is_refused(signature: str) -> None:
    with pytest.raises(ValueError):
        dbus.split(signature)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """The other side of one connection, scripted: what it receives is judged there, what it sends is given."""
    threads = []

    def start(answer: bytes) -> str:
        path = str(tmp_path / "s")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()

        def serve() -> None:
            peer, _ = listening.accept()
            with peer:
                heard = b""
                while b"\r\n" not in heard:
                    heard += peer.recv(4096)
                assert heard == b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n"
                peer.sendall(b"OK 0123\r\n")
                heard = heard.partition(b"\r\n")[2]
                while b"BEGIN\r\n" not in heard or len(heard) < 40:
                    heard += peer.recv(65536)
                assert heard.startswith(b"BEGIN\r\nl")
                peer.sendall(answer)
            listening.close()

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return path

    yield start
    for thread in threads:
        thread.join(10)


def message(kind: int, fields: list[tuple[int, tuple[str, Any]]], signature: str, body: tuple[Any, ...]) -> bytes:
    data = dbus.marshal(signature, body)
    head = dbus.marshal("yyyyuua(yv)", (ord("l"), kind, 0, 1, len(data), 9, [*fields, (8, ("g", signature))]))
    return head + bytes(-len(head) % 8) + data


def test_a_reply_is_found_behind_signals_and_those_are_kept(service: Callable[..., str]) -> None:
    signal = message(4, [(1, ("o", "/x")), (2, ("s", "i")), (3, ("s", "JobRemoved"))], "us", (4, "done"))
    path = service(signal + message(2, [(5, ("u", 1))], "o", ("/job/4",)))
    connection = dbus.Connection(path, bus=False)
    assert connection.call("d", "/p", "i.f", "Start", "s", ("x",)) == ["/job/4"]
    assert connection.signal("JobRemoved") == [4, "done"]
    connection.close()


def test_an_error_reply_is_raised_with_its_name_and_text(service: Callable[..., str]) -> None:
    path = service(message(3, [(5, ("u", 1)), (4, ("s", "org.x.NoSuchUnit"))], "s", ("not loaded",)))
    connection = dbus.Connection(path, bus=False)
    with pytest.raises(dbus.Refused, match="not loaded") as caught:
        connection.call("d", "/p", "i.f", "Stop", "", ())
    assert caught.value.name == "org.x.NoSuchUnit"
    connection.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"l" + b"\xff" * 40])
def test_something_else_on_the_socket_is_an_error_not_a_hang(service: Callable[..., str], answer: bytes) -> None:
    connection = dbus.Connection(service(answer), bus=False)
    with pytest.raises(OSError, match="not D-Bus"):
        connection.call("d", "/p", "i.f", "Start", "", ())
    connection.close()
