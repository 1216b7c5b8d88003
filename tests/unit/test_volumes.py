import json
import os
from pathlib import Path

import pytest

from pyctr.core import prune
from pyctr.core.engine import Engine
from pyctr.core.errors import Conflict, NotFound, UsageError
from pyctr.core.paths import Paths
from pyctr.core.volumes import Volumes


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return Volumes(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")))


def layer(path: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return str(path)


def container(store: Volumes, name: str, **state: object) -> Path:
    directory = Path(store.paths.container(name))
    directory.mkdir(parents=True)
    (directory / "state.json").write_text(json.dumps({"id": name, "name": name, "spec": {}, **state}))
    return directory


def pruned(store: Volumes, everything: bool = False) -> list[tuple[str, int]]:
    """What `volume prune` removed, with the bytes it had told before."""
    engine = Engine(store.paths)
    plan = prune.Plan(volumes=prune.idle_volumes(engine, everything, set()))
    told: list[str] = []
    prune.carry_out(engine, plan, lambda kind, name: told.append(name))
    return [(volume.name, size) for volume, size in plan.volumes if volume.name in told]


def test_a_volume_keeps_its_record_and_is_private_to_the_store(volumes: Volumes) -> None:
    made = volumes.create("data", labels={"app": "db"})
    assert Path(made.path).is_dir()
    assert os.stat(volumes.root).st_mode & 0o777 == 0o700
    again = volumes.get("data")
    assert (again.labels, again.anonymous, again.created_at) == ({"app": "db"}, False, made.created_at)
    assert volumes.create("data") == again


def test_anonymous_volumes_have_names_of_their_own(volumes: Volumes) -> None:
    first, second = volumes.ensure(), volumes.ensure("")
    assert first.name != second.name and first.anonymous
    assert [volume.name for volume in volumes.list()] == sorted([first.name, second.name])


@pytest.mark.parametrize("name", ["..", "../x", "a/b", ".hidden", "-x", "a b", "a\n", "ä", "x" * 300])
def test_names_cannot_leave_the_directory(volumes: Volumes, name: str) -> None:
    for action in (volumes.create, volumes.get, volumes.remove, volumes.ensure):
        with pytest.raises(UsageError):
            action(name)


def test_unknown_names_suggest_near_ones(volumes: Volumes) -> None:
    volumes.create("pgdata")
    with pytest.raises(NotFound) as caught:
        volumes.get("pgdat")
    assert "pgdata" in caught.value.hint


def test_a_used_volume_is_not_removed_and_its_user_is_named(volumes: Volumes) -> None:
    volume = volumes.create("data")
    container(volumes, "db", volumes={"/var/lib/db": volume.path})
    with pytest.raises(Conflict, match="db"):
        volumes.remove("data")
    assert pruned(volumes, everything=True) == []
    os.unlink(volumes.paths.container("db", "state.json"))
    volumes.remove("data")
    assert os.listdir(volumes.root) == []


def test_a_container_being_removed_does_not_hold_its_volume(volumes: Volumes) -> None:
    volume = volumes.ensure()
    container(volumes, "web", volumes={"/data": volume.path}, anonymous=[volume.name], removing=True)
    volumes.remove(volume.name)
    assert volumes.list() == []


def test_prune_takes_anonymous_volumes_and_tells_what_it_freed(volumes: Volumes) -> None:
    anonymous, named = volumes.ensure(), volumes.create("named")
    Path(anonymous.path, "file").write_bytes(bytes(100_000))
    [(name, freed)] = pruned(volumes)
    assert name == anonymous.name and freed >= 100_000
    assert [volume.name for volume in volumes.list()] == [named.name]
    assert [name for name, _ in pruned(volumes, everything=True)] == ["named"]


def test_an_empty_volume_gets_the_images_files_once(volumes: Volumes, tmp_path: Path) -> None:
    top = layer(tmp_path / "top", {"srv/data/new": "top"})
    bottom = layer(tmp_path / "bottom", {"srv/data/old": "bottom", "srv/data/new": "hidden"})
    os.symlink("../srv", tmp_path / "bottom" / "var")
    os.chmod(tmp_path / "top/srv/data", 0o750)
    volume = volumes.create("data")
    assert volumes.populate(volume, [top, bottom], "/var/data")
    assert {name: Path(volume.path, name).read_text() for name in os.listdir(volume.path)} == {
        "new": "top",
        "old": "bottom",
    }
    assert os.stat(volume.path).st_mode & 0o777 == 0o750
    os.unlink(f"{volume.path}/old")
    assert not volumes.populate(volume, [top, bottom], "/var/data")
    assert os.listdir(volume.path) == ["new"]


def test_a_fill_that_was_cut_off_is_done_again(volumes: Volumes, tmp_path: Path) -> None:
    below = layer(tmp_path / "layer", {"data/a": "a", "data/b": "b"})
    volume = volumes.create("data")
    Path(volume.path, "a").write_text("half")
    Path(volumes.root, "data", "filling").touch()
    assert volumes.populate(volume, [below], "/data")
    assert Path(volume.path, "a").read_text() == "a" and Path(volume.path, "b").exists()


def test_a_symlink_in_the_image_cannot_pull_host_files_into_a_volume(volumes: Volumes, tmp_path: Path) -> None:
    below = layer(tmp_path / "layer", {"x": ""})
    os.symlink("/etc", tmp_path / "layer" / "data")
    os.symlink("../../../../../../etc", tmp_path / "layer" / "up")
    volume = volumes.create("data")
    assert not volumes.populate(volume, [below], "/data")
    assert not volumes.populate(volume, [below], "/up")
    assert os.listdir(volume.path) == []


def test_a_directory_elsewhere_can_be_a_volume(volumes: Volumes, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    options = {"type": "none", "o": "bind", "device": str(tmp_path / "mine")}
    assert volumes.create("mine", driver_opts=options).path == str(tmp_path / "mine")
    volumes.remove("mine")
    assert (tmp_path / "mine" / "file").exists()
    with pytest.raises(UsageError, match="type=nfs"):
        volumes.create("far", driver_opts={"type": "nfs"})


def test_leftovers_of_a_dead_pyctr_are_swept(volumes: Volumes) -> None:
    volumes.create("data")
    os.mkdir(f"{volumes.root}/.data.999999999")
    pruned(volumes)
    assert os.listdir(volumes.root) == ["data"]
