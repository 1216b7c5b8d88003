"""Archives that `save` writes, given to docker as they are, and docker's own given back."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core.images.store import ImageStore
from tests.kernel.test_interop_runtime_docker import Docker
from tests.support import manager as managers
from tests.support.images import image, member, symlink

pytestmark = managers.needs(
    "dockerd", "docker", "containerd", "runc", "iptables", "unshare", "nsenter", "ip", "busybox"
)

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000").decode("latin-1")
OWN = {"mode": 0o4755, "uid": 7, "gid": 8}
LAYERS = [
    [
        *(member("etc/"), member("etc/gone", "x"), member("opt/"), member("opt/old", "o"), member("l" * 120, "long")),
        *(member("bin/"), member("bin/x", "x", **OWN), member("bin/y", type=tarfile.LNKTYPE, linkname="bin/x", **OWN)),
        member("bin/ping", "p", mode=0o755, pax_headers={"SCHILY.xattr.security.capability": CAPABILITY}),
    ],
    [member("etc/"), member("etc/.wh.gone"), member("opt/"), member("opt/.wh..wh..opq"), symlink("opt/new", "/etc")],
]
CONFIG: dict[str, object] = {
    "Cmd": ["/bin/x", "a b"], "Env": ["PATH=/bin", "A=b c"], "Labels": {"a": "b"}, "User": "7:8", "WorkingDir": "/opt",
    "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}, "StopSignal": "SIGINT", "Entrypoint": ["/bin/y"],
}  # fmt: skip


@pytest.fixture
def docker() -> Iterator[Docker]:
    manager = Docker()
    try:
        manager.prepare()
        yield manager
    finally:
        manager.close()


def files(path: str) -> dict[str, tuple[object, ...]]:
    """All but what an engine makes for a container itself."""
    own = ("dev", "proc", "sys", ".dockerenv", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "data")
    with tarfile.open(path) as tar:
        found = {}
        for one in tar:
            name = one.name.rstrip("/")
            if not name.startswith(own):
                held = tar.extractfile(one) if one.isfile() or one.islnk() else None
                found[name] = (
                    one.type if not held else b"0",
                    one.mode & 0o7777,
                    one.uid,
                    one.gid,
                    held.read() if held else b"",
                )
    return found


@pytest.mark.timeout(300)
def test_docker_loads_what_save_writes_and_the_other_way_round(docker: Docker, tmp_path: Path) -> None:
    host = docker.host
    made = image(ImageStore(host.paths), "acme/app:1", LAYERS, config=CONFIG)
    host.run("create", "--name", "ours", "acme/app:1")
    host.run("export", "-o", f"{docker.base}/ours.tar", "ours")
    host.run("save", "-o", f"{docker.base}/image.tar", "acme/app:1")
    assert "acme/app:1" in docker("load", "-i", f"{docker.base}/image.tar").stdout
    seen = json.loads(docker("image", "inspect", "acme/app:1").stdout)[0]
    assert (seen["Id"], seen["RootFS"]["Layers"]) == (made.id, [layer.diff_id for layer in made.layers])
    assert {name: seen["Config"].get(name) for name in CONFIG} == CONFIG
    docker("create", "--name", "theirs", "acme/app:1")
    docker("export", "-o", f"{docker.base}/theirs.tar", "theirs")
    assert files(f"{docker.base}/theirs.tar") == files(f"{docker.base}/ours.tar")
    docker("rm", "-v", "theirs")
    docker("save", "-o", f"{docker.base}/back.tar", "acme/app:1")
    store = ImageStore(host.paths)
    host.run("rm", "-v", "ours")
    store.remove("acme/app:1")
    host.run("load", "-i", f"{docker.base}/back.tar")
    assert store.resolve("acme/app:1").id == made.id
