"""DNS messages as the container's name server reads and writes them."""

from __future__ import annotations

import random
import struct

from pyctr.core import dnsmessages as dns


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
