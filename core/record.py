"""Documents with named fields, typed like dataclasses, without the 25 ms that importing dataclasses costs.

A subclass annotates its fields; a field without a default must be given. Unknown keys of a
document are kept in `extra` and written back, so that an older pyctr never drops what a newer wrote.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda cls: cls


_MISSING = object()


@dataclass_transform(kw_only_default=True)
class Record:
    """Base of all documents. Nested records are named in `nested`: field -> class (value, list or dict of it)."""

    nested: ClassVar[dict[str, type[Record]]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        own = {name: cls.__dict__.get(name, _MISSING) for name in cls.__annotations__ if name != "nested"}
        cls._defaults = {**cls._defaults, **own}

    def __init__(self, **values: Any) -> None:
        for name, default in self._defaults.items():
            value = values.pop(name, _MISSING)
            if value is _MISSING:
                if default is _MISSING:
                    raise TypeError(f"{type(self).__name__} needs '{name}'")
                value = _own(default)
            setattr(self, name, value)
        if values:
            raise TypeError(f"{type(self).__name__} has no field '{next(iter(values))}'")

    def to_dict(self) -> dict[str, Any]:
        """The document as plain dicts, lists, strings, numbers, ready for JSON."""
        out = {name: _plain(getattr(self, name)) for name in self._defaults}
        out.update(getattr(self, "extra", None) or {})
        return out

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """The record of a document. Raises ValueError when a field without default is missing."""
        known = {}
        for name, default in cls._defaults.items():
            if name in document:
                known[name] = _typed(document[name], cls.nested.get(name))
            elif default is _MISSING:
                raise ValueError(f"no '{name}' in this {cls.__name__}")
        record = cls(**known)
        extra = {key: value for key, value in document.items() if key not in cls._defaults}
        if extra:
            record.__dict__["extra"] = extra
        return record

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        copy = type(self)(**{**{name: getattr(self, name) for name in self._defaults}, **changes})
        if extra := getattr(self, "extra", None):
            copy.__dict__["extra"] = extra
        return copy

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = None  # type: ignore[assignment]  # records change

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._defaults)
        return f"{type(self).__name__}({fields})"


def _own(default: Any) -> Any:
    if isinstance(default, Record):
        return default.replace()
    return default.copy() if isinstance(default, (list, dict)) else default


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _typed(value: Any, kind: type[Record] | None) -> Any:
    if kind is None or value is None:
        return value
    if isinstance(value, list):
        return [kind.from_dict(item) for item in value]
    return kind.from_dict(value)
