"""JSON by the interpreter's own C scanner and encoder, without the `json` package around them.

Importing `json` brings `re` and `enum` along and takes as long as a fifth of a whole `pyctr ps`; the C parts alone take
half a millisecond. Where an interpreter does not have them in this shape, `json` does the work.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Context:
    """What json.decoder.JSONDecoder would hand to the scanner."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no place in a JSON document")


_scan: Any
_encode: Any
_context: Any = _Context()
try:
    import _json

    _scan = _json.make_scanner(_context)
    _encode = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, True)
    if _scan('{"a":[1]}', 0) != ({"a": [1]}, 9) or "".join(_encode({"a": [1]}, 0)) != '{"a":[1]}':
        raise ImportError
except (ImportError, AttributeError, TypeError):
    _scan = _encode = None


def loads(text: bytes | str) -> Any:
    """The document of a text in UTF-8. Raises ValueError."""
    if _scan is None:
        import json

        return json.loads(text)
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogatepass")
    text = text.strip(" \t\r\n")
    try:
        document, end = _scan(text, 0)
    except StopIteration as error:
        raise ValueError(f"a value is missing at character {error.value}") from None
    except SystemError:
        # the C scanner takes its exception from a `json` that is loaded already, and stumbles when none is
        import json

        return json.loads(text)
    if end != len(text):
        raise ValueError(f"something follows the document at character {end}")
    return document


def dumps(document: Any) -> str:
    """Compact text, pure ASCII. Raises TypeError for what is not JSON."""
    if _encode is None:
        import json

        return json.dumps(document, separators=(",", ":"))
    return "".join(_encode(document, 0))
