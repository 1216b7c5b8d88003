"""An image that is small on its way and large on disk, through the command itself."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zlib
from pathlib import Path

import pytest

from pyctr.core.images.decompress import ENVIRONMENT, FREE
from pyctr.core.images.model import platform_architecture
from tests.support.host import Host

_BLOCK = 64 << 20


def zeros(length: int) -> bytes:
    """A gzip of about a thousandth of that many bytes, at no cost: one member again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return (packer.compress(bytes(_BLOCK)) + packer.flush()) * (length // _BLOCK)


def packed(content: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(content) + packer.flush()


def bomb(size: int) -> bytes:
    """A layer of one file of zeros."""
    info = tarfile.TarInfo("zeros")
    info.size = size
    return packed(info.tobuf()) + zeros(size) + packed(bytes(1024))


def write(path: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as out:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return str(path)


@pytest.mark.parametrize("way", ["a layer", "the archive"])
def test_a_bomb_is_refused_by_load_and_nothing_of_it_stays(bare_host: Host, tmp_path: Path, way: str) -> None:
    layer = bomb(FREE + _BLOCK)
    config = {"architecture": platform_architecture(), "os": "linux", "config": {}}
    config["rootfs"] = {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}
    members = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": layer,
        "manifest.json": json.dumps([{"Config": "config.json", "Layers": ["layer.tar"], "RepoTags": ["a:1"]}]).encode(),
    }
    path = write(tmp_path / "image.tar", members) if way == "a layer" else str(tmp_path / "image.tar.gz")
    if way == "the archive":
        Path(path).write_bytes(layer)
    done = bare_host.run("load", "-i", path, check=False)
    assert done.returncode == 125 and "unpacks to more than" in done.stderr and ENVIRONMENT in done.stderr, done.stderr
    assert done.stderr.count("pyctr:") == 1 and "Traceback" not in done.stderr
    assert bare_host.run("images", "-q").stdout == ""
    kept = sum(
        os.lstat(os.path.join(directory, name)).st_blocks * 512
        for directory, _, names in os.walk(bare_host.paths.root)
        for name in names
    )
    assert kept < 1 << 20, "what had been unpacked is gone"
