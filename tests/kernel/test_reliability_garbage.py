"""kill -9 before any change to the file system: no layer in use goes, and after a prune nothing unreferenced stays."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyctr.core import containers
from pyctr.core.commit import commit
from pyctr.core.engine import Engine
from pyctr.core.images import garbage, stack
from pyctr.core.images.pull import pull
from pyctr.core.images.push import push
from pyctr.core.images.save import save
from pyctr.core.paths import Paths
from pyctr.core.spec import ContainerSpec
from pyctr.core.state import CREATED, State
from tests.support import registry as registries
from tests.support.host import REPOSITORY
from tests.support.images import archive, image, member
from tests.support.registry import Registry

POINTS = 14
"""Moments of each command at which it is killed, spread over all of its steps."""
BASE = [member("etc/"), member("etc/os", "base"), member("lib/"), member("lib/big", "x" * 70_000)]
APP = [member("etc/"), member("etc/os", "app"), member("app", "y" * 30_000)]

DRIVER = """
import os, signal, sys
from pyctr.core.engine import Engine
from pyctr.core.paths import Paths
from pyctr.core import commit, containers
from pyctr.core.images import garbage
from pyctr.core.images.pull import pull
root, run, kill_at, what, *words = sys.argv[1:]
engine = Engine(Paths(root=root, run=run))
steps = 0
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate"}
def changes(event, arguments):
    if event == "open":
        return isinstance(arguments[2], int) and arguments[2] & (os.O_CREAT | os.O_TRUNC)
    return event in CHANGES
def hook(event, arguments):
    global steps
    if changes(event, arguments):
        steps += 1
        if steps == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
if what == "rmi":
    engine.images.remove(words[0], force=True)
elif what == "pull":
    pull(engine.images, engine.layers, words[0])
elif what == "commit":
    commit.commit(containers.find(engine, words[0]), words[1], pause=False)
elif what == "sweep":
    garbage.sweep(engine.images)
elif what == "pyctr":
    from pyctr.cli.main import main
    if main(words):
        sys.exit("it failed")
