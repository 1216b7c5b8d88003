"""The short way to JSON says the same as the json module."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyctr.core import jsontext

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_both_directions_agree_with_json(document: object) -> None:
    assert jsontext.dumps(document) == json.dumps(document, separators=(",", ":"))
    assert (
        jsontext.loads(json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")) == document
    )


@pytest.mark.parametrize("text", [b"", b"{", b'{"a":}', b"[1,]", b"[1] 2", b"\xff", b'"a\nb"', b"nul"])
def test_what_is_not_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        jsontext.loads(text)


def test_a_cut_document_is_a_value_error_in_a_process_without_json() -> None:
    program = (
        "import sys; from pyctr.core import jsontext; assert 'json' not in sys.modules\n"
        "try: jsontext.loads('{')\nexcept ValueError: print('right')"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, env={"PYTHONPATH": "."}
    )
    assert done.stdout == "right\n", done.stderr


def test_what_cannot_be_json_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        jsontext.dumps({"a": object()})


def test_it_stays_light() -> None:
    code = "import sys; from pyctr.core import jsontext; jsontext.loads(jsontext.dumps([1])); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"json", "re", "enum"} & set(loaded)
