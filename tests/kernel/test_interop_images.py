"""skopeo and umoci read our store as it lies there, and what they write we read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from pyctr.core.errors import PyctrError, StorageError
from pyctr.core.images import base
from pyctr.core.images.layers import LayerStore
from pyctr.core.images.store import ImageStore
from pyctr.core.paths import Paths
from tests.support.images import archive, image, member, symlink

skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo: apt install skopeo")
umoci = pytest.mark.skipif(shutil.which("umoci") is None, reason="needs umoci: apt install umoci")

LAYERS = [
    [
        *(
            member("etc/"),
            member("etc/passwd", "root"),
            member("etc/motd", "hello"),
            member("a/"),
            member("a/old", "o"),
        ),
        *(
            member("bin/"),
            member("bin/su", "elf", mode=0o4755),
            symlink("sbin", "bin"),
            member("u", "u", uid=1000, gid=50),
        ),
    ],
    [member("etc/"), member("etc/.wh.motd"), member("a/"), member("a/.wh..wh..opq"), member("a/new", "n")],
]


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")))


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def merged(directory: str, lower: list[str]) -> str:
    from pyctr.core.images.merged import Directory, copy

    os.mkdir(directory, 0o700)
    fd = os.open(directory, os.O_RDONLY)
    try:
        with Directory.root(lower) as source:
            copy(source, fd)
    finally:
        os.close(fd)
    return directory


def listing(directory: str) -> dict[str, tuple[object, ...]]:
    found = {}
    for path in sorted(Path(directory).rglob("*")):
        status = path.lstat()
        what: object = None
        if path.is_symlink():
            what = os.readlink(path)
        elif path.is_file():
            what = path.read_bytes()
        found[str(path.relative_to(directory))] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            int(status.st_mtime),
            what,
        )
    return found


@skopeo
def test_skopeo_reads_the_store(store: ImageStore, tmp_path: Path) -> None:
    made = image(store, "acme/app:1.2", LAYERS, config={"Cmd": ["/bin/sh"], "Labels": {"a": "b"}})
    seen = json.loads(run("skopeo", "inspect", f"oci:{store.root}:docker.io/acme/app:1.2"))
    assert seen["Digest"] == made.digest and seen["Labels"] == {"a": "b"}
    assert seen["Layers"] == [layer.digest for layer in made.layers]
    run("skopeo", "copy", f"oci:{store.root}:docker.io/acme/app:1.2", f"docker-archive:{tmp_path}/app.tar:app:1.2")
    with tarfile.open(tmp_path / "app.tar") as saved:
        manifest = json.load(saved.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert manifest[0]["Config"] == f"{made.id[7:]}.json"


@umoci
@pytest.mark.parametrize("compressed", [True, False])
def test_umoci_unpacks_the_same_files(store: ImageStore, tmp_path: Path, compressed: bool) -> None:
    made = image(store, "app:1", LAYERS, compressed=compressed)
    assert run("umoci", "ls", "--layout", store.root).split() == ["docker.io/library/app:1"]
    run("umoci", "unpack", "--image", f"{store.root}:docker.io/library/app:1", str(tmp_path / "bundle"))
    ours = merged(str(tmp_path / "ours"), LayerStore(store.paths).ensure(made))
    assert listing(ours) == listing(str(tmp_path / "bundle/rootfs"))


@umoci
@skopeo
def test_the_base_image_is_an_ordinary_image_to_others(store: ImageStore, tmp_path: Path) -> None:
    made = base.ensure(store, LayerStore(store.paths))
    run("umoci", "unpack", "--image", f"{store.root}:{base.NAME}", str(tmp_path / "bundle"))
    ours = merged(str(tmp_path / "ours"), LayerStore(store.paths).ensure(made))
    theirs = listing(str(tmp_path / "bundle/rootfs"))
    assert listing(ours) == theirs
    assert json.loads(run("skopeo", "inspect", f"oci:{store.root}:{base.NAME}"))["Digest"] == made.digest


@skopeo
@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_what_skopeo_writes_is_imported(store: ImageStore, tmp_path: Path, kind: str) -> None:
    made = image(store, "acme/app:1", LAYERS)
    run("skopeo", "copy", f"oci:{store.root}:docker.io/acme/app:1", f"{kind}:{tmp_path}/out:ghcr.io/acme/app:2")
    other = ImageStore(Paths(root=str(tmp_path / "other"), run=str(tmp_path / "run")))
    [found] = other.load_layout(str(tmp_path / "out"))
    assert found.names == ["ghcr.io/acme/app:2"] and found.id == made.id
    assert other.resolve("ghcr.io/acme/app:2").layers == made.layers
    assert LayerStore(other.paths).ensure(found)
    assert other.load_layout(str(tmp_path / "out"), ["mine:1"])[0].names == [
        "ghcr.io/acme/app:2",
        "docker.io/library/mine:1",
    ]


@skopeo
def test_zstd_layers_of_skopeo_are_read(store: ImageStore, tmp_path: Path) -> None:
    # it packs only what is not packed yet
    image(store, "app:1", LAYERS, compressed=False)
    source, target = f"oci:{store.root}:docker.io/library/app:1", f"oci:{tmp_path}/out:docker.io/library/app:1"
    run("skopeo", "copy", "--dest-compress-format", "zstd", source, target)
    other = ImageStore(Paths(root=str(tmp_path / "other"), run=str(tmp_path / "run")))
    [found] = other.load_layout(str(tmp_path / "out"))
    assert [layer.media_type.rpartition("+")[2] for layer in found.layers] == ["zstd"] * len(LAYERS)
    layers = LayerStore(other.paths)
    layers.ensure(found)
    ours = LayerStore(store.paths)
    ours.ensure(store.resolve("app:1"))
    for theirs, layer in zip(found.layers, store.resolve("app:1").layers, strict=True):
        assert theirs.diff_id == layer.diff_id
        assert sorted(os.listdir(layers.path(theirs.diff_id))) == sorted(os.listdir(ours.path(layer.diff_id)))


@umoci
def test_a_layer_umoci_made_on_top_of_ours_is_read(store: ImageStore, tmp_path: Path) -> None:
    image(store, "app:1", LAYERS)
    (tmp_path / "added").mkdir()
    (tmp_path / "added/file").write_text("by umoci")
    run("umoci", "insert", "--image", f"{store.root}:docker.io/library/app:1", str(tmp_path / "added"), "/opt")
    found = store.resolve("app:1")
    assert len(found.layers) == 3
    [top, *_] = LayerStore(store.paths).ensure(found)
    assert Path(top, "opt/file").read_text() == "by umoci"


def test_a_layout_that_is_none_or_damaged_gives_no_image(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.tar").write_bytes(archive([member("hello", "world")]))
    (tmp_path / "text").write_text("hello" * 500)
    for name in ("empty", "junk.tar", "text", "missing"):
        with pytest.raises(PyctrError):
            store.load_layout(str(tmp_path / name))
    made = image(store, "app", LAYERS)
    shutil.copytree(store.root, tmp_path / "copy")
    blob = tmp_path / "copy/blobs/sha256" / made.layers[1].digest[7:]
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    other = ImageStore(Paths(root=str(tmp_path / "other"), run=str(tmp_path / "run")))
    with pytest.raises(StorageError, match="digest"):
        other.load_layout(str(tmp_path / "copy"))
    assert other.list() == []