print(steps)
"""


def engine_of(directory: Path) -> Engine:
    return Engine(Paths(root=str(directory / "root"), run=str(directory / "run")))


def killed(directory: Path, at: int, *words: str) -> int:
    """Do it, killed before its change number `at` (0: never); how many there were."""
    argv = [sys.executable, "-c", DRIVER, str(directory / "root"), str(directory / "run"), str(at), *words]
    done = subprocess.run(
        argv,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYCTR_ROOT": str(directory / "root"),
            "PYCTR_RUNROOT": str(directory / "run"),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    if at and done.returncode == -signal.SIGKILL:
        return at
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def container(engine: Engine, name: str, of: str) -> str:
    """A container that was made, as far as storage knows it; returns its id."""
    made = engine.images.resolve(of)
    id = name * 64
    rootfs = engine.storage.prepare(id, made)
    spec = ContainerSpec(image=of).to_dict()
    state = State(id=id, name=f"c{name}", created_at=1.0, spec=spec, image_id=made.id, image_name=of, desired=CREATED)
    state.rootfs = rootfs
    containers.save_state(engine.paths, state, durable=True)
    Path(rootfs["upper"], "written").write_text("mine")
    return id


def check_sound(engine: Engine) -> None:
    """Everything that is named is whole."""
    assert engine.images.broken() == []
    for found in engine.images.list():
        assert all(engine.images.blobs.has(layer.digest) for layer in found.layers)
        engine.layers.ensure(found)
        read = stack.read([engine.layers.path(layer.diff_id) for layer in found.layers])
        paths = {file.path for file in stack.contents(read, len(found.layers) - 1)}
        assert "/etc/os" in paths and "/lib/big" in paths
    for directory in Path(engine.paths.containers).glob("?" * 64):
        state = json.loads((directory / "state.json").read_text())
        # the overlay of a container stands on exactly these
        for lower in state["rootfs"]["lower"]:
            assert os.listdir(lower), f"{lower} of {state['name']} is gone"


def check_clean(engine: Engine) -> None:
    """Nothing is there that is not named."""
    garbage.sweep(engine.images)
    assert garbage.survey(engine.images).count == 0
    digests, diff_ids = engine.images.reachable()
    assert {f"sha256:{name}" for name in os.listdir(engine.images.blobs.directory)} == digests
    used = {name.removeprefix("sha256:") for name in engine.layers.in_use(diff_ids)}
    there = set(os.listdir(engine.layers.root)) - {"l", "mountpoints", "nothing"}
    assert there <= used
    assert os.listdir(engine.images.blobs.ingest) == []
    for link in os.listdir(engine.layers.links):
        assert os.path.isdir(f"{engine.layers.links}/{link}")


def spread(total: int, points: int) -> list[int]:
    return sorted({1 + round(n * (total - 1) / (points - 1)) for n in range(points)})


def every_point(
    tmp_path: Path,
    prepare: Callable[[Engine], object],
    *words: str,
    after: Callable[[Engine], None],
    soon: Callable[[Engine], object] = lambda engine: None,
    points: int = POINTS,
) -> None:
    """Prepare a store once, count the steps of a command, then kill it at points of them, each on a copy.

    `soon` comes right after the kill, `after` when everything has been cleaned up.
    """
    template = tmp_path / "template"
    prepare(engine_of(template))
    first = tmp_path / "whole"
    copy(template, first)
    total = killed(first, 0, *words)
    assert total > 3
    check_sound(engine_of(first))
    check_clean(engine_of(first))
    for at in spread(total, points):
        here = tmp_path / "here"
        copy(template, here)
        killed(here, at, *words)
        engine = engine_of(here)
        check_sound(engine)
        soon(engine)
        check_sound(engine)
        check_clean(engine)
        check_sound(engine)
        after(engine)
        check_sound(engine)
        shutil.rmtree(here)


def copy(source: Path, target: Path) -> None:
    """With owners, xattrs and links as they are; records name absolute paths, so the place is told anew."""
    subprocess.run(["cp", "-a", source, target], check=True)
    for record in target.glob("root/containers/*/state.json"):
        record.write_text(record.read_text().replace(f"{source}/", f"{target}/"))


@pytest.fixture(autouse=True)
def overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCTR_STORAGE_DRIVER", "overlay")


def store(engine: Engine) -> None:
    for made in (image(engine.images, "base:1", [BASE]), image(engine.images, "app:1", [BASE, APP])):
        engine.layers.ensure(made)
    container(engine, "a", "base:1")


def test_an_rmi_killed_at_any_step(tmp_path: Path) -> None:
    def gone(engine: Engine) -> None:
        if engine.images.find("app:1"):
            engine.images.remove("app:1")
        assert [found.familiar for found in engine.images.list()] == ["base:1"]

    def back(engine: Engine) -> None:
        """What is half removed must not be taken for whole."""
        engine.layers.ensure(image(engine.images, "app:1", [BASE, APP]))

    every_point(tmp_path, store, "rmi", "app:1", after=gone, soon=back)


def test_an_rmi_of_what_a_container_stands_on(tmp_path: Path) -> None:
    """--force takes the image from under it, never its files."""

    def used(engine: Engine) -> None:
        store(engine)
        engine.images.remove("app:1")

    every_point(tmp_path, used, "rmi", "base:1", after=lambda engine: None)


def test_a_commit_killed_at_any_step(tmp_path: Path) -> None:
    def again(engine: Engine) -> None:
        commit(containers.find(engine, "a" * 64), "made:1", pause=False)
        assert engine.images.find("made:1")

    every_point(tmp_path, store, "commit", "a" * 64, "made:1", after=again)


def test_a_clean_up_killed_at_any_step(tmp_path: Path) -> None:
    def litter(engine: Engine) -> None:
        store(engine)
        index = Path(engine.images.root, "index.json")
        document = json.loads(index.read_text())
        document["manifests"] = [one for one in document["manifests"] if "base" in str(one.get("annotations"))]
        index.write_text(json.dumps(document))
        assert garbage.survey(engine.images).count == 4  # two documents, one blob, its unpacked layer

    every_point(tmp_path, litter, "sweep", after=lambda engine: None)


@registries.needed
def test_a_pull_killed_at_any_step(tmp_path: Path) -> None:
    with Registry(tmp_path / "registry") as registry:
        made = Engine(Paths(root=str(tmp_path / "made"), run=str(tmp_path / "made-run")))
        image(made.images, "app:1", [BASE, APP])
        name = f"{registry.name}/app:1"
        push(made.images, "app:1", name)

        def base(engine: Engine) -> None:
            engine.layers.ensure(image(engine.images, "base:1", [BASE]))
            container(engine, "a", "base:1")

        def again(engine: Engine) -> None:
            pull(engine.images, engine.layers, name)

        every_point(tmp_path, base, "pull", name, after=again)


def test_a_container_being_made_holds_its_layers(tmp_path: Path) -> None:
    """Its record names the image before it names the layers."""
    engine = engine_of(tmp_path)
    store(engine)
    id = container(engine, "b", "app:1")
    record = Path(engine.paths.container(id, "state.json"))
    document = json.loads(record.read_text())
    rootfs, document["rootfs"] = document["rootfs"], {}
    record.write_text(json.dumps(document))
    engine.images.remove("app:1", force=True)
    assert garbage.survey(engine.images).count == 0
    document["rootfs"] = rootfs
    record.write_text(json.dumps(document))
    check_sound(engine)
    # its configuration is nobody's any more
    assert [len(items) for items in (garbage.survey(engine.images).blobs, garbage.survey(engine.images).layers)] == [
        1,
        0,
    ]
    check_clean(engine)
    check_sound(engine)


def visible(engine: Engine, names: set[str]) -> None:
    """No other names than these, each of a whole image (`check_sound`)."""
    assert {found.familiar for found in engine.images.list()} - {"base:1"} <= names


def test_a_load_killed_at_any_step(tmp_path: Path) -> None:
    """What has a name is whole."""
    made = Engine(Paths(root=str(tmp_path / "made"), run=str(tmp_path / "made-run")))
    image(made.images, "app:1", [BASE, APP])
    image(made.images, "app:2", [BASE, APP, [member("more", "m" * 9000)]])
    with open(tmp_path / "image.tar", "wb") as out:
        save(made.images, ["app:1", "app:2"], out)

    def base(engine: Engine) -> None:
        engine.layers.ensure(image(engine.images, "base:1", [BASE]))

    words = ("pyctr", "load", "-q", "-i", str(tmp_path / "image.tar"))
    every_point(
        tmp_path,
        base,
        *words,
        soon=lambda engine: visible(engine, {"app:1", "app:2"}),
        after=lambda engine: again(engine, *words),
        points=8,
    )


def test_an_import_killed_at_any_step(tmp_path: Path) -> None:
    (tmp_path / "rootfs.tar.gz").write_bytes(gzip.compress(archive([*BASE, *APP])))

    def base(engine: Engine) -> None:
        engine.layers.ensure(image(engine.images, "base:1", [BASE]))

    words = ("pyctr", "import", str(tmp_path / "rootfs.tar.gz"), "app:1")
    every_point(
        tmp_path,
        base,
        *words,
        soon=lambda engine: visible(engine, {"app:1"}),
        after=lambda engine: again(engine, *words),
        points=8,
    )


def test_a_build_killed_at_any_step(tmp_path: Path) -> None:
    """The next one takes away what the other has left below the root, and makes the same."""
    place = tmp_path / "context"
    place.mkdir()
    (place / "file").write_text("f" * 100_000)
    (place / "Dockerfile").write_text(
        "FROM base:1 AS one\nCOPY file /one\nFROM base:1\nWORKDIR /made\nCOPY --from=one /one /two\nADD file /three\n"
    )

    def base(engine: Engine) -> None:
        engine.layers.ensure(image(engine.images, "base:1", [BASE]))

    words = ("pyctr", "build", "-q", "-t", "app:1", str(place))

    def once_more(engine: Engine) -> None:
        again(engine, *words)
        assert os.listdir(f"{engine.paths.build}/work") == []
        made = engine.images.resolve("app:1")
        engine.layers.ensure(made)
        read = stack.read([engine.layers.path(layer.diff_id) for layer in made.layers])
        sizes = {file.path: file.size for file in stack.contents(read, len(made.layers) - 1)}
        assert sizes["/two"] == sizes["/three"] == 100_000 and "/made" in sizes

    every_point(tmp_path, base, *words, soon=lambda engine: visible(engine, {"app:1"}), after=once_more, points=10)


def again(engine: Engine, *words: str) -> None:
    killed(Path(engine.paths.root).parent, 0, *words)
    assert engine.images.find("app:1")
