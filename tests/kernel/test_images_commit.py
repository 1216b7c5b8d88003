"""commit, export and import: what a container wrote survives it, for us and for other tools."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from pyctr.core.images.store import ImageStore
from tests.support.host import Host
from tests.support.images import archive, image, member

umoci = pytest.mark.skipif(shutil.which("umoci") is None, reason="needs umoci: apt install umoci")

SCRIPT = """
echo new > /added; echo changed > /etc/profile; rm -r /usr/share; mkdir /usr/share; echo x > /usr/share/only
ln /added /linked; ln -s added /soft; mkdir -p /d/e; chmod 4755 /added; chown 7:8 /d; mknod /pipe p; rm /etc/group
"""

MOUNTED = ("etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")


def made(host: Host) -> str:
    return host.run(
        "run", "-d", "--network", "none", "--name", "cc", "-e", "A=1", "base", "sh", "-c", f"{SCRIPT} sleep 1000"
    ).stdout.strip()


def ready(host: Host) -> None:
    """Until the script has come to its sleep."""
    host.run("exec", "cc", "sh", "-c", "until [ -p /pipe ] && ! [ -e /etc/group ]; do :; done")


def layer(host: Host, id: str) -> dict[str, tarfile.TarInfo]:
    store = ImageStore(host.paths)
    with tarfile.open(fileobj=store.blobs.open(store.resolve(id).layers[-1].digest), mode="r:gz") as tar:
        return {found.name: found for found in tar}


def forget(host: Host, *names: str) -> None:
    """The store of tests is shared: what they made goes."""
    host.run("rm", "-f", "cc", check=False)
    for name in names:
        host.run("rmi", name)


def test_a_commit_holds_what_the_container_changed(host: Host) -> None:
    made(host)
    ready(host)
    id = host.run(
        "commit", "-m", "by hand", "-a", "me", "-c", "ENV B=2", "-c", 'CMD ["cat", "/added"]', "cc", "mine:1"
    ).stdout.strip()
    members = layer(host, id)
    assert {"added", "etc/profile", "etc/.wh.group", "usr/share/.wh..wh..opq", "usr/share/only", "d/e", "pipe"} <= set(
        members
    )
    assert members["linked"].islnk() and members["linked"].linkname == "added"
    assert members["soft"].linkname == "added" and members["pipe"].isfifo()
    assert members["added"].mode == 0o4755 and (members["d"].uid, members["d"].gid) == (7, 8)
    assert host.run("inspect", "-f", "{{.State.Status}}", "cc").stdout == "running\n"
    assert host.run("run", "--rm", "--network", "none", "mine:1").stdout == "new\n"
    seen = host.run(
        "run",
        "--rm",
        "--network",
        "none",
        "mine:1",
        "sh",
        "-c",
        "ls /usr/share; echo $A$B; cat /etc/group ; test -u /added && echo suid; test /added -ef /linked && echo it",
    )
    assert seen.stdout.splitlines()[:2] == ["only", "12"] and "No such file" in seen.stderr
    assert seen.stdout.splitlines()[-2:] == ["suid", "it"]
    store = ImageStore(host.paths)
    assert store.configuration(store.resolve("mine:1"))["author"] == "me"
    assert "by hand" in host.run("history", "mine:1", "--no-trunc").stdout
    forget(host, "mine:1")


def test_vfs_commits_the_same(host: Host) -> None:
    host.env["PYCTR_STORAGE_DRIVER"] = "vfs"
    made(host)
    ready(host)
    id = host.run("commit", "cc", "mine:2").stdout.strip()
    members = layer(host, id)
    assert {"added", "etc/profile", "etc/.wh.group", "usr/share/only", "d/e", "pipe"} <= set(members)
    assert (
        host.run("run", "--rm", "--network", "none", "mine:2", "cat", "/added", "/usr/share/only").stdout == "new\nx\n"
    )
    assert "usr/lib" not in members
    forget(host, "mine:2")


@umoci
def test_umoci_unpacks_a_commit_as_the_container_saw_it(host: Host, tmp_path: Path) -> None:
    made(host)
    ready(host)
    host.run("commit", "cc", "mine:3")
    exported = tmp_path / "export.tar"
    host.run("export", "-o", str(exported), "cc")
    done = subprocess.run(
        ["umoci", "unpack", "--image", f"{host.paths.images}:docker.io/library/mine:3", str(tmp_path / "bundle")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    root = tmp_path / "bundle/rootfs"
    with tarfile.open(exported) as tar:
        for found in tar:
            if found.name.split("/")[0] in ("dev", "proc", "sys") or found.name in MOUNTED:
                continue  # mount points, which are not in the image
            there = (root / found.name).lstat()
            assert there.st_mode & 0o7777 == found.mode, found.name
            assert (there.st_uid, there.st_gid, int(there.st_mtime)) == (found.uid, found.gid, found.mtime), found.name
        names = set(tar.getnames())
    here = {os.path.relpath(os.path.join(top, name), root) for top, ds, fs in os.walk(root) for name in (*ds, *fs)}
    assert here <= names
    forget(host, "mine:3")


def test_an_export_comes_back_as_an_image(host: Host, tmp_path: Path) -> None:
    made(host)
    ready(host)
    whole = subprocess.run(host.command("export", "cc"), env=host.env, capture_output=True, check=True).stdout
    packed = tmp_path / "rootfs.tar.xz"
    packed.write_bytes(lzma.compress(whole, preset=0))
    id = host.run(
        "import", "-c", "WORKDIR /d", "-c", "ENTRYPOINT pwd", "-m", "back", str(packed), "back:1"
    ).stdout.strip()
    assert ImageStore(host.paths).resolve("back:1").id == id
    assert host.run("run", "--rm", "--network", "none", "back:1").stdout == "/d\n"
    with open(packed, "rb") as piped:
        again = subprocess.run(host.command("import", "-"), env=host.env, stdin=piped, capture_output=True, text=True)
    assert again.returncode == 0 and again.stdout.startswith("sha256:"), again.stderr
    forget(host, "back:1", again.stdout.strip())


def test_export_of_a_file_that_changes_meanwhile_stays_a_valid_archive(host: Host) -> None:
    host.run(
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "cc",
        "base",
        "sh",
        "-c",
        "while :; do head -c 300000 /dev/zero > /f; : > /f; done",
    )
    for _ in range(5):
        whole = subprocess.run(host.command("export", "cc"), env=host.env, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
            assert tar.getnames()
    forget(host)


def test_prune_says_first_what_it_frees_and_counts_shared_layers_once(bare_host: Host) -> None:
    store = ImageStore(bare_host.paths)
    shared = [member("shared", b"s" * 50_000)]
    image(store, "one:1", [shared, [member("a", b"a" * 20_000)]], compressed=False)
    image(store, "two:1", [shared, [member("b", b"b" * 20_000)]], compressed=False)
    size = sum({layer.digest: layer.size for one in store.list() for layer in one.layers}.values())
    asked = bare_host.run("image", "prune", "-a", check=False)
    assert asked.returncode == 1 and f"and frees {size / 1000:.3g}kB" in asked.stderr
    assert len(store.list()) == 2
    done = bare_host.run("image", "prune", "-a", "-f")
    assert f"Total reclaimed space: {size / 1000:.3g}kB" in done.stdout
    assert store.list() == [] and list(Path(store.blobs.directory).iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty or cut short"),
        (b"hello" * 200, "not a tar archive"),
        (archive([member("../out", "x")]), "points outside of the layer"),
        (lzma.compress(archive([member("a", "x")]))[:-40], "cut short"),
        (b"\x1f\x8b" + b"x" * 100, "damaged"),
    ],
)
def test_what_is_no_rootfs_leaves_nothing(bare_host: Host, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad").write_bytes(content)
    done = bare_host.run("import", str(tmp_path / "bad"), "bad:1", check=False)
    assert done.returncode == 125 and message in done.stderr and done.stderr.count("pyctr:") == 1, done.stderr
    store = ImageStore(bare_host.paths)
    assert store.list() == [] and list(Path(store.blobs.directory).iterdir()) == []


def test_a_change_that_is_none_is_refused_before_anything_is_read(bare_host: Host, tmp_path: Path) -> None:
    done = bare_host.run("import", "-c", "RUN make", str(tmp_path / "missing"), check=False)
    assert done.returncode == 125 and "cannot change an image by 'RUN make'" in done.stderr
