"""`pyctr ps`."""

from __future__ import annotations

import time

from pyctr.cli import describe, filters, output
from pyctr.core import containers
from pyctr.core import state as states
from pyctr.core.errors import NotFound, PyctrError, UsageError
from pyctr.core.parse import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.containers import Container

_COLUMNS = (
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
)
_FILTERS = (
    *("id", "name", "label", "status", "exited", "ancestor", "network", "volume", "publish", "before", "since"),
    "health",
)
_STATUSES = (
    *(states.CREATED, states.RUNNING, states.PAUSED, states.RESTARTING, states.STOPPED, states.DEAD),
    *("exited", "removing"),
)
_HEALTH = ("none", "starting", "healthy", "unhealthy")
_SHOWN = frozenset({states.RUNNING, states.PAUSED, states.RESTARTING})


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="stopped ones too")
    add("-q", "--quiet", action="store_true", help="only ids")
    add("-n", "--last", type=_count, metavar="N", help="the N newest, whatever their state")
    add("-l", "--latest", action="store_true", help="the newest, whatever its state")
    add("-s", "--size", action="store_true", help="size of the writable layer")
    add("--no-trunc", action="store_true", help="whole ids and commands")
    add("-f", "--filter", action="append", type=filters.read, metavar="KEY=VALUE", help=", ".join(_FILTERS))
    add("--format", metavar="FORMAT", help="table, json or a template such as '{{.Names}}'")
    add("-A", "--all-engines", action="store_true", help="docker's, podman's, Kubernetes' ... too")
    add("--engine", metavar="NAME,...", help="those of these engines: pyctr, docker, podman, systemd, ... or all")


def run(call: Call, args: Arguments) -> int:
    wanted = filters.collect(args.filter, _FILTERS)
    if args.all_engines or args.engine:
        return _of_engines(call, args, wanted)
    found = containers.all(call.engine)
    everything = args.all or args.latest or args.last is not None or "status" in wanted or "exited" in wanted
    matches = _matcher(found, wanted)
    chosen: list[tuple[Container, str]] = []
    for container in found:
        status = container.status
        if (everything or status in _SHOWN) and matches(container, status):
            chosen.append((container, status))
    if args.latest:
        chosen = chosen[:1]
    elif args.last is not None:
        chosen = chosen[: args.last]
    if args.quiet:
        for container, _ in chosen:
            output.write(container.id if args.no_trunc else container.short_id)
        return 0
    size = args.size or "{{.Size" in (args.format or "") or "{{ .Size" in (args.format or "")
    now = time.time()
    rows = [_row(container, status, now, whole=args.no_trunc, size=size) for container, status in chosen]
    columns = [*_COLUMNS, ("Size", "SIZE")] if args.size else _COLUMNS
    output.listing(rows, columns, args.format)
    return 0


def _of_engines(call: Call, args: Arguments, wanted: dict[str, list[str]]) -> int:
    """Ours and those of other engines, in one list."""
    from pyctr.cli import others
    from pyctr.core.engines import lookup

    engines = lookup.engines(args.engine or "all")
    everything = args.all or args.latest or args.last is not None or "status" in wanted or "exited" in wanted
    now = time.time()
    chosen: list[tuple[float, str, dict[str, Any]]] = []
    if lookup.OURS in engines:
        ours = containers.all(call.engine)
        matches = _matcher(ours, wanted)
        for container in ours:
            status = container.status
            if (everything or status in _SHOWN) and matches(container, status):
                row = _row(container, status, now, whole=args.no_trunc, size=args.size)
                chosen.append((container.state.created_at, container.id, {**row, "Engine": lookup.OURS, "Pod": ""}))
    foreign, limited = lookup.look(call.engine, engines)
    chosen += [
        (one.created_at or one.started_at, one.id, others.row(one, now, whole=args.no_trunc))
        for one in foreign
        # what holds a pod's namespaces is shown where everything is
        if others.matches(one, wanted) and (args.all or ((everything or one.status in _SHOWN) and not one.infra))
    ]
    chosen.sort(key=lambda item: -item[0])
    if args.latest or args.last is not None:
        chosen = chosen[: 1 if args.latest else args.last]
    if limited:
        from pyctr.cli.diagnostics import warn

        warn(limited)
    if args.quiet:
        for _, id, _ in chosen:
            output.write(id if args.no_trunc or len(id) != 64 else id[:12])
        return 0
    columns = [_COLUMNS[0], ("Engine", "ENGINE"), *_COLUMNS[1:], *([("Size", "SIZE")] if args.size else [])]
    output.listing([row for _, _, row in chosen], columns, args.format)
    return 0


