"""Pulling from Debian's docker-registry on loopback: what skopeo pushed there arrives whole, or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core.images.model import Image
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


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry", tls=True, password=True) as running:
        yield running


def made(tmp_path: Path, name: str = "acme/app:1", size: int = 200, layers: int = 2) -> tuple[ImageStore, Image]:
    """A store of its own with an image of layers that do not compress; `size` in bytes each."""
    store = ImageStore(Paths(root=str(tmp_path / "made"), run=str(tmp_path / "run")))
    noise = random.Random(name)
    content = [[member(f"data/{n}", noise.randbytes(size)), member("etc/os", f"layer {n}")] for n in range(layers)]
    return store, image(store, name, content, config={"Cmd": ["/data/0"], "Labels": {"made": "here"}})


def push(store: ImageStore, made: Image, registry: Registry, *words: str, name: str = "acme/app:1") -> str:
    """skopeo copies it into the registry; the result is its reference there."""
    target = f"{registry.name}/{name}"
    done = subprocess.run(
        [
            "skopeo",
            "copy",
            "--dest-tls-verify=false",
            "--all",
            *words,
            f"oci:{store.root}:{made.names[0]}",
            f"docker://{target}",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return target


def ours(host: Host) -> ImageStore:
    return ImageStore(host.paths)


def nothing_visible(host: Host) -> None:
    assert ours(host).list() == [] and ours(host).broken() == []


def test_what_skopeo_pushed_is_pulled_whole(bare_host: Host, registry: Registry, tmp_path: Path) -> None:
    store, pushed = made(tmp_path)
    name = push(store, pushed, registry)
    done = bare_host.run("pull", name)
    assert done.stdout == f"{name}\n"
    assert "Pull complete" in done.stderr and pushed.digest in done.stderr
    [found] = ours(bare_host).list()
    assert (found.id, found.digest, found.names) == (pushed.id, pushed.digest, [name])
    assert found.layers == pushed.layers
    unpacked = Path(bare_host.paths.layers) / found.layers[1].diff_id[7:] / "diff/etc/os"
    assert unpacked.read_text() == "layer 1"
    assert os.listdir(f"{bare_host.paths.images}/.ingest") == []


def test_dockers_own_manifests_and_lists_are_read(bare_host: Host, registry: Registry, tmp_path: Path) -> None:
    """Image Manifest Version 2, Schema 2, as docker and many registries still have them."""
    store, pushed = made(tmp_path)
    name = push(store, pushed, registry, "--format", "v2s2")
    with urllib.request.urlopen(
        urllib.request.Request(
            f"http://{registry.name}/v2/acme/app/manifests/1",
            headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
        )
    ) as answer:
        kind, size, digest = answer.headers["Content-Type"], len(answer.read()), answer.headers["Docker-Content-Digest"]
    assert kind == "application/vnd.docker.distribution.manifest.v2+json"
    platform = {"os": "linux", "architecture": pushed.architecture}
    several = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": [{"mediaType": kind, "size": size, "digest": digest, "platform": platform}],
    }
    put = urllib.request.Request(
        f"http://{registry.name}/v2/acme/app/manifests/list",
        data=json.dumps(several).encode(),
        headers={"Content-Type": several["mediaType"]},
        method="PUT",
    )
    urllib.request.urlopen(put).close()
    for reference in (name, f"{registry.name}/acme/app:list"):
        bare_host.run("pull", "-q", reference)
        found = ours(bare_host).resolve(reference)
        assert [layer.diff_id for layer in found.layers] == [layer.diff_id for layer in pushed.layers]
        assert found.config["Labels"] == {"made": "here"} and found.config["Cmd"] == ["/data/0"]
    assert ours(bare_host).broken() == []


def test_a_digest_names_exactly_one_image(bare_host: Host, registry: Registry, tmp_path: Path) -> None:
    store, pushed = made(tmp_path)
    push(store, pushed, registry)
    by_digest = f"{registry.name}/acme/app@{pushed.digest}"
    assert bare_host.run("pull", "-q", by_digest).stdout == f"{by_digest}\n"
    assert ours(bare_host).resolve(by_digest).id == pushed.id
    assert bare_host.run("rmi", by_digest).stdout.startswith("Untagged")
    nothing_visible(bare_host)


def test_only_layers_that_are_missing_are_downloaded(bare_host: Host, registry: Registry, tmp_path: Path) -> None:
    store, first = made(tmp_path)
    push(store, first, registry)
    more = image(store, "acme/more:1", [[member("top", "new")]])
    manifest, extra = store.manifest(first.digest), store.manifest(more.digest)
    config = store.configuration(first)
    config["rootfs"]["diff_ids"] += store.configuration(more)["rootfs"]["diff_ids"]
    config["history"] = []
    text = json.dumps(config).encode()
    manifest["layers"] += extra["layers"]
    manifest["config"] |= {"digest": store.blobs.add(text), "size": len(text)}
    push(store, store.add(manifest, "acme/both:1"), registry, name="acme/both:1")
    with Proxy(registry.port) as proxy:
        bare_host.run("pull", f"{proxy.name}/acme/app:1")
        proxy.requests.clear()
        done = bare_host.run("pull", f"{proxy.name}/acme/both:1")
    asked = [line for text in proxy.requests for line in text.splitlines() if "/blobs/" in line]
    assert len(asked) == 2  # the configuration and the one new layer
    assert done.stderr.count("Already exists") == 2


def test_a_pull_that_is_cut_goes_on_where_it_was(bare_host: Host, registry: Registry, tmp_path: Path) -> None:
    store, pushed = made(tmp_path, size=3_000_000)
    push(store, pushed, registry)
    with Proxy(registry.port, cut=lambda number: 1_100_000) as proxy:
        done = bare_host.run("pull", f"{proxy.name}/acme/app:1")
    assert "going on at byte" in done.stderr
    starts = [int(text.removeprefix("bytes=").rstrip("-")) for text in proxy.ranges()]
    assert starts and all(start >= 1_000_000 for start in starts)
    assert ours(bare_host).list()[0].id == pushed.id
    assert os.listdir(f"{bare_host.paths.images}/.ingest") == []


def test_a_killed_pull_is_invisible_and_the_next_one_takes_it_up(
    bare_host: Host, registry: Registry, tmp_path: Path
) -> None:
    store, pushed = made(tmp_path, size=6_000_000, layers=1)
    push(store, pushed, registry)
    with Proxy(registry.port, cut=lambda number: 2_000_000) as proxy:
        name = f"{proxy.name}/acme/app:1"
        proxy.stall = True
        pulling = subprocess.Popen(
            bare_host.command("pull", name), env=bare_host.env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        assert pulling.stderr is not None and proxy.stalled.wait(30)
        partial = Path(bare_host.paths.images) / ".ingest" / f"{pushed.layers[0].digest[7:]}.part"
        while partial.stat().st_size < 1_500_000 and pulling.poll() is None:
            select.select([], [], [], 0.02)
        pulling.send_signal(signal.SIGKILL)
        pulling.wait(10)
        pulling.stderr.close()
        nothing_visible(bare_host)
        here = partial.stat().st_size
        assert here >= 1_500_000
        proxy.stall = False
        proxy.cut = lambda number: None
        proxy.requests.clear()
        bare_host.run("pull", name)
        assert proxy.ranges() == [f"bytes={here}-"]
    assert ours(bare_host).list()[0].id == pushed.id
    assert not partial.exists()


def test_ctrl_c_ends_a_pull_at_once_and_leaves_nothing_visible(
    bare_host: Host, registry: Registry, tmp_path: Path
) -> None:
    store, pushed = made(tmp_path, size=6_000_000, layers=1)
    push(store, pushed, registry)
    with Proxy(registry.port, cut=lambda number: 2_000_000) as proxy:
        proxy.stall = True
        pulling = subprocess.Popen(
            bare_host.command("pull", f"{proxy.name}/acme/app:1"),
            env=bare_host.env,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert proxy.stalled.wait(30)
        pulling.send_signal(signal.SIGINT)
        _, said = pulling.communicate(timeout=20)
        assert pulling.returncode == 130, said
        assert b"Traceback" not in said
    nothing_visible(bare_host)


def test_tls_and_a_password_are_what_the_registry_asks_for(bare_host: Host, secured: Registry, tmp_path: Path) -> None:
    store, pushed = made(tmp_path)
    name = push(store, pushed, secured, "--dest-creds", f"{USER}:{PASSWORD}")
    refused = bare_host.run("pull", name, check=False)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 2
    assert "wants a login" in refused.stderr and f"pyctr login {secured.name}" in refused.stderr
    wrong = bare_host.run("pull", "--creds", f"{USER}:nonsense", name, check=False)
    assert wrong.returncode == 1 and "nonsense" not in wrong.stderr
    stranger = bare_host.run("pull", "--tls-verify", "--creds", f"{USER}:{PASSWORD}", name, check=False)
    assert stranger.returncode == 1 and "is not trusted" in stranger.stderr
    nothing_visible(bare_host)
    trusted = tmp_path / "certs"
    trusted.mkdir()
    shutil.copy(secured.directory / "ca.crt", trusted / "ca.crt")
    words = ("--tls-verify", "--cert-dir", str(trusted), "--creds", f"{USER}:{PASSWORD}")
    assert bare_host.run("pull", *words, name).stdout == f"{name}\n"
    assert ours(bare_host).list()[0].id == pushed.id


def test_a_registry_with_tls_is_reached_through_a_proxy(bare_host: Host, secured: Registry, tmp_path: Path) -> None:
    """CONNECT: the name is the proxy's to resolve, and the certificate is the registry's."""
    store, pushed = made(tmp_path)
    name = push(store, pushed, secured, "--dest-creds", f"{USER}:{PASSWORD}")
    port = int(secured.name.rpartition(":")[2])
    asked: list[bytes] = []

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either side has left
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        asked.append(head.split(b"\r\n")[0])
        with client, socket.create_connection(("127.0.0.1", port)) as upstream:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(upstream, client))
            back.start()
            pump(client, upstream)
            back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        bare_host.env["HTTPS_PROXY"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
        far = name.replace("127.0.0.1", "registry.invalid")
        words = ("--tls-verify", "--creds", f"{USER}:{PASSWORD}")
        assert "is not trusted" in bare_host.run("pull", *words, far, check=False).stderr
        (secured.directory / "certs").mkdir()
        shutil.copy(secured.directory / "ca.crt", secured.directory / "certs/ca.crt")
        certs = ("--cert-dir", str(secured.directory / "certs"))
        assert bare_host.run("pull", *words, *certs, far).stdout == f"{far}\n"
        listener.shutdown(socket.SHUT_RDWR)
    assert asked and {line.split()[1] for line in asked} == {f"registry.invalid:{port}".encode()}


def test_a_client_certificate_from_certs_d_opens_the_door(bare_host: Host, tmp_path: Path) -> None:
    with Registry(tmp_path / "registry", tls=True, client=True) as registry:
        store, pushed = made(tmp_path)
        folder = tmp_path / "config/containers/certs.d" / registry.name
        folder.mkdir(parents=True)
        for file in ("ca.crt", "client.cert", "client.key"):
            shutil.copy(registry.directory / file, folder / file)
        name = push(store, pushed, registry, "--dest-cert-dir", str(folder))
        refused = bare_host.run("pull", name, check=False)
        assert refused.returncode == 1 and "wants a client certificate" in refused.stderr
        bare_host.env["XDG_CONFIG_HOME"] = str(tmp_path / "config")
        assert bare_host.run("pull", name).stdout == f"{name}\n"


def test_an_index_gives_the_platform_of_this_host_or_the_one_asked_for(
    bare_host: Host, registry: Registry, tmp_path: Path
) -> None:
    store, mine = made(tmp_path)
    other = image(store, "acme/arm:1", [[member("arm", "v7")]], architecture="arm")
    entries = []
    for one, platform in (
        (mine, {"architecture": mine.architecture}),
        (other, {"architecture": "arm", "variant": "v7"}),
    ):
        content = store.blobs.read(one.digest)
        entries.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": one.digest,
                        "size": len(content), "platform": {"os": "linux", **platform}})  # fmt: skip
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    both = store.add(index, "acme/both:1")
    name = push(store, both, registry, name="acme/both:1")
    bare_host.run("pull", name)
    assert ours(bare_host).resolve(name).id == mine.id
    top = json.loads(Path(bare_host.paths.images, "index.json").read_text())["manifests"]
    assert [one["mediaType"] for one in top] == ["application/vnd.oci.image.index.v1+json"]
    bare_host.run("pull", "--platform", "linux/arm/v7", name)
    assert ours(bare_host).resolve(name).id == other.id
    missing = bare_host.run("pull", "--platform", "linux/s390x", name, check=False)
    assert "has nothing for linux/s390x" in missing.stderr and "linux/arm/v7" in missing.stderr
    assert ours(bare_host).resolve(name).id == other.id


def test_run_fetches_what_is_missing_unless_told_not_to(host: Host, registry: Registry, tmp_path: Path) -> None:
    name = push(ours(host), ours(host).resolve("localhost/base"), registry, name="acme/base:1")
    refused = host.run("run", "--rm", "--pull", "never", name, "true", check=False)
    assert refused.returncode == 125 and f"no image '{name}'" in refused.stderr
    done = host.run("run", "--rm", "--network", "none", name, "echo", "from afar")
    assert done.stdout == "from afar\n" and "Unable to find image" in done.stderr
    again = host.run("run", "--rm", "--network", "none", name, "echo", "again")
    assert again.stdout == "again\n" and again.stderr == ""
    always = host.run("run", "--rm", "--network", "none", "--pull", "always", name, "true")
    assert "Image is up to date" in always.stderr
    absent = host.run("create", f"{registry.name}/acme/none:1", check=False)
    assert absent.returncode == 1 and f"no image '{registry.name}/acme/none:1'" in absent.stderr
    ours(host).remove(name)


def test_a_mirror_is_asked_first_and_its_absence_is_no_failure(
    bare_host: Host, registry: Registry, tmp_path: Path
) -> None:
    store, pushed = made(tmp_path)
    push(store, pushed, registry, name="hub/acme/app:1")
    configuration = Path(bare_host.env["CONTAINERS_REGISTRIES_CONF"])
    rule = f'[[registry]]\nprefix = "images.example"\nlocation = "{registry.name}/hub"\n'
    configuration.write_text(rule + '[[registry.mirror]]\nlocation = "127.0.0.1:1/mirror"\n')
    done = bare_host.run("pull", "images.example/acme/app:1")
    assert "mirror: '127.0.0.1:1' refuses the connection" in done.stderr
    assert ours(bare_host).list()[0].names == ["images.example/acme/app:1"]
    configuration.write_text(f'[aliases]\n"app" = "{registry.name}/hub/acme/app"\n')
    assert bare_host.run("pull", "app:1").stdout == f"{registry.name}/hub/acme/app:1\n"
    assert bare_host.run("inspect", "-f", "{{.Id}}", "app:1").stdout == f"{pushed.id}\n"
