"""Make a host worth looking at with the real engine, and keep what the screens read of it in one JSON document.

    sudo python -m tests.support.record_screens tests/golden/host/host.json

Ten moments, two seconds apart; after the first only what changed. Nothing in it names the machine. What users make is
`pyctr capture`; `core.capture.moments` reads both.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

from pyctr.core import containers, lifecycle
from pyctr.core.engine import Engine
from pyctr.core.images import base
from pyctr.core.paths import Paths
from pyctr.core.spec import ContainerSpec, Health, Limits, Mount, Port
from tests.support.record_host import copy, record

ROOT, RUN, PARENT, BRIDGE = "/var/tmp/pyctr-recorded", "/run/pyctr-recorded", "pyctr-recorded", "recbr0"
MOMENTS, INTERVAL = 10, 2.0
MIB = 1 << 20
HOST = ("sys/kernel/random/boot_id", "net/dev", "net/route", "net/fib_trie", "sys/net/ipv4/ip_forward")
PROCESS = ("cmdline", "mountinfo", "net/dev", "net/tcp", "net/tcp6", "net/udp", "net/udp6", "net/route", "net/fib_trie")
LIMITED = 200_000
"""Files of the state tree above this size are layers' content: nobody reads them for a screen."""

BUSY = "while :; do n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; echo request $n served; done"
HOLD = "head -c 200000000 /dev/zero > /dev/shm/cache; echo ready; while :; do sleep 5; done"
WEB = "mkdir -p /tmp/www; cd /tmp/www; echo hello > index.html; exec httpd -f -p 80"
CLIENT = "while :; do wget -q -O /tmp/page http://proxy/ && echo got the page; sleep 0.3; done"


def scene(engine: Engine) -> None:
    """Running, paused, exited 0, failed, out of memory, created: one of each kind and some more."""
    base.ensure(engine.images, engine.layers)
    for name in ("acme/api:2.4", "acme/worker:1.9", "postgres:16", "caddy:2"):
        engine.images.tag(base.NAME, name)
    # a hole in the address plan would show in the picture: made one after the other
    probe = Health(test=["CMD-SHELL", "wget -q -O /dev/null http://localhost/"], interval=2.0, timeout=1.0)
    run(engine, "proxy", "caddy:2", WEB, ports=[Port(container_port=80, host_port=18080)], health=probe)
    run(engine, "api-1", "acme/api:2.4", BUSY, limits=Limits(cpus=0.3, memory=64 * MIB, pids=64))
    run(engine, "api-2", "acme/api:2.4", CLIENT, limits=Limits(cpus=1.0, memory=32 * MIB, pids=32))
    volume = [Mount(kind="volume", source="pgdata", target="/var/lib/postgresql"), Mount(kind="tmpfs", target="/tmp")]
    ready = Health(test=["CMD-SHELL", "test -e /dev/shm/ready"], interval=2.0, timeout=1.0, start_period=60.0)
    memory = Limits(memory=256 * MIB, pids=100)
    run(engine, "db", "postgres:16", HOLD, limits=memory, mounts=volume, shm_size=256 * MIB, health=ready)
    run(engine, "batch-7", "acme/api:2.4", BUSY, limits=Limits(memory=128 * MIB))
    lifecycle.pause(engine, "batch-7")
    run(engine, "migrate", "acme/api:2.4", "echo 14 tables; sleep 0.2; exit 0")
    run(engine, "seed", "acme/api:2.4", "echo cannot reach db >&2; exit 3")
    memory = Limits(memory=24 * MIB, memory_swap=24 * MIB)
    run(engine, "worker-3", "acme/worker:1.9", "head -c 100000000 /dev/zero > /dev/shm/x", limits=memory)
    lifecycle.create(engine, spec("fresh", "acme/worker:1.9", "sleep 1"))
    for name in ("migrate", "seed", "worker-3"):
        lifecycle.wait(engine, name)


def spec(name: str, image: str, script: str, **more: object) -> ContainerSpec:
    return ContainerSpec(name=name, image=image, command=["/bin/sh", "-c", script], **more)  # type: ignore[arg-type]


