"""What the create form asks, and the `ContainerSpec` its texts stand for. Read as the command line reads its flags."""

from __future__ import annotations

from pyctr.core import parse
from pyctr.core.parse import BadValue
from pyctr.core.spec import ContainerSpec, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

DEFAULT_IMAGE = "localhost/base"
DEFAULT_NETWORK = "bridge"
RESTARTS = (
    ("no", "stays as it ended"),
    ("on-failure:3", "up to three times, if it failed"),
    ("on-failure", "as often as it fails"),
    ("unless-stopped", "always, until somebody stops it"),
    ("always", "always"),
)
NETWORKS = (
    ("bridge", "an address of its own, the way out through the host"),
    ("none", "only lo"),
    ("host", "that of the host, nothing of its own"),
)


class Field:
    """One line of the form. `hint` stands beside it while nothing is wrong."""

    def __init__(self, name: str, label: str, hint: str, *, before: str = "", choice: bool = False) -> None:
        self.name = name
        self.label = label
        self.hint = hint
        self.before = before
        """What stands in it at first."""
        self.choice = choice
        """Enter offers a list; other words may be typed."""


GROUPS: tuple[tuple[Field, ...], ...] = (
    (
        Field("image", "Image", "", before=DEFAULT_IMAGE, choice=True),
        Field("name", "Name", "empty: one is made up"),
        Field("command", "Command", "empty: the image's own"),
    ),
    (
        Field("memory", "Memory", "512m, 1.5g; empty: no limit"),
        Field("cpus", "CPUs", "0.5, 2; empty: no limit"),
        Field("pids", "Processes", "100; empty: no limit"),
    ),
    (
        Field("network", "Network", "", before=DEFAULT_NETWORK, choice=True),
        Field("ports", "Ports", "8080:80 127.0.0.1::53/udp"),
        Field("mounts", "Mounts", "/srv:/data:ro volume:/var/lib"),
        Field("env", "Environment", "NAME=value OTHER='two words'"),
        Field("restart", "Restart", "", before="no", choice=True),
    ),
)
FIELDS: tuple[Field, ...] = tuple(field for group in GROUPS for field in group)

TOGGLES = (
    ("tty", "tty", "a terminal of its own"),
    ("stdin_open", "stdin", "keep stdin open, for an attach"),
    ("auto_remove", "auto-remove", "remove it when it has ended"),
    ("init", "init", "a small PID 1 that collects orphans"),
    ("readonly_rootfs", "read-only", "its root filesystem cannot be written"),
)


class Draft:
    """What stands in the form."""

    def __init__(self, texts: Mapping[str, str] | None = None, toggles: Collection[str] = ()) -> None:
        self.texts = {field.name: field.before for field in FIELDS} | dict(texts or {})
        self.toggles = frozenset(toggles)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Draft) and (self.texts, self.toggles) == (other.texts, other.toggles)

    def __hash__(self) -> int:
        return hash((tuple(self.texts.items()), self.toggles))


class Reading:
    """A draft, read: the spec, or why not, field by field as (reason, hint)."""

    def __init__(self, spec: ContainerSpec | None, complaints: dict[str, tuple[str, str]]) -> None:
        self.spec = spec
        self.complaints = complaints


def read(draft: Draft, taken: Collection[str] = ()) -> Reading:
    """`taken` are the names that other containers have."""
    complaints: dict[str, tuple[str, str]] = {}

    def field(name: str, reader: Callable[[str], Any], empty: Any) -> Any:
        text = draft.texts[name].strip()
        if not text:
            return empty
        try:
            return reader(text)
        except BadValue as error:
            complaints[name] = (str(error), error.hint)
            return empty

    def free_name(text: str) -> str:
        if text in taken:
            raise BadValue(f"'{text}' is taken", "another container has this name")
        return parse.name(text)

    network = field("network", _network, DEFAULT_NETWORK)
    spec = ContainerSpec(
        image=field("image", str, ""),
        name=field("name", free_name, ""),
        command=field("command", parse.command, None) or None,
        env=field("env", _environment, []),
        tty="tty" in draft.toggles,
        stdin_open="stdin_open" in draft.toggles,
        init="init" in draft.toggles,
        auto_remove="auto_remove" in draft.toggles,
        readonly_rootfs="readonly_rootfs" in draft.toggles,
        restart=field("restart", parse.restart, "no"),
        limits=Limits(
            memory=field("memory", parse.human_size, None),
            cpus=field("cpus", parse.cpus, None),
            pids=field("pids", parse.integer(1, 1 << 22, "a number of processes"), None),
        ),
        mounts=field("mounts", _mounts, []),
        network=network,
        ports=field("ports", _ports, []),
    )
    if not spec.image:
        complaints["image"] = ("an image is needed", "Enter lists those that are here")
    if spec.auto_remove and spec.restart != "no":
        complaints.setdefault("restart", ("not with auto-remove", "what is removed cannot be restarted"))
    if spec.ports and not _addressed(network):
        complaints.setdefault("ports", (f"network '{network}' has no ports to publish", "publishing needs a bridge"))
    return Reading(None if complaints else spec, complaints)


def _addressed(network: str) -> bool:
    return network not in ("none", "host") and not network.startswith("container:")


def _network(text: str) -> str:
    kind, colon, rest = text.partition(":")
    if (colon and (kind != "container" or not rest)) or any(char.isspace() for char in text):
        raise BadValue(f"'{text}' is not a network", "bridge, none, host, container:NAME or a network's name")
    return text


def _ports(text: str) -> list[Any]:
    ports = [port for word in text.split() for port in parse.ports(word)]
    parse.check_ports(ports)
    return ports


def _mounts(text: str) -> list[Any]:
    mounts = [parse.volume(word) for word in parse.command(text)]
    parse.check_mounts(mounts)
    return mounts


def _environment(text: str) -> list[str]:
    return parse.unique_environment(parse.environment(word) for word in parse.command(text))
