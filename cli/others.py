"""Containers of other engines in Docker's words, as `ps`, `stats` and `inspect` show them."""

from __future__ import annotations

from pyctr.cli import output
from pyctr.core import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments
    from pyctr.core.engine import Engine
    from pyctr.core.engines.finder import Finder
    from pyctr.core.engines.model import Foreign, Port
    from pyctr.core.errors import NotFound


def instead(engine: Engine, ref: str, refused: NotFound, finder: Finder | None = None) -> Foreign:
    """The container of another engine that a name of none of ours means; only for verbs that just look.

    Raises `refused` where there is none, too.
    """
    from pyctr.core.engines import lookup
    from pyctr.core.errors import NotFound

    try:
        return lookup.find(engine, ref, finder)
    except NotFound as neither:
        raise (neither if qualified(ref) else refused) from None


def wanted(args: Arguments) -> tuple[str, ...]:
    """Of `--all-engines` and `--engine`: ours alone without them. Raises UsageError."""
    if not (args.all_engines or args.engine):
        return ("pyctr",)
    from pyctr.core.engines import lookup

    return lookup.engines(args.engine or "all")


def have_done(engine: Engine, verb: str, ref: str, *flags: str, seconds: float | None = None) -> None:
    """Have the engine of `docker:web` do it; `seconds` is the patience before SIGKILL. Raises PyctrError."""
    from pyctr.core.engines import acting, lookup

    wait = max(0.0, seconds or 0.0)
    timeout = () if seconds is None or seconds < 0 else ("-t", str(int(seconds)))
    acting.act(lookup.find(engine, ref), verb, *timeout, *flags, patience=wait)


def qualified(ref: str) -> bool:
    """Whether it says which engine it means: `docker:web`."""
    prefix, colon, _ = ref.partition(":")
    if not colon:
        return False
    from pyctr.core.engines.model import ENGINES

    return prefix in ENGINES


def status_text(one: Foreign, now: float) -> str:
    """ "Up 3 seconds (Paused)", "Exited (137) 2 hours ago", "Created"."""
    if one.running:
        up = f"Up {output.human_duration(max(0.0, now - one.started_at))}" if one.started_at else "Up"
        if one.status == states.PAUSED:
            return f"{up} (Paused)"
        return f"{up} ({one.health})" if one.health in ("healthy", "unhealthy") else up
    if one.status == states.RESTARTING:
        return f"Restarting ({one.exit_code})"
    if one.status in (states.DEAD, states.CREATED):
        return one.status.capitalize()
    code = "unknown" if one.exit_code is None else str(one.exit_code)
    return f"Exited ({code})" + (f" {output.ago(one.finished_at, now)}" if one.finished_at else "")


def row(one: Foreign, now: float, *, whole: bool) -> dict[str, Any]:
    """The fields that `ps` has for ours, too."""
    command = " ".join(one.command)
    labels = one.labels
    return {
        "ID": one.id if whole else one.short_id,
        "Engine": one.engine,
        "Pod": one.pod,
        "Image": one.image,
        "Command": f'"{command if whole else output.ellipsis(command, 20)}"' if command else "",
        "RunningFor": output.ago(one.created_at or one.started_at, now) if one.created_at or one.started_at else "",
        "CreatedAt": output.local_time(one.created_at) if one.created_at else "",
        "Status": status_text(one, now),
        "State": "exited" if one.status == states.STOPPED else one.status,
        "Ports": ", ".join(map(port, one.ports)) if one.running else "",
        "Names": one.name,
        "Labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "Label": lambda key: labels.get(key, ""),
        "Mounts": ",".join(mount.source or mount.target for mount in one.mounts),
        "LocalVolumes": str(sum(mount.kind == "volume" for mount in one.mounts)),
        "Networks": one.network,
        "Size": "",
    }


def matches(one: Foreign, wanted: dict[str, list[str]]) -> bool:
    """Whether all filters of `ps` hold that its engine's record can answer; one it cannot answer lets nothing pass."""
    from pyctr.cli.filters import labels_match

    tests = {
        "id": lambda value: one.id.startswith(value),
        "name": lambda value: value.lstrip("/^").rstrip("$") in one.name,
        "status": lambda value: value in (one.status, "exited" if one.status == states.STOPPED else one.status),
        "exited": lambda value: one.status == states.STOPPED and str(one.exit_code) == value,
        "ancestor": lambda value: value in (one.image, one.image.rpartition(":")[0]),
        "network": lambda value: value in one.network.split(", "),
        "volume": lambda value: any(value in (mount.source, mount.target) for mount in one.mounts),
        "publish": lambda value: any(value.partition("/")[0] == str(port.host_port) for port in one.ports),
        "health": lambda value: (one.health or "none") == value,
    }
    for key, values in wanted.items():
        if key == "label":
            if not labels_match(dict(one.labels), values):
                return False
        elif key not in tests or not any(map(tests[key], values)):
            return False
    return True


def port(found: Port) -> str:
    ip = found.host_ip or "0.0.0.0"
    return f"{f'[{ip}]' if ':' in ip else ip}:{found.host_port}->{found.container_port}/{found.protocol}"
