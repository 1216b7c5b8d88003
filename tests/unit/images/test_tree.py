"""The layer tree and the history: what is shared, what each layer did, what is wasted."""

import json
from pathlib import Path

import pytest

from pyctr.core.engine import Engine
from pyctr.core.images import stack, tree, waste
from pyctr.core.images.history import history, instruction
from pyctr.core.images.model import rfc3339, timestamp
from pyctr.core.paths import Paths
from tests.support.images import image, member, symlink

BASE = [member("etc/"), member("etc/motd", "hello"), member("bin/"), member("bin/sh", "s" * 100)]
PIP = [member("lib/"), member("lib/big", "x" * 5000), member("bin/"), member("bin/sh", "t" * 120)]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = Engine(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")))
    steps = [{"created_by": text} for text in ("base", "/bin/sh -c pip install", "COPY . /app # buildkit")]
    steps.insert(1, {"created_by": "/bin/sh -c #(nop)  ENV A=b", "empty_layer": True})
    api = image(engine.images, "acme/api:1", [BASE, PIP, [member("app", "1"), member("lib/"), member("lib/.wh.big")]])
    batch = image(engine.images, "acme/batch:1", [BASE, PIP, [member("app", "2")]], history=list(steps))
    base = image(engine.images, "base:1", [BASE])
    for made in (api, batch, base):
        engine.layers.ensure(made)
    return engine


def outline(engine: Engine) -> list[str]:
    return [
        f"{'  ' * depth}{node.kind} {node.title} x{node.images}"
        for root in tree.tree(engine)
        for depth, node in root.walk()
    ]


def find(engine: Engine, title: str) -> tree.Node:
    return next(node for root in tree.tree(engine) for _, node in root.walk() if node.title == title)


def test_shared_layers_are_one_branch(engine: Engine) -> None:
    assert outline(engine) == [
        "layer COPY layer 0 x3",
        "  image base:1 x1",
        "  layer COPY layer 1 x2",
        "    layer COPY . /app x1",
        "      image acme/batch:1 x1",
        "    layer COPY layer 2 x1",
        "      image acme/api:1 x1",
    ]
    total, saved = tree.shared(tree.tree(engine))
    assert total == 105 + 5120 + 1 + 1 and saved == 105 * 2 + 5120


def test_each_layer_says_what_it_added_changed_and_deleted(engine: Engine) -> None:
    files = {file.path: file for file in tree.files(find(engine, "COPY layer 1"))}
    assert {path: file.change for path, file in files.items()} == {
        "/bin": "C",
        "/bin/sh": "C",
        "/lib": "A",
        "/lib/big": "A",
    }
    assert (files["/bin/sh"].size, files["/bin/sh"].was) == (120, 100)
    [gone] = [file for file in tree.files(find(engine, "COPY layer 2")) if file.change == "D"]
    assert (gone.path, gone.was) == ("/lib/big", 5000)


def test_waste_is_what_later_layers_hide(engine: Engine) -> None:
    found = tree.directories(find(engine, "acme/api:1"))
    measured = waste.measure(stack.read(found), len(found) - 1)
    assert [(lost.path, lost.size) for lost in measured.hidden] == [("/lib/big", 5000), ("/bin/sh", 100)]
    assert measured.hidden_size == 5100
    base = tree.directories(find(engine, "base:1"))
    assert waste.measure(stack.read(base), 0).hidden == []


def test_an_images_files_are_the_merged_view(engine: Engine) -> None:
    paths = [file.path for file in tree.files(find(engine, "acme/api:1"))]
    assert paths == ["/app", "/bin", "/bin/sh", "/etc", "/etc/motd", "/lib"]


def test_a_containers_upper_directory_hangs_below_its_image(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCTR_STORAGE_DRIVER", "overlay")
    made = engine.images.resolve("acme/api:1")
    rootfs = engine.storage.prepare("c1", made)
    state = {"id": "c1", "name": "web", "image_id": made.id, "image_name": "acme/api:1", "rootfs": rootfs}
    Path(engine.paths.container("c1", "state.json")).write_text(json.dumps(state))
    Path(rootfs["upper"], "log").write_text("x" * 9000)
    node = find(engine, "web")
    assert node.container == "c1" and node.size >= 9000
    assert [(file.path, file.change) for file in tree.files(node)] == [("/log", "A")]
    assert find(engine, "COPY layer 0").containers == 1
    assert node in find(engine, "acme/api:1").children
    engine.images.remove("acme/api:1", force=True)
    assert [child.title for child in find(engine, "acme/api:1 (removed)").children] == ["web"]


def test_history_pairs_steps_with_layers(engine: Engine) -> None:
    steps = history(engine.images.resolve("acme/batch:1"), engine.layers)
    assert [(step.instruction, step.size) for step in steps] == [
        ("base", 105),
        ("ENV A=b", 0),
        ("RUN pip install", 5120),
        ("COPY . /app", 1),
    ]
    assert [step.layer is not None for step in steps] == [True, False, True, True]


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ('/bin/sh -c #(nop)  CMD ["sh"]', 'CMD ["sh"]'),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("RUN /bin/sh -c make # buildkit", "RUN make"),
        ("|1 VERSION=2 /bin/sh -c make", "RUN make"),
        ("COPY a b # buildkit", "COPY a b"),
        ("", ""),
    ],
)
def test_instructions_read_like_a_dockerfile(recorded: str, said: str) -> None:
    assert instruction(recorded) == said


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2024-02-29T23:59:59Z", 1709251199),
        ("2000-03-01T00:00:00+01:00", 951865200),
        ("2026-11-20T23:14:07.412345678Z", 1795216447.412345678),
        ("0001-01-01T00:00:00Z", -62135596800),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_times_of_images(text: str, seconds: float) -> None:
    assert timestamp(text) == pytest.approx(seconds)
    if text.endswith("00Z"):
        assert rfc3339(timestamp("2024-02-29T23:59:59Z")) == "2024-02-29T23:59:59Z"


def test_a_link_shows_its_target(engine: Engine) -> None:
    engine.layers.ensure(image(engine.images, "links:1", [[symlink("s", "/etc/shadow")]]))
    [file] = tree.files(find(engine, "links:1"))
    assert (file.path, file.link, file.size) == ("/s", "/etc/shadow", 0)
