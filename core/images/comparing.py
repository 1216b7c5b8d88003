"""Two images beside each other: files added, removed and changed, and what their configurations say differently.

Files are the same when type, owner, mode and bytes are; times do not count, for two builds of one thing differ in them.
Bytes are only read where the two files have the same size and are not of the very same layer.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from pyctr.core.images.layerfiles import ADDED, CHANGED, DELETED, File
from pyctr.core.images.stack import Entry, Stack
from pyctr.core.images.viewing import open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyctr.core.images.model import Image

_PIECE = 1 << 18
_MEMBERS = (
    *("Entrypoint", "Cmd", "WorkingDir", "User", "ExposedPorts", "Volumes", "StopSignal", "Healthcheck", "Shell"),
    *("OnBuild", "ArgsEscaped", "StopTimeout"),
)


class Difference(NamedTuple):
    """One path. `before` and `after` are None where it is not there."""

    path: str
    change: str
    before: File | None
    after: File | None

    @property
    def grown(self) -> int:
        """Bytes that the second image has more."""
        return (self.after.size if self.after else 0) - (self.before.size if self.before else 0)


class Setting(NamedTuple):
    """One member of the configuration; "" where it is not set."""

    name: str
    before: str
    after: str


def files(one: Stack, one_layer: int, other: Stack, other_layer: int) -> Iterator[Difference | None]:
    """The differences in no order; None after every entry or piece of a file that was looked at and is the same."""
    todo: list[tuple[str, Entry | None, Entry | None]] = [("", one.root, other.root)]
    while todo:
        path, first, second = todo.pop()
        names = {**(first.children if first else {}), **(second.children if second else {})}
        for name in names:
            place = f"{path}/{name}"
            left = first.children.get(name) if first else None
            right = second.children.get(name) if second else None
            before = left.file(one_layer) if left else None
            after = right.file(other_layer) if right else None
            if before is None and after is None:
                yield None
                continue
            if before is None or after is None:
                yield Difference(place, DELETED if after is None else ADDED, before, after)
            else:
                same = _looks(before) == _looks(after)
                if same and before.is_regular:
                    paths = one.directories[before.layer], other.directories[after.layer]
                    for answer in _same(before, after, *paths):
                        same = answer
                        yield None
                yield None if same else Difference(place, CHANGED, before, after)
            if (left and left.children) or (right and right.children):
                todo.append((place, left, right))


def _looks(file: File) -> tuple[int, int, int, str]:
    return file.mode, file.uid, file.gid, "" if file.is_regular else file.link


def _same(before: File, after: File, one: str, other: str) -> Iterator[bool]:
    """Whether two regular files have the same bytes: the last answer counts."""
    if one == other:
        yield True
        return
    if before.size != after.size and not before.link and not after.link:
        yield False
        return
    first = open_file(one, before.path)
    try:
        second = open_file(other, after.path)
        try:
            while True:
                piece = os.read(first, _PIECE)
                if piece != os.read(second, _PIECE):
                    yield False
                    return
                yield True
                if not piece:
                    return
        finally:
            os.close(second)
    finally:
        os.close(first)


def settings(one: Image, other: Image) -> list[Setting]:
    """What their configurations say differently; variables and labels each by itself."""
    first, second = _settings(one), _settings(other)
    names = dict.fromkeys([*first, *second])
    return [
        Setting(name, first.get(name, ""), second.get(name, ""))
        for name in names
        if first.get(name) != second.get(name)
    ]


def _settings(image: Image) -> dict[str, str]:
    found = {"platform": f"{image.os}/{image.architecture}"}
    config: dict[str, Any] = image.config
    for member in _MEMBERS:
        if config.get(member):
            value = config[member]
            found[member] = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    for variable in config.get("Env") or []:
        name, _, value = str(variable).partition("=")
        found[f"Env {name}"] = value
    for name, value in sorted((config.get("Labels") or {}).items()):
        found[f"Label {name}"] = str(value)
    return found


def shared_layers(one: Image, other: Image) -> int:
    """How many layers, from the bottom, are the same."""
    number = 0
    for first, second in zip(one.layers, other.layers, strict=False):
        if first.diff_id != second.diff_id:
            break
        number += 1
    return number
