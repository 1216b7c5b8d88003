"""`pyctr image files`, `which` and `compare`: the files of layers as lines."""

from __future__ import annotations

import stat

from pyctr.cli import output
from pyctr.cli.diagnostics import safe
from pyctr.core.errors import NotFound, UsageError
from pyctr.core.images import comparing, history, stack, tally
from pyctr.core.images.layerfiles import ADDED, CHANGED, DELETED, SAME, File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.images.model import Image

_SIGNS = {ADDED: "+", CHANGED: "~", DELETED: "-"}
_DIDS = {ADDED: "added", CHANGED: "changed", DELETED: "deleted"}


def layers_of(engine: Engine, image: Image) -> list[str]:
    """Directories of an image's layers, bottom first, unpacked if they were not."""
    engine.layers.ensure(image)
    return [engine.layers.path(layer.diff_id) for layer in image.layers]


def number_of(image: Image, text: str) -> int:
    """Which layer is meant: a number from 1, or the beginning of a digest. Raises UsageError, NotFound."""
    count = len(image.layers)
    if text.isdecimal() and len(text) < 4:
        if not 1 <= int(text) <= count:
            raise NotFound(f"image '{image.familiar}' has no layer {text}", hint=f"it has 1 to {count}, the base first")
        return int(text) - 1
    digits = text.removeprefix("sha256:")
    found = [
        number
        for number, layer in enumerate(image.layers)
        if digits and any(one[7:].startswith(digits) for one in (layer.diff_id, layer.digest))
    ]
    if len(found) > 1:
        raise UsageError(f"'{text}' fits several layers of '{image.familiar}'", hint="give more of the digest")
    if not found:
        raise NotFound(f"image '{image.familiar}' has no layer '{text}'", hint=f"give 1 to {count}, or a digest")
    return found[0]


def show(engine: Engine, image: Image, layer: str, path: str, form: str) -> None:
    """What an image has, or what one of its layers does, at and below a path."""
    number = number_of(image, layer) if layer else len(image.layers) - 1
    read = stack.read(layers_of(engine, image)[: number + 1])
    wanted = "/" + path.strip("/")
    if wanted != "/" and read.find(wanted) is None:
        raise _nowhere(image, path)
    found = (stack.changes if layer else stack.contents)(read, number)
    if wanted != "/":
        found = [file for file in found if f"{file.path}/".startswith(f"{wanted}/")]
        if not found and not layer:
            raise _nowhere(image, path)
    if layer:
        found = [file for file in found if not _only_repeated(read, file, number)]
    if form:
        for file in found:
            output.write(output.json_line(_document(file, told=bool(layer))))
        return
    for file in found:
        output.write(_line(file, told=bool(layer)))


def _only_repeated(read: stack.Stack, file: File, number: int) -> bool:
    """A directory that the layer only has because of what is in it."""
    entry = read.find(file.path)
    return file.is_directory and entry is not None and tally.kind(entry, number, False) == SAME


def _nowhere(image: Image, path: str) -> NotFound:
    return NotFound(
        f"image '{image.familiar}' has no '{path}'", hint=f"'pyctr image which {image.familiar} {path}' asks all layers"
    )


def _line(file: File, *, told: bool) -> str:
    sign = f"{_SIGNS[file.change]} " if told else ""
    if file.change == DELETED:
        return f"{sign}{'':>10} {'':>11} {output.decimal_size(file.was):>8}  {safe(file.path)}"
    arrow = (" -> " if stat.S_ISLNK(file.mode) else " same as ") + safe(file.link) if file.link else ""
    slash = "/" if file.is_directory else ""
    size = output.decimal_size(file.size) if file.is_regular else ""
    was = f"  (was {output.decimal_size(file.was)})" if told and file.change == CHANGED and file.is_regular else ""
    owner = f"{file.uid}:{file.gid}"
    return f"{sign}{stat.filemode(file.mode)} {owner:>11} {size:>8}  {safe(file.path)}{slash}{arrow}{was}"


