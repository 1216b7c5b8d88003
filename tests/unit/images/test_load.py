"""Loading an archive: every byte is hashed once, and what lay in the store before is not believed because of that."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.engine import Engine
from pyctr.core.errors import StorageError
from pyctr.core.images import decompress, importing, save, transfer, unpack
from pyctr.core.paths import Paths
from tests.support.images import archive, digest, image, member

SIZE = 300_000


def engine(path: Path) -> Engine:
    path.mkdir()
    return Engine(Paths(root=str(path / "r"), run=str(path / "v")))


@pytest.fixture(params=[False, True], ids=["plain", "gzip"])
def archived(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    host = engine(tmp_path / "from")
    image(host.images, "one:1", [[member("file", os.urandom(SIZE))]], compressed=request.param)
    path = str(tmp_path / "archive.tar")
    with open(path, "wb") as out:
        save.save(host.images, ["one:1"], out)
    return path


def test_every_byte_is_hashed_once_or_packed_and_plain(
    archived: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    counted = [0]

    class Counting:
        def __init__(self) -> None:
            self._real = real()
            self.hexdigest = self._real.hexdigest

        def update(self, data: Any) -> None:
            counted[0] += len(data)
            self._real.update(data)

    real = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", Counting)
    monkeypatch.setattr(decompress, "sha256", Counting)
    host = engine(tmp_path / "to")
    transfer.load(host.images, host.layers, archived)
    passes = 2 if "gzip" in request.node.name else 1
    assert passes * SIZE < counted[0] < passes * SIZE + 40_000
    assert host.layers.lower(host.images.resolve("one:1")) is not None


def test_an_imported_archive_is_unpacked_once_and_its_layer_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = []
    real = unpack.Unpacker.unpack
    monkeypatch.setattr(unpack.Unpacker, "unpack", lambda self, pieces: (unpacked.append(1), real(self, pieces))[1])
    host = engine(tmp_path / "to")
    plain = archive([member("file", "x" * SIZE)])
    for name, content in (("packed", gzip.compress(plain)), ("plain", plain)):
        (tmp_path / name).write_bytes(content)
        made = importing.import_image(host.images, host.layers, str(tmp_path / name), f"{name}:1")
        assert made.layers[0].diff_id == digest(plain)
        [lower] = host.layers.lower(made) or []
        assert Path(lower, "file").read_text() == "x" * SIZE
    assert len(unpacked) == 2
    assert sorted(os.listdir(host.layers.root)) == sorted([digest(plain)[7:], "l"])
    (tmp_path / "cut").write_bytes(gzip.compress(plain)[:-20])
    with pytest.raises(StorageError, match="cut short"):
        importing.import_image(host.images, host.layers, str(tmp_path / "cut"), "cut:1")
    assert sorted(os.listdir(host.layers.root)) == sorted([digest(plain)[7:], "l"])


def test_a_damaged_blob_of_before_is_found_although_the_archive_has_the_right_one(
    archived: str, tmp_path: Path
) -> None:
    host = engine(tmp_path / "to")
    transfer.load_layout(host.images, archived)
    layer = host.images.resolve("one:1").layers[0]
    path = Path(host.images.blobs.path(layer.digest))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert digest(bytes(content)) != layer.digest
    with pytest.raises(StorageError, match=r"really is|damaged|corrupt|checksum|broken"):
        transfer.load(host.images, host.layers, archived)
    assert not host.layers.has(layer.diff_id)
