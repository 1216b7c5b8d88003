"""An image of a distribution's size, 10,000 files and 100 MB, to a registry and back, and to umoci: no file differs."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from pyctr.core.images.layers import LayerStore
from pyctr.core.images.store import ImageStore
from tests.support import registry as registries
from tests.support.host import Host
from tests.support.images import Member, hardlink, image, member, symlink
from tests.support.registry import Registry

FILES, SIZE, FOLDERS = 10_000, 10_000, 400

Tree = dict[str, tuple[object, ...]]


def made(store: ImageStore) -> str:
    """Everything of every kind a package brings; the diffID of its one layer."""
    noise = random.Random(1).randbytes(SIZE + FILES)
    members: list[Member] = [member("usr/")]
    members += [member(f"usr/d{number}/", mode=0o755) for number in range(FOLDERS)]
    for number in range(FILES):
        where = f"usr/d{number % FOLDERS}/f{number}"
        if number % 25 == 1:
            members.append(symlink(where, f"f{number - 1}"))
        elif number % 25 == 2:
            members.append(hardlink(where, f"usr/d{(number - 2) % FOLDERS}/f{number - 2}"))
        else:
            mode = (0o644, 0o755, 0o600, 0o4755)[number % 4]
            members.append(member(where, noise[number : number + SIZE], mode=mode, uid=number % 7, mtime=number))
    [layer] = image(store, "large:1", [members], compressed=False).layers
    return layer.diff_id


def tree(top: str) -> Tree:
    """Kind, mode, owner, time and contents of everything below a directory."""
    found: Tree = {}
    for where, folders, files in os.walk(top):
        for name in folders + files:
            path = f"{where}/{name}"
            seen = os.lstat(path)
            kept: tuple[object, ...] = (oct(seen.st_mode), seen.st_uid, seen.st_gid, seen.st_nlink)
            if stat.S_ISLNK(seen.st_mode):
                kept = (os.readlink(path),)
            elif stat.S_ISREG(seen.st_mode):
                kept = (*kept, seen.st_mtime_ns, sha256(Path(path).read_bytes()).digest())
            found[path.removeprefix(top)] = kept
    return found


@registries.needed
@pytest.mark.skipif(shutil.which("umoci") is None, reason="needs umoci: apt install umoci")
@pytest.mark.timeout(300)
def test_no_file_of_a_large_image_is_lost_or_changed(bare_host: Host, tmp_path: Path) -> None:
    store, layers = ImageStore(bare_host.paths), LayerStore(bare_host.paths)
    diff_id = made(store)
    with Registry(tmp_path / "registry") as registry:
        name = f"{registry.name}/large:1"
        bare_host.run("push", "-q", "large:1", name, timeout=120)
        bare_host.run("rmi", "large:1")
        assert not layers.has(diff_id) and store.list() == []
        bare_host.run("pull", "-q", name, timeout=120)
    ours = tree(layers.path(diff_id))
    assert len(ours) == 1 + FOLDERS + FILES
    bare_host.run("save", "--format", "oci-dir", "-o", str(tmp_path / "saved"), name, timeout=120)
    words = ["umoci", "raw", "unpack", "--image", f"{tmp_path}/saved:{name}", f"{tmp_path}/theirs"]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    theirs = tree(f"{tmp_path}/theirs")
    assert ours == theirs
    shutil.rmtree(tmp_path)
