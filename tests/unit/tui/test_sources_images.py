"""Sources of the images and the host screen: how fast writable layers grow, what takes the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyctr.core.engine import Engine
from pyctr.core.paths import Paths
from pyctr.tui import layer_table
from pyctr.tui.format import Glyphs, plain
from pyctr.tui.sources import Seen, images, space
from pyctr.tui.table import Layout, Look
from tests.support.images import image, member


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("PYCTR_STORAGE_DRIVER", "overlay")
    engine = Engine(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")))
    made = image(engine.images, "app:1", [[member("f", "x" * 5000)]], compressed=False)
    rootfs = engine.storage.prepare("c1", made)
    state = {"id": "c1", "name": "web", "image_id": made.id, "image_name": "app:1", "rootfs": rootfs}
    Path(engine.paths.container("c1", "state.json")).write_text(json.dumps(state))
    return engine


def test_a_writable_layer_that_grows_says_how_fast(engine: Engine) -> None:
    first = images.collect(engine, Seen(0, 100.0, (), {}), None)
    Path(engine.paths.container("c1", "upper", "log")).write_bytes(b"x" * 40_960)
    second = images.collect(engine, Seen(0, 110.0, (), {}), first)
    assert isinstance(second, images.Shelf)
    [node] = [node for root in second.roots for _, node in root.walk() if node.container]
    assert node.growth == 4096.0
    rows = layer_table.rows(second.roots, set(), {})
    look = Look(Glyphs())
    layout = Layout(layer_table.columns(70, look), 70)
    assert plain(layout.line(layout.cells(rows[-1], look))).endswith("+40k  +4.0k/s")
    third = images.collect(engine, Seen(0, 120.0, (), {}), second)
    assert isinstance(third, images.Shelf)
    assert [node.growth for root in third.roots for _, node in root.walk() if node.container] == [0.0]


def test_the_disk_is_counted_as_system_df_counts_it(engine: Engine) -> None:
    found = space.collect(engine, Seen(0, 0.0, (), {}), None)
    assert isinstance(found, space.Space)
    assert [kind.name for kind in found.kinds] == ["images", "writable layers", "volumes"]
    blob = Path(engine.images.blobs.path(engine.images.list()[0].layers[0].digest)).stat().st_size
    assert (found.kinds[0].number, found.kinds[0].size) == (1, blob + 5000)
    engine.images.blobs.add(b"nobody's")
    found = space.collect(engine, Seen(0, 0.0, (), {}), None)
    assert isinstance(found, space.Space)
    assert found.kinds[-1] == space.Kind("leftovers", 1, 0, 8, 8)