def _row(container: Container, status: str, now: float, *, whole: bool, size: bool) -> dict[str, Any]:
    state, spec = container.state, container.spec
    image = state.image_name or output.short_digest(state.image_id)
    command = describe.command_line(container)
    labels = spec.labels
    row: dict[str, Any] = {
        "ID": container.id if whole else container.short_id,
        "Image": image,
        "Command": f'"{command if whole else output.ellipsis(command, 20)}"',
        "RunningFor": output.ago(state.created_at, now),
        "CreatedAt": output.local_time(state.created_at),
        "Status": describe.status_text(container, status, now),
        "State": describe.DOCKER_STATUS.get(status, status),
        "Ports": describe.port_text(container) if status in _SHOWN else "",
        "Names": container.name,
        "Labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "Label": lambda key: labels.get(key, ""),
        "Mounts": ",".join(mount.source or mount.target for mount in spec.mounts),
        "LocalVolumes": str(sum(mount.kind == "volume" for mount in spec.mounts)),
        "Networks": describe.network_name(container),
        "Size": "",
    }
    if size:
        engine = container.engine
        try:
            below = engine.images.resolve(state.image_id).size
        except PyctrError:  # the image was removed by force
            below = 0
        own = engine.storage.usage(container.id)
        row["Size"] = f"{output.decimal_size(own)} (virtual {output.decimal_size(own + below)})"
    return row


def _matcher(everyone: list[Container], wanted: dict[str, list[str]]) -> Callable[[Container, str], bool]:
    """One predicate for all filters."""
    if not wanted:
        return lambda container, status: True
    for status in wanted.get("status", ()):
        if status not in _STATUSES:
            raise UsageError(f"--filter: status '{status}' does not exist", hint=f"one of {', '.join(_STATUSES)}")
    for word in wanted.get("health", ()):
        if word not in _HEALTH:
            raise UsageError(f"--filter: health '{word}' does not exist", hint=f"one of {', '.join(_HEALTH)}")
    codes = []
    for text in wanted.get("exited", ()):
        if not text.isdecimal():
            raise UsageError(f"--filter: exited '{text}' is not an exit code", hint="such as exited=137")
        codes.append(int(text))
    after = [_created(everyone, ref) for ref in wanted.get("since", ())]
    before = [_created(everyone, ref) for ref in wanted.get("before", ())]
    ancestry = {text: _descendants(everyone, text) for text in wanted.get("ancestor", ())}

    def matches(container: Container, status: str) -> bool:
        state, spec = container.state, container.spec
        word = describe.DOCKER_STATUS.get(status, status)
        tests = {
            "id": lambda value: container.id.startswith(value),
            "name": lambda value: (
                value.lstrip("/^").rstrip("$") in container.name
                if value[:1] not in "/^"
                else container.name.startswith(value.lstrip("/^").rstrip("$"))
            ),
            "status": lambda value: value in (status, word),
            "ancestor": lambda value: (
                state.image_id in ancestry[value] or value in (state.image_name, state.image_name.rpartition(":")[0])
            ),
            "network": lambda value: value in (spec.network, describe.network_name(container)),
            "volume": lambda value: any(value in (mount.source, mount.target) for mount in spec.mounts),
            "publish": lambda value: any(
                value.partition("/")[0] == str(port["host_port"]) for port in describe.ports(container)
            ),
            "health": lambda value: value == describe.health_word(container, status),
        }
        for key, values in wanted.items():
            if key in tests and not any(map(tests[key], values)):
                return False
        if codes and (word != "exited" or state.exit is None or state.exit.code not in codes):
            return False
        if any(state.created_at <= moment for moment in after) or any(state.created_at >= moment for moment in before):
            return False
        return filters.labels_match(spec.labels, wanted.get("label", ()))

    return matches


def _descendants(everyone: list[Container], text: str) -> set[str]:
    """Ids of the image that `text` names, in whatever way, and of those made on top of it."""
    if not everyone:
        return set()
    images = everyone[0].engine.images
    try:
        image = images.find(text)
    except PyctrError:  # no name of an image, or the beginning of several ids
        image = None
    if image is None:
        return set()
    count = len(image.layers)
    above = [other for other in images.list() if count and other.layers[:count] == image.layers]
    return {image.id, *(other.id for other in above)}


def _created(everyone: list[Container], ref: str) -> float:
    for container in everyone:
        if container.name == ref or container.id.startswith(ref):
            return container.state.created_at
    raise NotFound(f"no container '{ref}'", hint="'pyctr ps -a' lists all containers")


def _count(text: str) -> int:
    if not text.lstrip("-").isdecimal():
        raise BadValue(f"'{text}' is not a number")
    return int(text) if int(text) >= 0 else 1 << 30
