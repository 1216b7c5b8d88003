"""What the lifecycle's kernel tests share: containers of the base image, without network unless they ask."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from pyctr.core import containers, lifecycle
from pyctr.core.containers import Container
from pyctr.core.engine import Engine
from pyctr.core.spec import ContainerSpec
from tests.support.host import Host

IMAGE = "localhost/base:latest"
SLEEP = "trap 'exit 0' TERM; while :; do sleep 600 & wait; done"
"""A shell that ends at SIGTERM at once."""


def spec(script: str = SLEEP, **fields: object) -> ContainerSpec:
    return ContainerSpec(**{"image": IMAGE, "command": ["sh", "-c", script], "network": "none", **fields})


def created(host: Host, script: str = SLEEP, **fields: object) -> Container:
    return lifecycle.create(Engine(host.paths), spec(script, **fields))


def running(host: Host, script: str = SLEEP, **fields: object) -> Container:
    engine = Engine(host.paths)
    container, launched = lifecycle.run(engine, spec(script, **fields))
    launched.close()
    return container.reload()


def finished(host: Host, script: str, **fields: object) -> Container:
    """Run a script to its end."""
    container = running(host, script, **fields)
    lifecycle.wait(container.engine, container)
    return container.reload()


def log(container: Container) -> bytes:
    from pyctr.core import logreading

    return b"".join(line for _, _, line in logreading.read(container.log_path))


def eventually(question: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something only the container can bring about; there is no descriptor to wait on."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def number_in(path: Path) -> int:
    """A counter that a script writes whole with mv."""
    try:
        return int(path.read_text() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def names(host: Host) -> list[str]:
    return sorted(os.listdir(host.paths.names)) if os.path.isdir(host.paths.names) else []


def statuses(host: Host) -> dict[str, str]:
    return {container.name: container.status for container in containers.all(Engine(host.paths))}
