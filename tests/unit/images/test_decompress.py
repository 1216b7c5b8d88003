"""Packed layers: all of what is in them, in pieces that take no memory, and no more than is believable."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pyctr.core.errors import PyctrError, StorageError, UsageError
from pyctr.core.images import decompress, importing
from pyctr.core.images.decompress import Plain
from pyctr.core.images.layers import LayerStore
from pyctr.core.images.store import ImageStore
from pyctr.core.paths import Paths
from tests.support.images import archive, image, member

MiB = 1 << 20


def zstd(content: bytes) -> bytes:
    packed: bytes = decompress.zstd_module().compress(content)
    return packed


class Pipe:
    """Bytes of which nobody knows how many there are."""

    def __init__(self, content: bytes) -> None:
        self.read = io.BytesIO(content).read


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd}


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 4 MiB were much."""
    monkeypatch.setattr(decompress, "FREE", 4 * MiB)
    monkeypatch.delenv(decompress.ENVIRONMENT, raising=False)


@pytest.mark.parametrize("isal", [True, False])
@pytest.mark.parametrize("name", PACKERS)
def test_all_comes_out_however_it_was_packed(name: str, isal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not isal:
        monkeypatch.setattr(decompress, "_zlib", lambda: zlib)
    dice = random.Random(7)
    for size in (0, 1, MiB - 1, MiB, MiB + 1, 3 * MiB, 3 * MiB + 7):
        for content in (bytes(size), dice.randbytes(size), bytes(size // 2) + dice.randbytes(size - size // 2)):
            packed = PACKERS[name](content) + PACKERS[name](b"and more")
            assert b"".join(Plain(Pipe(packed))) == content + b"and more"


@pytest.mark.parametrize("name", PACKERS)
def test_a_bomb_takes_no_memory_and_is_refused(name: str) -> None:
    """64 kB of zstd can be a gigabyte: not even one piece of input is inflated as a whole."""
    blob = PACKERS[name](bytes(32 * MiB))
    most = got = 0
    with pytest.raises(StorageError, match=f"packed data of {len(blob)} bytes unpacks to more than") as refused:
        for piece in Plain(Pipe(blob)):
            most, got = max(most, len(piece)), got + len(piece)
    assert most <= MiB and got <= max(4 * MiB, decompress.EXPANSION * len(blob))
    assert decompress.ENVIRONMENT in refused.value.hint


def test_the_limit_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = gzip.compress(bytes(32 * MiB))
    monkeypatch.setenv(decompress.ENVIRONMENT, "2000")
    assert sum(map(len, Plain(Pipe(blob)))) == 32 * MiB
    monkeypatch.setenv(decompress.ENVIRONMENT, "much")
    with pytest.raises(UsageError, match=decompress.ENVIRONMENT):
        list(Plain(Pipe(blob)))


def test_zeros_before_the_rest_of_a_layer_are_no_bomb(tmp_path: Path) -> None:
    """What counts is all of it, where that is known: an empty database, then the programs."""
    content = bytes(32 * MiB) + random.Random(7).randbytes(MiB)
    path = tmp_path / "layer"
    path.write_bytes(gzip.compress(content))
    with open(path, "rb", buffering=0) as file:
        assert sum(map(len, Plain(file))) == len(content)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sudo make test")
def test_nothing_of_a_bomb_stays(store: ImageStore) -> None:
    made = image(store, "bomb", [[member("a", "1")], [member("zeros", bytes(32 * MiB))]])
    layers = LayerStore(store.paths)
    with pytest.raises(StorageError, match="unpacks to more"):
        layers.ensure(made)
    assert layers.all() == [made.layers[0].diff_id]
    assert [name for name in os.listdir(layers.root) if name.endswith((".tmp", ".lock"))] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sudo make test")
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_an_imported_bomb_is_refused_and_one_that_is_trusted_is_not(
    store: ImageStore, tmp_path: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rootfs.tar.packed"
    path.write_bytes(pack(archive([member("zeros", bytes(24 * MiB))])))
    layers = LayerStore(store.paths)
    with pytest.raises(PyctrError, match="unpacks to more"):
        importing.import_image(store, layers, str(path), "bomb")
    assert store.list() == [] and os.listdir(store.blobs.directory) == [] and layers.all() == []
    monkeypatch.setenv(decompress.ENVIRONMENT, "1000000")
    importing.import_image(store, layers, str(path), "trusted")
    assert len(store.list()) == 1
