"""The messages that criu is sent, in protocol buffers' encoding."""

from __future__ import annotations

import pytest

from pyctr.core.runtime import criu


def test_options_are_encoded_as_protocol_buffers() -> None:
    """Bytes as `protoc --encode` writes them: field and wire type, then a number, or a length and the content."""
    assert criu.options({"images_dir_fd": 300}).hex() == "08ac02"
    assert criu.options({"leave_running": True, "root": "/r"}).hex() == "1801" + "6a022f72"
    assert criu.options({"external": ["a", "b"]}).hex() == "aa020161" + "aa020162"
    assert criu.options({"inherit_fd": [{"key": "p", "fd": 4}]}).hex() == "da0105" + "0a0170" + "1004"


def test_a_negative_number_takes_ten_bytes() -> None:
    assert criu.encode([(1, -1)]).hex() == "08" + "ff" * 9 + "01"


def test_a_message_is_decoded_and_a_cut_one_is_refused() -> None:
    data = criu.encode([(1, 6), (2, True), (5, criu.encode([(1, "post-restore"), (2, 4711)]))])
    found = criu.decode(data)
    assert (found[1], found[2]) == (6, 1)
    assert criu.decode(found[5]) == {1: b"post-restore", 2: 4711}
    for length in range(1, len(data)):
        try:
            criu.decode(data[:length])
        except ValueError:
            continue  # else the cut was between two fields
    with pytest.raises(ValueError):
        criu.decode(data[:-1])