def _document(file: File, *, told: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"path": file.path, "size": file.size, "mode": file.mode, "uid": file.uid, "gid": file.gid}
    if file.link:
        found["link"] = file.link
    if told:
        found |= {"change": file.change, "was": file.was}
    return found


def which(engine: Engine, image: Image, path: str, form: str) -> None:
    """Every layer that did something to a path, the first one first; what the image has is marked."""
    read = stack.read(layers_of(engine, image))
    entry = read.find(path)
    if entry is None or not entry.records:
        raise NotFound(f"no layer of image '{image.familiar}' has '{path}'", hint=f"pyctr image files {image.familiar}")
    steps = [step for step in history.history(image, engine.layers) if step.layer is not None]
    rows = [
        {
            "layer": record.layer + 1,
            "diff_id": image.layers[record.layer].diff_id,
            "change": record.change,
            "size": record.size,
            "seen": record is entry.records[-1] and record.change != DELETED,
            "instruction": steps[record.layer].instruction,
        }
        for record in entry.records
    ]
    if form:
        for row in rows:
            output.write(output.json_line(row))
        return
    output.table(
        ["LAYER", "", "SIZE", "DIGEST", "INSTRUCTION"],
        [
            [
                f"{row['layer']} of {len(image.layers)}",
                _DIDS[str(row["change"])] + (", this is what is seen" if row["seen"] else ""),
                "" if row["change"] == DELETED else output.decimal_size(int(str(row["size"]))),
                output.short_digest(str(row["diff_id"])),
                output.ellipsis(" ".join(str(row["instruction"]).split()), 60),
            ]
            for row in rows
        ],
    )


def compare(engine: Engine, one: Image, other: Image, form: str) -> None:
    """Files and settings that two images have differently."""
    first, second = (stack.read(layers_of(engine, image)) for image in (one, other))
    found = comparing.files(first, len(one.layers) - 1, second, len(other.layers) - 1)
    differences = sorted((item for item in found if item is not None), key=lambda item: item.path)
    settings = comparing.settings(one, other)
    if form:
        for item in differences:
            sizes = [file.size if file is not None else None for file in (item.before, item.after)]
            row = {"path": item.path, "change": item.change, "before": sizes[0], "after": sizes[1]}
            output.write(output.json_line(row))
        for setting in settings:
            row = {"setting": setting.name, "before": setting.before or None, "after": setting.after or None}
            output.write(output.json_line(row))
        return
    for item in differences:
        output.write(f"{_SIGNS[item.change]} {_sizes(item):>20}  {safe(item.path)}{_slash(item)}")
    for setting in settings:
        change = ADDED if not setting.before else CHANGED if setting.after else DELETED
        values = [safe(text) for text in (setting.before, setting.after) if text]
        output.write(f"{_SIGNS[change]} {safe(setting.name)}: {' -> '.join(values)}")
    shared = comparing.shared_layers(one, other)
    kinds = ", ".join(_count(differences, kind) for kind in (ADDED, CHANGED, DELETED))
    output.write(f"{kinds}; {len(settings)} setting{'s' * (len(settings) != 1)} differ{'s' * (len(settings) == 1)}")
    output.write(f"{shared} of {len(one.layers)} and {len(other.layers)} layers are the same")


def _slash(item: comparing.Difference) -> str:
    file = item.after or item.before
    return "/" if file is not None and file.is_directory else ""


def _sizes(item: comparing.Difference) -> str:
    sizes = [output.decimal_size(file.size) for file in (item.before, item.after) if file and file.is_regular]
    return " -> ".join(dict.fromkeys(sizes))


def _count(differences: Iterable[comparing.Difference], kind: str) -> str:
    found = [item for item in differences if item.change == kind]
    grown = sum(item.grown for item in found)
    sign = "+" if grown > 0 else "-" if grown < 0 else ""
    size = f" ({sign}{output.decimal_size(abs(grown))})" if grown else ""
    return f"{len(found)} {_DIDS[kind]}{size}"
