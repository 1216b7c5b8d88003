"""What a `run` would do, without doing any of it: the same documents and the same plan, with nothing made."""

from __future__ import annotations

import os
import time

from pyctr.core import creation, errors, names, starting
from pyctr.core.containers import Container
from pyctr.core.runtime import oci
from pyctr.core.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.images.model import Image
    from pyctr.core.runtime.plan import Plan
    from pyctr.core.spec import ContainerSpec


def plan(engine: Engine, spec: ContainerSpec) -> Plan:
    """The plan of a container that does not exist. Raises what `create` would raise for a bad request."""
    from pyctr.core.runtime import plan as plans

    config, wishes = starting.document(imagined(engine, spec), dry=True)
    return plans.build(config, wishes)


def describe(engine: Engine, spec: ContainerSpec) -> list[tuple[str, str]]:
    """(step, one line) of everything a `run` would do; what only a real container has is written <so>."""
    image = creation.find_image(engine, spec.image)
    steps = [("resolve image", f"{spec.image} → {image.id[:19]}…, {len(image.layers)} layers")]
    for port in spec.ports:
        outside = f"{port.host_ip or '0.0.0.0'}:{port.asked() or '<a free one>'}"
        steps.append(("ports", f"{outside} → {port.container_port}/{port.protocol}"))
    steps += plan(engine, spec).describe()
    # the plan's container has an id of zeros
    return [(step, text.replace("0" * 64, "<id>").replace("0" * 12, "<id>")) for step, text in steps]


def imagined(engine: Engine, spec: ContainerSpec) -> Container:
    """A container as it would be after `create`, in memory only. Its id is all zeros."""
    creation.check(spec)
    image = creation.find_image(engine, spec.image)
    spec = creation.with_image_defaults(spec, image)
    id = "0" * 64
    state = State(
        id=id,
        name=spec.name or names.random(),
        created_at=time.time(),
        spec=spec.to_dict(),
        image_id=image.id,
        image_name=spec.image,
        command=oci.arguments(spec, image.config),
        group=f"/{engine.paths.cgroup_parent}/{id}",
        rootfs=_rootfs(engine, id, image, spec),
        volumes=_volumes(engine, spec, image),
        network=_network(engine, spec),
    )
    return Container(engine, state)


def _rootfs(engine: Engine, id: str, image: Image, spec: ContainerSpec) -> dict[str, Any]:
    lower = engine.layers.lower(image) or [engine.layers.path(layer.diff_id) for layer in reversed(image.layers)]
    driver = engine.storage.expected()
    if driver in ("vfs", "btrfs"):
        path = engine.paths.container(id, "rootfs")
        return {"driver": driver, "path": path, "lower": lower, "volatile": False, "readonly": spec.readonly_rootfs}
    if driver == "zfs":
        dataset = f"<dataset>/c-{id[:12]}"
        made = {"driver": driver, "dataset": dataset, "lower": lower, "volatile": False}
        return {**made, "readonly": spec.readonly_rootfs}
    return {
        "driver": driver,
        **({"program": "fuse-overlayfs"} if driver == "fuse-overlayfs" else {}),
        "lower": lower,
        "upper": engine.paths.container(id, "upper"),
        "work": engine.paths.container(id, "work"),
        "volatile": spec.auto_remove,
        "readonly": spec.readonly_rootfs,
    }


def _volumes(engine: Engine, spec: ContainerSpec, image: Image) -> dict[str, str]:
    wanted = [(mount.target, mount.source) for mount in spec.mounts if mount.kind == "volume"]
    wanted += [(target, "") for target in creation.image_volumes(spec, image.config)]
    return {os.path.normpath(target): f"{engine.paths.volumes}/{source or '<new>'}/_data" for target, source in wanted}


def _network(engine: Engine, spec: ContainerSpec) -> dict[str, Any]:
    mode, _, rest = spec.network.partition(":")
    if mode in ("none", "host"):
        return {"mode": mode}
    if mode == "container":
        return {"mode": mode, "container": rest}
    bridge, gateway = engine.paths.bridge, "<the bridge>"
    try:
        network = engine.networks.get(spec.network)
        bridge, gateway = network.bridge, network.gateway
    except errors.NotFound:
        if spec.network != "bridge":
            raise  # the default one is made by the first start
    return {
        "mode": "bridge",
        "network": spec.network,
        "bridge": bridge,
        "host_if": "<veth>",
        "container_if": "eth0",
        "address": spec.ip or "<next free>",
        "gateway": gateway,
        "mac": spec.mac,
        "mtu": 0,
        "ports": [port.to_dict() for port in spec.ports],
    }
