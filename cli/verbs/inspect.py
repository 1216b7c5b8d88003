"""`pyctr inspect`."""

from __future__ import annotations

from pyctr.cli import others, output
from pyctr.cli.diagnostics import report
from pyctr.core.errors import NotFound, PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.engine import Engine

_KINDS = ("container", "image", "volume", "network")


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-f", "--format", metavar="FORMAT", help="json or a template such as '{{.State.Status}}'")
    add("-s", "--size", action="store_true", help="the size of a container's writable layer too")
    add("--type", choices=_KINDS, help="what the name names; otherwise tried in this order")
    add("name", nargs="+", metavar="NAME")


def run(call: Call, args: Arguments) -> int:
    return show(call.engine, args.name, args.format, [args.type] if args.type else _KINDS, size=args.size)


def show(engine: Engine, names: list[str], form: str | None, kinds: Any, *, size: bool = False) -> int:
    """Print the documents of all names that exist, as one JSON array or through a template."""
    found, code = [], 0
    for name in names:
        try:
            found.append(_document(engine, name, kinds, size=size))
        except PyctrError as error:
            report(error)
            code = 1
    if not form:
        output.write(output.json_document(found))
    else:
        for document in found:
            output.document(document, form)
    return code


def _document(engine: Engine, name: str, kinds: Any, *, size: bool) -> dict[str, Any]:
    first: NotFound | None = None
    if "container" in kinds:
        # "docker:web" is perhaps an image of that name, and no volume's; "web" is ours before it is a stranger's
        kinds = ("container", "image", "foreign") if others.qualified(name) and len(kinds) > 1 else (*kinds, "foreign")
    for kind in kinds:
        try:
            return _READERS[kind](engine, name, size)
        except PyctrError as error:
            if not isinstance(error, NotFound):
                # "kubernetes:shop/web" cannot be an image, and need not be one
                if kind == "image" and others.qualified(name) and "foreign" in kinds:
                    continue
                raise
            first = error if first is None or (kind == "foreign" and others.qualified(name)) else first
    if first is None or len(kinds) < len(_KINDS):
        raise first or NotFound(f"no '{name}'")
    raise NotFound(f"no container, image, volume or network '{name}'", hint=first.hint)


def _container(engine: Engine, name: str, size: bool) -> dict[str, Any]:
    from pyctr.core import containers, inspect

    return inspect.document(containers.find(engine, name), size=size)


def _foreign(engine: Engine, name: str, size: bool) -> dict[str, Any]:
    """Of another engine. The last to be asked: images and volumes of ours come before strangers' containers."""
    from pyctr.core.engines import document

    return document.document(engine.paths, others.instead(engine, name, NotFound(f"no '{name}'")))


def _image(engine: Engine, name: str, size: bool) -> dict[str, Any]:
    from pyctr.core import creation

    image = creation.find_image(engine, name)
    return {
        "Id": image.id,
        "Digest": image.digest,
        "RepoTags": image.names,
        "Created": output.rfc3339(image.created),
        "Architecture": image.architecture,
        "Os": image.os,
        "Size": image.size,
        "Config": image.config,
        "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in image.layers]},
        "History": image.history,
    }


def _volume(engine: Engine, name: str, size: bool) -> dict[str, Any]:
    volume = engine.volumes.get(name)
    return {
        "Name": volume.name,
        "Driver": "local",
        "Mountpoint": volume.path,
        "CreatedAt": output.rfc3339(volume.created_at),
        "Labels": volume.labels,
        "Options": volume.driver_opts,
        "Size": engine.volumes.usage(volume.name),
        "Anonymous": volume.anonymous,
        "Scope": "local",
        "UsedBy": engine.volumes.users(volume.name),
    }


def _network(engine: Engine, name: str, size: bool) -> dict[str, Any]:
    found = engine.networks.inspect(name)
    return {
        "Name": found["name"],
        "Id": network_id(found["name"]),
        "Created": output.rfc3339(found.get("created_at") or 0),
        "Scope": "local",
        "Driver": found["driver"],
        "Bridge": found["bridge"],
        "Internal": found.get("internal", False),
        "EnableIPv6": bool(found.get("subnet6")),
        "IPAM": {
            "Driver": "default",
            "Config": [
                _ipam(found, ""),
                *([_ipam(found, "6")] if found.get("subnet6") else []),
            ],
        },
        "Options": found.get("options", {}),
        "Containers": {
            id: {
                "Name": lease["name"],
                "IPv4Address": lease["address"],
                "IPv6Address": lease["address6"],
                "MacAddress": lease["mac"],
            }
            for id, lease in found["containers"].items()
        },
        "Labels": found.get("labels", {}),
    }


def _ipam(found: dict[str, Any], family: str) -> dict[str, Any]:
    """What is given out; `family` is "6" for IPv6."""
    config = {"Subnet": found[f"subnet{family}"], "Gateway": found[f"gateway{family}"]}
    if found.get(f"ip_range{family}"):
        config["IPRange"] = found[f"ip_range{family}"]
    reserved = {name: ip for name, ip in (found.get("reserved") or {}).items() if (":" in ip) == bool(family)}
    if reserved:
        config["AuxiliaryAddresses"] = reserved
    return config


def network_id(name: str) -> str:
    """Networks are named, not numbered; tools that want an id get a stable one."""
    from hashlib import sha256

    return sha256(name.encode()).hexdigest()


_READERS = {"container": _container, "image": _image, "volume": _volume, "network": _network, "foreign": _foreign}
