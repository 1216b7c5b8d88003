"""`pyctr history`."""

from __future__ import annotations

import time

from pyctr.cli import output, values
from pyctr.core import creation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

_COLUMNS = (
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
)


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-q", "--quiet", action="store_true", help="only ids")
    add("-H", "--human", action="store_true", default=True, help="sizes and times for people")
    add("--no-trunc", action="store_true", help="whole instructions and ids")
    add("--format", metavar="FORMAT", help="table, json or a template")
    add("image", metavar="IMAGE")


def run(call: Call, args: Arguments) -> int:
    image = creation.find_image(call.engine, args.image)
    now = time.time()
    rows = []
    layers = list(image.layers)
    entries = [*image.history]
    # history entries without a layer are marked; layers without an entry (other builders) still count
    entries += [{} for _ in range(len(layers) - sum(not entry.get("empty_layer") for entry in entries))]
    for entry in entries:
        layer = None if entry.get("empty_layer") or not layers else layers.pop(0)
        rows.append(_row(entry, layer, now, args))
    rows.reverse()
    if rows:
        rows[0]["ID"] = image.id if args.no_trunc else output.short_digest(image.id)
    if args.quiet:
        for row in rows:
            output.write(row["ID"])
        return 0
    output.listing(rows, _COLUMNS, args.format)
    return 0


def _row(entry: dict[str, Any], layer: Any, now: float, args: Arguments) -> dict[str, Any]:
    size = layer.size if layer is not None else 0
    created = _moment(str(entry.get("created") or ""))
    since = (output.ago(created, now) if args.human else output.rfc3339(created)) if created else "N/A"
    command = str(entry.get("created_by") or "").replace("\t", " ")
    return {
        "ID": "<missing>",
        "CreatedSince": since,
        "CreatedAt": output.rfc3339(created) if created else "",
        "CreatedBy": command if args.no_trunc else output.ellipsis(command, 45),
        "Size": output.decimal_size(size) if args.human else str(size),
        "Comment": str(entry.get("comment") or ""),
        "Layer": layer.diff_id if layer is not None else "",
    }


def _moment(text: str) -> float:
    try:
        return values.moment(text) if text else 0.0
    except ValueError:
        return 0.0  # another builder's idea of a date
