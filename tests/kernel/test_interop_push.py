"""What pyctr pushes to Debian's docker-registry, skopeo reads; every way a blob can go."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core.images import upload
from pyctr.core.images.model import INDEX, MANIFEST
from pyctr.core.images.pull import pull
from pyctr.core.images.push import push
from pyctr.core.images.store import ImageStore
from pyctr.core.paths import Paths
from tests.support import registry as registries
from tests.support.host import Host
from tests.support.images import image, member
from tests.support.registry import PASSWORD, USER, Proxy, Registry

pytestmark = [
    registries.needed,
    pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo: apt install skopeo"),
]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry") as running:
        yield running


def skopeo(*words: str) -> dict[str, object]:
    done = subprocess.run(["skopeo", "inspect", "--tls-verify=false", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_skopeo_sees_what_was_pushed(bare_host: Host, registry: Registry) -> None:
    store = ImageStore(bare_host.paths)
    made = image(store, "acme/app:1", [[member("a", "1")], [member("b", "2")]], config={"Labels": {"a": "b"}})
    name = f"{registry.name}/team/app:2"
    assert bare_host.run("push", "acme/app:1", name).stdout == f"{name}\n"
    seen = skopeo(f"docker://{name}")
    assert seen["Digest"] == made.digest and seen["Labels"] == {"a": "b"}
    assert seen["Layers"] == [layer.digest for layer in made.layers]
    again = bare_host.run("push", "acme/app:1", name)
    assert again.stderr.count("Already exists") == 3 and "Pushing" not in again.stderr


def test_a_neighbour_s_blobs_are_mounted_not_sent(bare_host: Host, registry: Registry) -> None:
    store = ImageStore(bare_host.paths)
    image(store, f"{registry.name}/one/app:1", [[member("a", noise(5000))]])
    bare_host.run("push", f"{registry.name}/one/app:1")
    done = bare_host.run("push", f"{registry.name}/one/app:1", f"{registry.name}/two/app:1")
    assert done.stderr.count("Mounted from another repository") == 2 and "Pushing" not in done.stderr
    assert skopeo(f"docker://{registry.name}/two/app:1")["Layers"]


def test_a_cut_upload_goes_on_where_the_registry_is(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "CHUNK", 1 << 20)
    store = ImageStore(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")))
    made = image(store, "acme/big:1", [[member("big", noise(5_000_000))]])
    with Proxy(registry.port, cut_up=lambda number: 2_500_000 if number <= 3 else None) as proxy:
        push(store, "acme/big:1", f"{proxy.name}/acme/big:1")
        patches = [text for text in proxy.requests if text.startswith("PATCH ")]
    assert len(patches) >= 5
    assert skopeo(f"docker://{registry.name}/acme/big:1")["Digest"] == made.digest
    other = ImageStore(Paths(root=str(tmp_path / "other"), run=str(tmp_path / "run")))
    from pyctr.core.images.layers import LayerStore

    assert pull(other, LayerStore(other.paths), f"{registry.name}/acme/big:1").id == made.id


def test_an_index_goes_whole_or_only_what_is_here(bare_host: Host, registry: Registry) -> None:
    store = ImageStore(bare_host.paths)
    mine = image(store, "acme/mine:1", [[member("a", "1")]])
    other = image(store, "acme/other:1", [[member("a", "arm")]], architecture="s390x")
    entries = [
        {"mediaType": MANIFEST, "digest": one.digest, "size": len(store.blobs.read(one.digest)),
         "platform": {"os": "linux", "architecture": one.architecture}}
        for one in (mine, other)
    ]  # fmt: skip
    store.add({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, "acme/both:1")
    bare_host.run("push", "acme/both:1", f"{registry.name}/acme/both:1")
    raw = skopeo("--raw", f"docker://{registry.name}/acme/both:1")
    assert raw["mediaType"] == INDEX
    arguments = ("--override-arch", "s390x")
    done = subprocess.run(
        ["skopeo", *arguments, "inspect", "--tls-verify=false", f"docker://{registry.name}/acme/both:1"],
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["Architecture"] == "s390x"
    Path(store.blobs.path(other.layers[0].digest)).unlink()
    partly = bare_host.run("push", "acme/both:1", f"{registry.name}/acme/part:1")
    assert "only this host's platform is here" in partly.stderr
    assert skopeo("--raw", f"docker://{registry.name}/acme/part:1")["mediaType"] == MANIFEST


def test_a_push_needs_the_password(bare_host: Host, tmp_path: Path) -> None:
    image(ImageStore(bare_host.paths), "acme/app:1", [[member("a", "1")]])
    with Registry(tmp_path / "secured", tls=True, password=True) as registry:
        name = f"{registry.name}/acme/app:1"
        refused = bare_host.run("push", "acme/app:1", name, check=False)
        assert refused.returncode == 125 and "wants a login" in refused.stderr
        bare_host.run("push", "--creds", f"{USER}:{PASSWORD}", "acme/app:1", name)
        assert skopeo("--creds", f"{USER}:{PASSWORD}", f"docker://{name}")["Digest"]


def test_a_push_without_a_place_to_go_is_refused(bare_host: Host) -> None:
    made = image(ImageStore(bare_host.paths), "localhost/app:1", [[member("a", "1")]])
    refused = bare_host.run("push", "localhost/app:1", check=False)
    assert refused.returncode == 125 and "a name of this host only" in refused.stderr
    assert "pyctr push IMAGE REGISTRY/NAME:TAG" in refused.stderr
    refused = bare_host.run("push", made.id, check=False)
    assert refused.returncode == 125
