"""save and load against skopeo, umoci and podman, in both directions and every format."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from pyctr.core.images.model import Image
from pyctr.core.images.store import ImageStore
from tests.support.host import Host
from tests.support.images import archive, digest, image, member, symlink

skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo: apt install skopeo")
umoci = pytest.mark.skipif(shutil.which("umoci") is None, reason="needs umoci: apt install umoci")
podman = pytest.mark.skipif(shutil.which("podman") is None, reason="needs podman: apt install podman")

LAYERS = [[member("etc/"), member("etc/motd", "hello")], [member("bin/"), member("bin/x", "x", mode=0o755)]]


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make(host: Host, name: str = "acme/app:1", compressed: bool = True) -> Image:
    config = {"Cmd": ["/bin/x"], "Labels": {"a": "b"}}
    return image(ImageStore(host.paths), name, LAYERS, config=config, compressed=compressed)


def empty(host: Host) -> ImageStore:
    """The store without its images."""
    store = ImageStore(host.paths)
    for found in store.list():
        store.remove(found.id, force=True)
    assert store.list() == []
    return store


@skopeo
@pytest.mark.parametrize(
    ("form", "transport"), [("docker-archive", "docker-archive"), ("oci-archive", "oci-archive"), ("oci-dir", "oci")]
)
@pytest.mark.parametrize("compressed", [True, False])
def test_skopeo_reads_what_save_writes(
    bare_host: Host, tmp_path: Path, form: str, transport: str, compressed: bool
) -> None:
    made = make(bare_host, compressed=compressed)
    bare_host.run("save", "--format", form, "-o", str(tmp_path / "out"), "acme/app:1")
    name = "" if transport == "docker-archive" else ":docker.io/acme/app:1"
    seen = json.loads(run("skopeo", "inspect", f"{transport}:{tmp_path}/out{name}"))
    assert seen["Labels"] == {"a": "b"}
    run("skopeo", "copy", f"{transport}:{tmp_path}/out{name}", f"oci:{tmp_path}/copy:acme/app:1")
    other = bare_host.run("load", "-q", "-i", str(tmp_path / "copy"), "copied:1")
    assert other.stdout == "docker.io/library/copied:1\n"
    assert ImageStore(bare_host.paths).resolve("copied:1").config == made.config


@podman
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_loads_what_save_writes_and_the_other_way_round(bare_host: Host, tmp_path: Path, form: str) -> None:
    made = make(bare_host)
    bare_host.run("save", "--format", form, "-o", str(tmp_path / "out.tar"), "acme/app:1")
    base = bare_host.base
    own = (
        "podman",
        "--root",
        f"{base}/p",
        "--runroot",
        f"{base}/q",
        "--tmpdir",
        f"{base}/t",
        "--storage-driver",
        "vfs",
    )
    assert "acme/app:1" in run(*own, "load", "-i", str(tmp_path / "out.tar"))
    assert run(*own, "image", "inspect", "-f", "{{.Id}}", "acme/app:1").strip() == made.id[7:]
    run(*own, "save", "--format", form, "-o", str(tmp_path / "back.tar"), "docker.io/acme/app:1")
    run(*own, "rmi", "--all", "--force")
    store = empty(bare_host)
    done = bare_host.run("load", "-i", str(tmp_path / "back.tar"))
    assert done.stdout == "Loaded image: docker.io/acme/app:1\n"
    assert store.resolve("acme/app:1").id == made.id


@umoci
def test_umoci_unpacks_a_saved_directory(bare_host: Host, tmp_path: Path) -> None:
    make(bare_host)
    bare_host.run("save", "--format", "oci-dir", "-o", str(tmp_path / "out"), "acme/app:1")
    run("umoci", "unpack", "--image", f"{tmp_path}/out:docker.io/acme/app:1", str(tmp_path / "bundle"))
    assert (tmp_path / "bundle/rootfs/etc/motd").read_text() == "hello"


def test_an_image_comes_back_unchanged_through_a_pipe(bare_host: Host, tmp_path: Path) -> None:
    made = make(bare_host)
    second = image(ImageStore(bare_host.paths), "other:2", [[member("z", "z")]])
    with open(tmp_path / "out.tar", "wb") as out:
        subprocess.run(bare_host.command("save", "acme/app:1", "other:2"), env=bare_host.env, stdout=out, check=True)
    (tmp_path / "out.tar.gz").write_bytes(gzip.compress((tmp_path / "out.tar").read_bytes()))
    store = empty(bare_host)
    with open(tmp_path / "out.tar.gz", "rb") as packed:
        done = subprocess.run(
            bare_host.command("load"), env=bare_host.env, stdin=packed, capture_output=True, text=True
        )
    assert done.stdout.splitlines() == [
        "Loaded image: docker.io/acme/app:1",
        "Loaded image: docker.io/library/other:2",
    ], done.stderr
    assert store.resolve("acme/app:1").digest == made.digest and store.resolve("other:2").digest == second.digest


def docker_archive(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> str:
    path.write_bytes(archive(members))
    return str(path)


def test_an_old_docker_archive_with_linked_layers_is_read(bare_host: Host, tmp_path: Path) -> None:
    layer = archive([member("a", "1")])
    config = json.dumps(
        {"os": "linux", "architecture": "", "rootfs": {"type": "layers", "diff_ids": [digest(layer)] * 2}}
    )
    listed = [{"Config": "c.json", "RepoTags": ["old:1", "old:2"], "Layers": ["one/layer.tar", "two/layer.tar"]}]
    path = docker_archive(
        tmp_path / "old.tar",
        [
            member("one/"),
            member("one/layer.tar", layer),
            member("one/VERSION", "1.0"),
            member("one/json", "{}"),
            member("two/"),
            symlink("two/layer.tar", "../one/layer.tar"),
            member("c.json", config),
            member("manifest.json", json.dumps(listed)),
            member("repositories", "{}"),
        ],
    )
    bare_host.run("load", "-i", path)
    found = ImageStore(bare_host.paths).resolve("old:2")
    assert found.names == ["docker.io/library/old:1", "docker.io/library/old:2"]
    kept = {path.name for path in Path(bare_host.paths.images, "blobs/sha256").iterdir()}
    assert kept == {found.id[7:], found.digest[7:], digest(layer)[7:]}


def broken(tmp_path: Path) -> dict[str, tuple[list[tuple[tarfile.TarInfo, bytes]], str]]:
    layer = archive([member("a", "1")])
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [digest(layer)]}})
    entry = {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l.tar"]}
    escape = archive([member("../../etc/owned", "x")])
    escaping = json.dumps({"rootfs": {"type": "layers", "diff_ids": [digest(escape)]}})

    def with_manifest(document: object, *more: tuple[tarfile.TarInfo, bytes]) -> list[tuple[tarfile.TarInfo, bytes]]:
        return [*more, member("manifest.json", json.dumps(document))]

    good = (member("c.json", config), member("l.tar", layer))
    return {
        "a layer is missing": (with_manifest([entry], good[0]), "names 'l.tar', which is not in it"),
        "a layer is another": (with_manifest([entry], good[0], member("l.tar", escape)), "really is"),
        "a name leads out": (with_manifest([entry | {"Config": "../../etc/passwd"}], *good), "which is not in it"),
        "no JSON": ([member("manifest.json", "{")], "not valid JSON"),
        "deep JSON": ([member("manifest.json", "[" * 100_000)], "not valid JSON"),
        "a wrong count": (with_manifest([entry | {"Layers": ["l.tar", "l.tar"]}], *good), "1 diffIDs for 2 layers"),
        "a bad tag": (with_manifest([entry | {"RepoTags": ["../x:1"]}], *good), "invalid image reference"),
        "a layer that escapes": (
            with_manifest([entry], member("c.json", escaping), member("l.tar", escape)),
            "points outside of the layer",
        ),
        "nothing": ([member("hello", "world")], "no image archive"),
        "a wrong digest": ([member(f"blobs/sha256/{'0' * 64}", "x")], "has digest"),
        "an index without blobs": (
            [member("index.json", json.dumps({"manifests": [{"digest": digest(b"x"), "size": 1}]}))],
            "blob is not in the archive",
        ),
    }


@pytest.mark.parametrize("case", list(broken(Path())))
def test_a_bad_archive_gives_one_line_and_leaves_nothing(bare_host: Host, tmp_path: Path, case: str) -> None:
    members, message = broken(tmp_path)[case]
    path = docker_archive(tmp_path / "bad.tar", members)
    done = bare_host.run("load", "-i", path, check=False)
    assert done.returncode in (1, 125) and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("pyctr:") == 1 and done.stdout == ""
    store = ImageStore(bare_host.paths)
    assert store.list() == [] and store.broken() == []
    blobs = Path(bare_host.paths.images, "blobs/sha256")
    assert not blobs.exists() or list(blobs.iterdir()) == []
    unpacked = Path(bare_host.paths.layers)
    assert not unpacked.exists() or [entry for entry in unpacked.iterdir() if entry.name != "l"] == []
    assert not Path("/etc/owned").exists()


def test_a_truncated_archive_leaves_nothing(bare_host: Host, tmp_path: Path) -> None:
    make(bare_host)
    whole = tmp_path / "out.tar"
    bare_host.run("save", "-o", str(whole), "acme/app:1")
    store = empty(bare_host)
    content = whole.read_bytes()
    for size in (100, 1536, len(content) // 2, len(content) - 12_000):
        whole.write_bytes(content[:size])
        done = bare_host.run("load", "-i", str(whole), check=False)
        assert done.returncode == 125, (size, done.stderr)
        assert store.list() == [] and list(Path(store.blobs.directory).iterdir()) == []


def test_save_writes_a_whole_file_or_none(bare_host: Host, tmp_path: Path) -> None:
    made = make(bare_host)
    Path(ImageStore(bare_host.paths).blobs.path(made.layers[0].digest)).unlink()
    done = bare_host.run("save", "-o", str(tmp_path / "out.tar"), "acme/app:1", check=False)
    assert done.returncode == 125 and "is missing" in done.stderr
    assert list(tmp_path.glob("out*")) == []