def run(engine: Engine, name: str, image: str, script: str, **more: object) -> None:
    lifecycle.start(engine, lifecycle.create(engine, spec(name, image, script, **more)).id)


def moment(engine: Engine) -> dict[str, str]:
    """Path below root/, cgroup/ or proc/ -> text, now."""
    pids, shims = set(), []
    for container in containers.all(engine):
        if container.running:
            pids |= set(engine.group(container.state.group).pids())
            process = container.state.process
            if process is not None:
                shims.append(process.shim_pid)
    tree = record(f"/{PARENT}", pids=sorted(pids))
    for name in HOST:
        copy(f"/proc/{name}", tree, f"proc/{name}")
    for pid in pids:
        for name in PROCESS:
            copy(f"/proc/{pid}/{name}", tree, f"proc/{pid}/{name}")
    for pid in shims:
        copy(f"/proc/{pid}/stat", tree, f"proc/{pid}/stat")
    for file in Path(RUN).glob("containers/*/health.json"):
        copy(str(file), tree, f"run/{file.relative_to(RUN)}")
    tree["proc/sys/kernel/hostname"] = "web-01\n"
    for name in ("proc/net/dev", "proc/net/route"):
        tree[name] = ours(tree[name])
    for directory, _, files in os.walk(ROOT):
        for name in files:
            path = Path(directory, name)
            if path.is_symlink() or not path.is_file() or path.stat().st_size > LIMITED or "/diff/" in str(path):
                continue
            try:
                tree[f"root/{path.relative_to(ROOT)}"] = path.read_text()
            except UnicodeDecodeError:
                continue
    for directory, directories, files in os.walk(ROOT):
        for file in (*directories, *files):
            path = Path(directory, file)
            if path.is_symlink() and "/diff/" not in str(path):
                tree[f"root/{path.relative_to(ROOT)}@"] = os.readlink(path)
    return {name.replace(PARENT, "pyctr"): anonymous(text) for name, text in tree.items() if "/work/" not in name}


def ours(text: str) -> str:
    """The lines of the uplink, of our bridge and its veths: other people's links are nobody's business."""
    from pyctr.core import netns

    kept = []
    for line in text.splitlines(keepends=True):
        name = line.replace(":", " ").split()[0]
        if name in ("Inter-|", "face", "|", "Iface", "lo", BRIDGE) or name.startswith("e") or netns.owner(name):
            kept.append(line)
    return "".join(kept)


def anonymous(text: str) -> str:
    for real, shown in ((ROOT, "/var/lib/pyctr"), (RUN, "/run/pyctr"), (PARENT, "pyctr"), (BRIDGE, "pyctr0")):
        text = text.replace(real, shown)
    return text.replace(os.uname().nodename, "web-01") if len(os.uname().nodename) > 3 else text


def main() -> int:
    engine = Engine(Paths(root=ROOT, run=RUN, cgroup_parent=PARENT, bridge=BRIDGE))
    for directory in (ROOT, RUN):
        os.makedirs(directory, 0o700, exist_ok=True)
    try:
        scene(engine)
        moments = []
        last: dict[str, str] = {}
        for _ in range(MOMENTS):
            time.sleep(INTERVAL)
            now = moment(engine)
            gone = [name for name in last if name not in now]
            changed = {name: text for name, text in now.items() if last.get(name) != text}
            moments.append({"time": round(time.time(), 1), "changed": changed, "gone": gone})
            last = now
        # processes that come and go between two moments are not worth their lines
        kept = {name for name in last if name.startswith("proc/") and name.split("/")[1].isdigit()}
        for one in moments[:-1]:
            changed = one["changed"]
            assert isinstance(changed, dict)
            for name in [name for name in changed if name.startswith("proc/") and name.split("/")[1].isdigit()]:
                if name not in kept or (not name.endswith("net/dev") and one is not moments[0]):
                    del changed[name]
        Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True)
        Path(sys.argv[1]).write_text(json.dumps(moments, indent=1, sort_keys=True) + "\n")
    finally:
        for container in containers.all(engine):
            lifecycle.remove(engine, container.id, force=True, volumes=True)
        from pyctr.core import networks

        networks.remove_all(engine.paths)
        for directory in (ROOT, RUN):
            shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
