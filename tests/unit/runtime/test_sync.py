"""Frames survive any way the stream is cut, and descriptors travel with them."""

import _socket
import os

import pytest

from pyctr.core.runtime import sync


def pair() -> tuple[sync.Channel, sync.Channel]:
    one, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
    return sync.Channel(one), sync.Channel(other)


@pytest.mark.parametrize("piece", [1, 2, 4, 5, 6, 7, 100])
def test_frames_survive_any_fragmentation(piece: int) -> None:
    sent = [(b"1", b"hello"), (b"0", b""), (b"X", bytes(300)), (b"W", b"\0\x18\0\x50")]
    stream = b"".join(sync.frame(kind, payload) for kind, payload in sent)
    parser = sync.Parser()
    got = [frame for at in range(0, len(stream), piece) for frame in parser.feed(stream[at : at + piece])]
    assert got == sent


def test_a_foreign_stream_is_refused_before_it_is_buffered() -> None:
    with pytest.raises(ValueError, match="frame of"):
        list(sync.Parser().feed(b"GET / HTTP/1.1\r\n"))


def test_the_lock_travels_with_the_plan() -> None:
    one, other = pair()
    reader, writer = os.pipe()
    one.send(sync.document(sync.PLAN, {"a": [b"\0", 1, None]}), (writer,))
    os.close(writer)
    kind, _ = other.receive()
    assert kind == sync.PLAN
    (received,) = other.descriptors
    assert not os.get_inheritable(received)
    os.write(received, b"x")
    assert os.read(reader, 1) == b"x"
    other.close()
    assert os.read(reader, 1) == b"", "closing the channel closes what came through it"
    os.close(reader)
    one.close()


def test_the_end_of_the_peer_is_an_eof() -> None:
    one, other = pair()
    one.send(sync.frame(sync.DONE))
    one.close()
    assert other.receive() == (sync.DONE, b"")
    with pytest.raises(EOFError):
        other.receive()
    other.close()


def test_window_sizes_keep_their_order() -> None:
    ((kind, payload),) = sync.Parser().feed(sync.winsize(24, 80))
    assert (kind, sync.parse_winsize(payload)) == (sync.WINSIZE, (24, 80))


def test_packets_keep_their_boundaries() -> None:
    one, other = sync.packets()
    one.send(sync.TRACE, b"a")
    one.send(sync.READY)
    assert other.receive() == (sync.TRACE, b"a", [])
    assert other.receive() == (sync.READY, b"", [])
    one.close()
    assert other.receive()[0] == b""
    other.close()


def test_what_a_peer_said_before_it_died_is_heard_though_it_had_not_read_all() -> None:
    one, other = sync.packets()
    one.send(sync.LINKED)
    other.send(sync.FAILED, b"why")
    other.close()
    assert one.receive() == (sync.FAILED, b"why", [])
    assert one.receive()[0] == b""
    one.close()


def test_asking_without_waiting_raises_when_nothing_was_said() -> None:
    one, other = sync.packets()
    with pytest.raises(BlockingIOError):
        one.receive(wait=False)
    one.close()
    other.close()
