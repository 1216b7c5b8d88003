"""The base image: useful with and without busybox, the same for the same host files."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pyctr.core.errors import StorageError
from pyctr.core.images import base, basebuild
from pyctr.core.images.layers import LayerStore
from pyctr.core.images.model import Image
from pyctr.core.images.store import ImageStore
from pyctr.core.paths import Paths

busybox_only = pytest.mark.skipif(basebuild._find_busybox() is None, reason="needs busybox: apt install busybox-static")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")))


def members(store: ImageStore, image: Image) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    for layer in image.layers:
        with store.blobs.open(layer.digest) as blob, tarfile.open(fileobj=io.BytesIO(blob.read())) as tar:
            found.update({member.name: member for member in tar})
    return found


def lookup(found: dict[str, tarfile.TarInfo], path: str) -> tarfile.TarInfo | None:
    """Follow symlinks as the kernel would inside the image."""
    pending, done, links = path.strip("/").split("/"), "", 0
    while pending:
        step = f"{done}/{pending.pop(0)}".strip("/")
        if step not in found:
            return None
        if found[step].issym():
            links += 1
            target = found[step].linkname
            done = "" if target.startswith("/") else done
            pending = [part for part in target.split("/") if part] + pending
            if links > 40:
                return None
        else:
            done = step
    return found[done]


@pytest.mark.parametrize("busybox", [pytest.param(True, marks=busybox_only), False])
def test_the_image_has_a_shell_and_tools_that_lead_somewhere(store: ImageStore, busybox: bool) -> None:
    image = basebuild.build(store, busybox=busybox)
    assert len(image.layers) >= 2
    assert image.config["Cmd"] == ["/bin/sh"] and image.config["Env"] == [f"PATH={basebuild.PATH}"]
    named = [step for step in image.history if not step.get("empty_layer")]
    assert len(named) == len(image.layers) and all(step["created_by"] for step in image.history)
    found = members(store, image)
    for name in [
        "sh",
        "ls",
        "cat",
        "ps",
        "sleep",
        "kill",
        "grep",
        "sed",
        "awk",
        "wc",
        "id",
        "mount",
        "hostname",
        "stat",
        "seq",
        "true",
        "yes",
        "df",
        "free",
        "stty",
    ]:
        member = lookup(found, f"/bin/{name}")
        assert member is not None and member.isfile() and member.mode & 0o111, name
    for path, mode in {"tmp": 0o1777, "root": 0o700, "etc/passwd": 0o644, "var/tmp": 0o1777}.items():
        assert found[path].mode == mode, path
    assert lookup(found, "/var/run") is found["run"]
    dangling = [name for name, one in found.items() if one.issym() and name != "etc/mtab" and not lookup(found, name)]
    assert dangling == []
    assert [name for name, one in found.items() if one.mode & 0o6000] == [], "nothing sets an id"


@pytest.mark.skipif(basebuild.which("perl") is None, reason="needs perl")
def test_without_busybox_there_is_a_web_server_and_a_client(store: ImageStore) -> None:
    found = members(store, basebuild.build(store, busybox=False))
    for name in ("httpd", "wget", "nc", "perl"):
        assert lookup(found, f"/usr/bin/{name}"), name


@busybox_only
def test_with_busybox_no_c_library_of_the_host_is_needed(store: ImageStore) -> None:
    image = basebuild.build(store)
    for name in ("httpd", "wget", "nc", "top"):
        assert lookup(members(store, image), f"/bin/{name}"), name


BUILD = """
import os, sys
os.umask(int(sys.argv[2], 8))
from pyctr.core.images import basebuild
from pyctr.core.images.store import ImageStore
from pyctr.core.paths import Paths
store = ImageStore(Paths(root=sys.argv[1], run=sys.argv[1]))
print([basebuild.build(store, busybox=flag).digest for flag in (True, False)])
"""


def test_the_same_host_files_give_the_same_digest(tmp_path: Path) -> None:
    """In other processes, with other hash seeds, umasks, times, environments and working directories."""
    digests = set()
    for seed, mask, zone in (("1", "022", "UTC"), ("2", "077", "Asia/Tokyo")):
        done = subprocess.run(
            [sys.executable, "-c", BUILD, str(tmp_path / seed), mask],
            env={
                "PYTHONPATH": os.getcwd(),
                "PYTHONHASHSEED": seed,
                "TZ": zone,
                "PATH": "/nowhere",
                "PERL_HASH_SEED": seed,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_it_is_made_when_first_named_and_then_found(store: ImageStore) -> None:
    layers = LayerStore(store.paths)
    made = base.resolve(store, layers, "base")
    assert made.names == [base.NAME]
    index = Path(store.root, "index.json").read_bytes()
    assert base.resolve(store, layers, base.NAME) == base.ensure(store, layers) == made
    assert Path(store.root, "index.json").read_bytes() == index
    store.remove(base.NAME)
    assert base.resolve(store, layers, "localhost/base").digest == made.digest


def test_a_host_without_any_shell_is_told_what_to_install(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basebuild, "which", lambda name: None)
    with pytest.raises(StorageError) as caught:
        base.ensure(store, LayerStore(store.paths))
    assert "busybox" in caught.value.hint
    assert store.list() == []


def test_hosts_without_procps_get_ps_and_free_of_ours(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = basebuild.which
    monkeypatch.setattr(basebuild, "which", lambda name: None if name in ("ps", "free", "top") else real(name))
    image = basebuild.build(store, busybox=False)
    found = members(store, image)
    assert lookup(found, "/bin/ps") and lookup(found, "/bin/free") and not lookup(found, "/bin/top")


def test_the_manifest_says_what_the_configuration_says(store: ImageStore) -> None:
    image = basebuild.build(store)
    manifest = json.loads(store.blobs.read(image.digest))
    configuration = store.configuration(image)
    assert [layer["digest"] for layer in manifest["layers"]] == configuration["rootfs"]["diff_ids"]
    assert all(store.blobs.has(layer["digest"]) for layer in manifest["layers"])
