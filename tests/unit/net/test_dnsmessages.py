"""DNS messages as the container's name server reads and writes them."""

from __future__ import annotations

import json
import random
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core import dnsmessages as dns
from pyctr.core.runtime.loop import Loop
from pyctr.core.runtime.nameserver import NameServer


def _query(name: str, kind: int = dns.A, edns: int = 0) -> bytes:
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    extra = b"\0" + struct.pack(">HHIH", dns.OPT, edns, 0, 0) if edns else b""
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 1 if edns else 0) + question + struct.pack(">HH", kind, 1) + extra


def test_a_question_is_read_in_lower_case_with_the_size_its_asker_takes() -> None:
    question = dns.read(_query("WEB.front", edns=1232))
    assert question is not None
    assert (question.id, question.name, question.kind, question.limit) == (7, "web.front", dns.A, 1232)


def test_an_answer_too_long_for_udp_is_cut_and_says_so() -> None:
    query = _query("web")
    question = dns.read(query)
    assert question is not None
    records = [dns.address_record(f"10.0.0.{number}") for number in range(1, 101)]
    short = dns.answer(query, question, dns.NOERROR, records, question.limit)
    assert len(short) <= 512 and struct.unpack_from(">H", short, 2)[0] & dns.TRUNCATED
    whole = dns.answer(query, question, dns.NOERROR, records, 65535)
    assert struct.unpack_from(">H", whole, 6)[0] == 100 and not struct.unpack_from(">H", whole, 2)[0] & dns.TRUNCATED


def test_addresses_are_spelt_backwards() -> None:
    assert dns.reversed_address("7.0.88.10.in-addr.arpa") == "10.88.0.7"
    assert dns.reversed_address(".".join(["1", *["0"] * 27, *"00df"]) + ".ip6.arpa") == "fd00::1"
    for name in ("256.0.0.10.in-addr.arpa", "x.0.0.10.in-addr.arpa", "0.10.in-addr.arpa", "web"):
        assert dns.reversed_address(name) == ""


def test_answers_to_other_questions_are_not_believed() -> None:
    query = _query("www.example")
    question = dns.read(query)
    assert question is not None
    right = dns.answer(query, question, dns.NOERROR, [], 512)
    assert dns.is_answer(right, query, question, 7)
    assert not dns.is_answer(right, query, question, 8)
    assert not dns.is_answer(query, query, question, 7), "a query is no answer"
    other = _query("www.examplf")
    other_question = dns.read(other)
    assert other_question is not None
    assert not dns.is_answer(dns.answer(other, other_question, 0, [], 512), query, question, 7)


def test_no_message_is_too_broken() -> None:
    chance = random.Random(5)
    good = _query("web.front", edns=1232)
    for _ in range(3000):
        broken = bytearray(good[: chance.randrange(len(good) + 1)])
        for _ in range(chance.randrange(4)):
            if broken:
                broken[chance.randrange(len(broken))] = chance.randrange(256)
        question = dns.read(bytes(broken))
        if question is not None:
            dns.answer(bytes(broken), question, dns.NOERROR, [dns.address_record("10.0.0.1")], question.limit)


def test_a_name_has_at_most_255_octets() -> None:
    label = "a" * 62
    fits = ".".join([label] * 4)[:253]
    assert dns.read(_query(fits)) is not None
    assert dns.read(_query(".".join([label] * 5))) is None, "its answer would be longer than any asker takes"


@contextmanager
def _server() -> Iterator[NameServer]:
    """A name server of a container on an internal network, which asks nobody else."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "ids").mkdir()
        (Path(directory) / "ids/me").write_text(json.dumps({"network": "front", "internal": True}))
        lines = [
            f"id{number} 10.0.{number // 200}.{number % 200 + 1},fd00::{number:x} web n{number}" for number in range(60)
        ]
        (Path(directory) / "front.names").write_text("".join(f"{line}\n" for line in lines))
        sockets = [socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
        server = NameServer(Loop(), sockets, directory, "me", [])
        yield server
        assert not server.waiting
        for each in sockets:
            each.close()


_labels = st.lists(st.binary(min_size=1, max_size=63), max_size=6)
_known = st.sampled_from([[b"web"], [b"WEB", b"front"], [b"n7"], [b"8", b"0", b"0", b"10", b"in-addr", b"arpa"]])


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    """Queries that are nearly right: names of ours and others, odd kinds, sizes and counts, cut off anywhere."""
    name = b"".join(bytes([len(one)]) + one for one in draw(_known | _labels)) + b"\0"
    counts = draw(st.tuples(*[st.sampled_from([0, 1, 1, 1, 2, 65535])] * 4))
    header = struct.pack(">HHHHHH", draw(st.integers(0, 65535)), draw(st.integers(0, 65535) | st.just(0x100)), *counts)
    question = name + struct.pack(
        ">HH", draw(st.sampled_from([1, 12, 28, 255, 6, 65535])), draw(st.sampled_from([1, 3, 255]))
    )
    extra = draw(st.sampled_from([b"", b"\0" + struct.pack(">HHIH", dns.OPT, 1232, 0, 0)]) | st.binary(max_size=40))
    message = header + question + extra
    return message[: draw(st.integers(0, len(message)) | st.just(len(message)))]


@settings(max_examples=50, deadline=None)
@given(st.lists(_messages() | st.binary(max_size=600), max_size=6), st.booleans())
def test_whatever_is_asked_is_answered_once_at_most_and_to_the_point(queries: list[bytes], tcp: bool) -> None:
    with _server() as server:
        for query in queries:
            replies: list[bytes] = []
            server.ask(query, replies.append, tcp=tcp)
            question = dns.read(query)
            assert len(replies) == (question is not None), "what is no question has no answer"
            for reply in replies:
                assert question is not None
                assert reply[:2] == query[:2] and reply[2] & 0x80, "its id, and it is a response"
                assert len(reply) <= (65535 if tcp else question.limit)
                assert reply[12 : question.end] == query[12 : question.end], "the question is repeated as it was"
                count = struct.unpack_from(">H", reply, 6)[0]
                at = question.end
                for _ in range(count):
                    kind, zone, _, length = struct.unpack_from(">HHIH", reply, at + 2)
                    assert zone == dns.IN and (question.kind in (kind, dns.ANY))
                    at += 12 + length
                assert at == len(reply), "as many records as are said"
