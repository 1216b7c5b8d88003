"""`pyctr images`."""

from __future__ import annotations

import time

from pyctr.cli import filters, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

_COLUMNS = (
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
)
_FILTERS = ("dangling", "label", "reference", "before", "since")


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="accepted for habit; all images are always listed")
    add("-q", "--quiet", action="store_true", help="only ids")
    add("--digests", action="store_true", help="the manifest's digest too")
    add("--no-trunc", action="store_true", help="whole ids")
    add("-f", "--filter", action="append", type=filters.read, metavar="KEY=VALUE", help=", ".join(_FILTERS))
    add("--format", metavar="FORMAT", help="table, json or a template such as '{{.Repository}}'")
    add("repository", nargs="?", metavar="REPOSITORY[:TAG]")


def run(call: Call, args: Arguments) -> int:
    wanted = filters.collect(args.filter, _FILTERS)
    if args.repository:
        wanted.setdefault("reference", []).append(args.repository)
    rows = []
    now = time.time()
    store = call.engine.images
    after = [store.resolve(name).created for name in wanted.get("since", ())]
    before = [store.resolve(name).created for name in wanted.get("before", ())]
    for image in sorted(store.list(), key=lambda image: image.created, reverse=True):
        if any(image.created <= moment for moment in after) or any(image.created >= moment for moment in before):
            continue
        if "dangling" in wanted and (wanted["dangling"][-1] in ("true", "1")) != (not image.names):
            continue
        if not filters.labels_match(image.config.get("Labels") or {}, wanted.get("label", ())):
            continue
        for name in image.names or ["<none>:<none>"]:
            repository, tag = split(familiar(name))
            if "reference" in wanted and not any(_fits(repository, tag, text) for text in wanted["reference"]):
                continue
            rows.append(_row(image, repository, tag, now, whole=args.no_trunc))
    if args.quiet:
        for id in dict.fromkeys(row["ID"] for row in rows):
            output.write(id)
        return 0
    columns = list(_COLUMNS)
    if args.digests:
        columns.insert(2, ("Digest", "DIGEST"))
    output.listing(rows, columns, args.format)
    return 0


def familiar(name: str) -> str:
    """A normal reference as people write it."""
    from pyctr.core.images.reference import parse

    return name if name.startswith("<") else parse(name).familiar


def split(name: str) -> tuple[str, str]:
    """Repository and tag of a name as people write it."""
    name = name.partition("@")[0]
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return name, "<none>"
    return repository, tag


def _fits(repository: str, tag: str, text: str) -> bool:
    from fnmatch import fnmatchcase

    wanted, wanted_tag = split(text)
    names = [repository, repository.partition("/")[2]] if "/" in repository else [repository]
    return any(fnmatchcase(name, wanted) for name in names) and wanted_tag in ("<none>", tag)


def _row(image: Any, repository: str, tag: str, now: float, *, whole: bool) -> dict[str, Any]:
    return {
        "Repository": repository,
        "Tag": tag,
        "ID": image.id if whole else output.short_digest(image.id),
        "Digest": image.digest,
        "CreatedSince": output.ago(image.created, now) if image.created else "N/A",
        "CreatedAt": output.local_time(image.created),
        "Size": output.decimal_size(image.size),
    }
