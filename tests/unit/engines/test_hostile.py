"""Records are strangers' text: whatever stands in one, the reader says what it can and goes on."""

from __future__ import annotations

import copy
import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.engines import bolt, containerd, docker, podman
from pyctr.core.engines.model import Foreign
from pyctr.core.engines.trees import Tree
from tests.support.enginetree import GOLDEN, EngineTree

JUNK: list[Any] = [
    None,
    True,
    -1,
    1 << 70,
    1.5,
    "",
    "\x1b[2J\x00",
    "9" * 300,
    [],
    {},
    [[]],
    {"a": None},
    [1, None],
    {"": []},
]
ROUNDS = 150


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found += places(value, (*path, key))
    return found


def spoiled(document: Any, chance: random.Random) -> Any:
    """With one to three of its values replaced by others."""
    document = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        path = chance.choice(places(document))
        there = document
        for key in path[:-1]:
            there = there[key]
        there[path[-1]] = chance.choice(JUNK)
    return document


def sound(found: Foreign) -> None:
    """What faces do with it works."""
    from pyctr.cli import others
    from pyctr.core.engines.document import document
    from pyctr.core.paths import Paths

    json.dumps(document(Paths(), found._replace(pid=0)))
    others.row(found, 1.8e9, whole=True)


def configs() -> list[dict[str, Any]]:
    """Of the recorded podman, with what a network and a publish add."""
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(gzip.decompress((GOLDEN / "podman-bolt_state.db.gz").read_bytes()))
        file.flush()
        found, states, _ = podman._buckets(bolt.Database(file.fileno()))
    for config in found.values():
        config["newPortMappings"] = [
            {"host_ip": "", "host_port": 80, "container_port": 80, "range": 1, "protocol": "tcp"}
        ]
        config["networks"] = {"podman": {"aliases": []}}
    for state in states.values():
        state["networkStatus"] = {"podman": {"interfaces": {"eth0": {"subnets": [{"ipnet": "10.88.0.7/16"}]}}}}
    return [{"config": config, "state": states[id]} for id, config in found.items()]


def test_dockers_records(tmp_path: Path) -> None:
    chance = random.Random(1)
    record = json.loads((GOLDEN / "docker-config.v2.json").read_text())
    record["NetworkSettings"]["Ports"] = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
    hosted = json.loads((GOLDEN / "docker-hostconfig.json").read_text())
    store = docker.Store(Tree(str(tmp_path)), "/d")
    tree = EngineTree(tmp_path)
    for _ in range(ROUNDS):
        changed = {**spoiled(record, chance), "ID": record["ID"]}
        tree.write(f"/d/containers/{record['ID']}/config.v2.json", changed)
        tree.write(f"/d/containers/{record['ID']}/hostconfig.json", spoiled(hosted, chance))
        [found] = store.look()
        sound(found)


def test_podmans_records() -> None:
    chance = random.Random(2)
    store = podman.Store(Tree(), "/p")
    known = configs()
    for _ in range(ROUNDS):
        changed = spoiled(chance.choice(known), chance)
        if isinstance(changed["config"], dict) and isinstance(changed["state"], dict):
            sound(store._one("a" * 64, changed["config"], changed["state"], {}))


def test_containerds_specifications() -> None:
    chance = random.Random(3)
    store = containerd.Store(Tree(), "/run/c", "/c")
    spec = configs()[0]["config"]["spec"]
    spec["annotations"] |= {
        "nerdctl/ports": '[{"HostPort": 1}]',
        "nerdctl/networks": '["a"]',
        "nerdctl/state-dir": "/x",
    }
    for _ in range(ROUNDS):
        sound(store._one("default", "web", spoiled(spec, chance), "/b"))


@pytest.mark.parametrize("name", ["podman-bolt_state.db.gz", "containerd-meta.db.gz"])
def test_databases_with_flipped_bytes_end(tmp_path: Path, name: str) -> None:
    """A page that leads back to itself, sizes beyond the end: all of that is torn, nothing goes on for ever."""
    chance = random.Random(4)
    content = gzip.decompress((GOLDEN / name).read_bytes())
    for _ in range(60):
        changed = bytearray(content)
        for _ in range(chance.randint(1, 40)):
            changed[chance.randrange(8192, len(changed))] = chance.randrange(256)
        (tmp_path / "db").write_bytes(changed)
        fd = os.open(tmp_path / "db", os.O_RDONLY)
        try:
            database = bolt.Database(fd)
            (podman._buckets if name.startswith("podman") else containerd._containers)(database)
        except ValueError:
            pass  # torn, or no JSON: both are looked at again later
        finally:
            os.close(fd)
