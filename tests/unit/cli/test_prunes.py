"""The prune verbs say before what they free, and `system df` tells each kind as soon as it is counted."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pyctr.cli import main
from pyctr.core import usage
from pyctr.core.build.cache import Cache
from pyctr.core.engine import Engine
from pyctr.core.paths import Paths
from tests.support.images import image, member

BASE = [member("lib/"), member("lib/big", "x" * 50_000)]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("PYCTR_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("PYCTR_RUNROOT", str(tmp_path / "run"))
    engine = Engine(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")))
    for name, top in (("one:1", "a" * 3000), ("two:1", "b" * 200)):
        labels = {"Labels": {"name": name[:3]}}
        engine.layers.ensure(image(engine.images, name, [BASE, [member("top", top)]], compressed=False, config=labels))
    return engine


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, answer: str = ""
) -> tuple[int, str, str]:
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    code = main.main(list(words))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_what_goes_is_named_before_and_nothing_goes_without_a_yes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.volumes.create("data")
    code, out, err = run(monkeypatch, capsys, "image", "prune", "-a", answer="n\n")
    assert code == 1 and out == ""
    assert "image      one:1" in err and "image      two:1" in err and "and frees" in err
    assert len(engine.images.list()) == 2
    code, _, err = run(monkeypatch, capsys, "volume", "prune", "-a")
    assert code == 1 and "volume     data" in err and "--force" in err
    assert [volume.name for volume in engine.volumes.list()] == ["data"]
    code, out, err = run(monkeypatch, capsys, "image", "prune", "-a", answer="y\n")
    assert code == 0 and "Untagged: one:1" in out and "Total reclaimed space: " in out
    assert engine.images.list() == [] and engine.layers.all() == []


def test_a_filter_leaves_the_others_and_a_layer_that_is_shared(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(monkeypatch, capsys, "image", "prune", "-af", "--filter", "label=name=one")
    assert code == 0 and "Untagged: one:1" in out
    # the archive of the top layer, 3000 bytes and its frame, and the file unpacked from it: not the layer below
    assert "Total reclaimed space: 13.2kB" in out
    assert [found.familiar for found in engine.images.list()] == ["two:1"]
    assert len(engine.layers.all()) == 2
    assert "reclaimed space: 0B" in run(monkeypatch, capsys, "image", "prune", "-af", "--filter", "label!=name")[1]
    assert "reclaimed space: 0B" in run(monkeypatch, capsys, "image", "prune", "-af", "--filter", "until=2020-01-01")[1]
    code, _, err = run(monkeypatch, capsys, "image", "prune", "--filter", "untill=1h")
    assert code == 125 and "did you mean 'until'?" in err


def test_leftovers_of_killed_commands_are_counted_and_go(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.images.blobs.add(b"nobody's")
    ingest = Path(engine.images.blobs.ingest)
    ingest.mkdir(exist_ok=True)
    (ingest / "4711.1").write_bytes(b"x" * 5000)
    (ingest / f"{'a' * 64}.part").write_bytes(b"x" * 7000)
    half = Path(engine.layers.root, f"{'b' * 64}.tmp", "diff")
    half.mkdir(parents=True)
    Path(engine.layers.root, f"{'b' * 64}.lock").touch()
    lines = [" ".join(line.split()) for line in run(monkeypatch, capsys, "system", "df")[1].splitlines()]
    assert lines[-1].startswith("Leftovers 5 0 ")
    code, _, err = run(monkeypatch, capsys, "system", "prune", answer="y\n")
    assert code == 0 and "1 blob, 1 cut download, 3 unfinished files" in err
    assert "Leftovers 0 0 0B 0B" in " ".join(run(monkeypatch, capsys, "system", "df")[1].split())
    assert list(ingest.iterdir()) == [] and not half.exists()
    assert len(engine.images.list()) == 2


def test_each_thing_is_told_before_the_next_is_looked_for(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.volumes.create("data")
    asked: list[str] = []
    monkeypatch.setattr(engine.volumes, "usage", lambda name: asked.append(name) or 7)
    told = usage.survey(engine)
    kinds = [next(told).kind for _ in range(4)]
    assert kinds == ["image", "image", "image", "container"] and asked == []
    assert [item.counted for item in told if isinstance(item, usage.Used)] == [7] and asked == ["data"]


def test_what_images_share_counts_once(engine: Engine) -> None:
    images = [item for item in usage.survey(engine) if isinstance(item, usage.Used)]
    blobs = sum(Path(engine.images.blobs.path(digest)).stat().st_size for digest in _layers(engine))
    files = 50_000 + 3000 + 200
    assert sum(item.counted for item in images) == sum(item.free for item in images) == blobs + files
    assert images[0].shared == images[1].shared > 100_000


def test_what_builds_keep_is_counted_once_and_named_before_it_goes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two steps with the same layer, one with an image's, and a cache mount with a first filling that was killed."""
    cache = Cache(engine.paths, engine.images)
    digest = engine.images.blobs.add(b"layer of a step")
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": 15}
    top = engine.images.resolve("one:1").layers[-1]
    shared = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": top.digest, "size": top.size}
    for key, made in (
        ("a", (layer, f"sha256:{'b' * 64}")),
        ("b", (layer, f"sha256:{'b' * 64}")),
        ("c", (shared, top.diff_id)),
    ):
        cache.put(key * 64, made, 1.0, f"RUN make {key}")
    mount = Path(engine.paths.build, "mounts", "x" * 32)
    (mount / "0").mkdir(parents=True)
    (mount / "0" / "f").write_bytes(bytes(4096))
    (mount / f"0.{2**22 + 1}.abcd.tmp").mkdir()
    (mount / "0.lock").touch()
    lines = [" ".join(line.split()) for line in run(monkeypatch, capsys, "system", "df")[1].splitlines()]
    assert "Build Cache 4 0 4.11kB 4.11kB (100%)" in lines and "Leftovers 0 0 0B 0B" in lines
    each = [" ".join(line.split()) for line in run(monkeypatch, capsys, "system", "df", "-v")[1].splitlines()]
    assert "RUN make a 15B" in each and "RUN make c 0B" in each and "RUN --mount=type=cache 4.1kB" in each
    assert run(monkeypatch, capsys, "image", "prune", "-af", "--filter", "label=name=one")[0] == 0
    assert engine.images.blobs.has(top.digest), "the cache has it, too"
    code, out, err = run(monkeypatch, capsys, "builder", "prune", answer="n\n")
    assert (
        code == 1 and out == "" and "3 steps, 1 cache mount" in err and "and frees 17.4kB" in err
    )  # 15 + 4096 + 10240 + 3000
    assert run(monkeypatch, capsys, "system", "prune", "-f")[0] == 0
    assert engine.images.blobs.has(digest), "the next build finds it"
    code, out, err = run(monkeypatch, capsys, "system", "prune", "-a", answer="y\n")
    assert code == 0 and "3 steps, 1 cache mount" in err
    assert err.split("and frees ")[1].split(". ")[0] in out
    assert not engine.images.blobs.has(digest) and not engine.images.blobs.has(top.digest)
    assert cache.keys(2.0**40) == [] and list(mount.iterdir()) == []


def _layers(engine: Engine) -> set[str]:
    return {layer.digest for found in engine.images.list() for layer in found.layers}
