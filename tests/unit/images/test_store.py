"""The store: what is in it is found by any name people use, and nothing is lost or left over."""

import gzip
import json
import multiprocessing
import os
from pathlib import Path

import pytest

from pyctr.core.errors import Ambiguous, Conflict, ImageNotFound, StorageError, UsageError
from pyctr.core.images.layers import LayerStore
from pyctr.core.images.model import INDEX, timestamp
from pyctr.core.images.store import ImageStore
from pyctr.core.paths import Paths
from tests.support.images import archive, digest, image, member


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")))


def blobs(store: ImageStore) -> set[str]:
    return set(os.listdir(store.blobs.directory))


def container(store: ImageStore, name: str, **state: object) -> None:
    os.makedirs(store.paths.container(name))
    Path(store.paths.container(name, "state.json")).write_text(json.dumps({"id": name, "name": name, **state}))


def test_an_image_that_is_there_already_changes_no_file(store: ImageStore) -> None:
    made = image(store, "one:1", [[member("f", "x")]])
    index = f"{store.root}/index.json"
    before = os.stat(index).st_ino
    store.add(store.manifest(made.digest), "one:1")
    assert os.stat(index).st_ino == before
    store.add(store.manifest(made.digest), "two:1")
    assert os.stat(index).st_ino != before


def test_an_image_is_found_by_all_its_spellings(store: ImageStore) -> None:
    made = image(store, "acme/api:2.4", [[member("a", "a")]])
    spellings = ["acme/api:2.4", "docker.io/acme/api:2.4", "index.docker.io/acme/api:2.4", f"acme/api@{made.digest}"]
    spellings += [made.id, made.id[7:], made.short_id, made.id[7:11], made.digest]
    for text in spellings:
        assert store.resolve(text) == made, text
    assert made.names == ["docker.io/acme/api:2.4"] and made.familiar == "acme/api:2.4"
    assert made.created == timestamp("2024-02-29T12:30:15.25Z") == 1709209815.25
    for text in ("acme/api", "api:2.4", f"other@{made.digest}"):
        with pytest.raises(ImageNotFound):
            store.resolve(text)


def test_a_short_name_prefers_docker_hub_and_falls_back_to_this_host(store: ImageStore) -> None:
    local = image(store, "localhost/tool:1", [[member("a", "local")]])
    assert store.resolve("tool:1").id == local.id
    hub = image(store, "tool:1", [[member("a", "hub")]])
    assert store.resolve("tool:1").id == hub.id
    assert store.resolve("localhost/tool:1").id == local.id


def test_an_unknown_image_suggests_near_names(store: ImageStore) -> None:
    image(store, "docker.io/library/alpine:3.20", [[]])
    with pytest.raises(ImageNotFound, match=r"no image 'alpne:3\.20'") as caught:
        store.resolve("alpne:3.20")
    assert "alpine:3.20" in caught.value.hint
    with pytest.raises(UsageError):
        store.resolve("No Such")


def test_an_ambiguous_id_lists_the_candidates(store: ImageStore) -> None:
    made = [image(store, f"many:{n}", [[member("a", str(n))]]) for n in range(40)]
    by_first: dict[str, list[str]] = {}
    for one in made:
        by_first.setdefault(one.short_id[0], []).append(one.short_id)
    first, group = max(by_first.items(), key=lambda item: len(item[1]))
    with pytest.raises(Ambiguous) as caught:
        store.resolve(first)
    assert all(short in str(caught.value) for short in group)


def test_a_moved_tag_leaves_its_old_image_dangling(store: ImageStore) -> None:
    old = image(store, "app:latest", [[member("a", "1")]])
    new = image(store, "app:latest", [[member("a", "2")]])
    assert store.resolve("app").id == new.id
    assert [one.names for one in store.list() if one.id == old.id] == [[]]
    assert store.resolve(old.short_id).id == old.id


def test_tags_share_an_image_and_the_last_name_takes_it_along(store: ImageStore) -> None:
    made = image(store, "app:1", [[member("a", "1")]])
    store.tag("app:1", "app:stable")
    assert store.resolve(made.short_id).names == ["docker.io/library/app:1", "docker.io/library/app:stable"]
    assert len(store.list()) == 1
    assert store.remove("app:1") == [("untagged", "app:1")]
    assert store.resolve("app:stable").id == made.id
    done = store.remove("app:stable")
    assert done[0] == ("untagged", "app:stable") and {what for what, _ in done[1:]} == {"deleted"}
    assert store.list() == [] and blobs(store) == set()


def test_an_id_with_several_names_is_removed_only_by_force(store: ImageStore) -> None:
    made = image(store, "app:1", [[member("a", "1")]])
    store.tag("app:1", "app:2")
    with pytest.raises(Conflict, match="app:1"):
        store.remove(made.short_id)
    assert [what for what, _ in store.remove(made.short_id, force=True)][:2] == ["untagged", "untagged"]
    assert blobs(store) == set()


def test_shared_layers_stay_while_another_image_has_them(store: ImageStore) -> None:
    base = [member("base", "x")]
    first = image(store, "first", [base, [member("a", "1")]])
    second = image(store, "second", [base, [member("a", "2")]])
    layers = LayerStore(store.paths)
    layers.ensure(first)
    layers.ensure(second)
    assert len(layers.all()) == 3
    store.remove("first")
    assert {layer.digest[7:] for layer in second.layers} <= blobs(store)
    assert sorted(layers.all()) == sorted(layer.diff_id for layer in second.layers)
    assert layers.ensure(second)


def test_an_image_in_use_is_kept_and_its_containers_are_named(store: ImageStore) -> None:
    made = image(store, "app", [[member("a", "1")]])
    lower = LayerStore(store.paths).ensure(made)
    container(store, "web", image_id=made.id, rootfs={"lower": lower})
    with pytest.raises(Conflict, match="web") as caught:
        store.remove("app")
    assert caught.value.hint == "pyctr rm web"
    store.remove("app", force=True)
    assert store.list() == []
    assert os.path.exists(f"{lower[0]}/a"), "the running container still needs its files"
    os.unlink(store.paths.container("web", "state.json"))
    store.collect()
    assert LayerStore(store.paths).all() == []


def test_nothing_is_collected_while_an_image_is_being_added(store: ImageStore) -> None:
    with store.adding():
        blob = store.blobs.add(b"a layer no manifest names yet")
        assert store.collect() == []
        assert store.blobs.has(blob)
    assert store.collect() == [blob]


def test_a_manifest_without_its_blobs_is_refused(store: ImageStore) -> None:
    missing = "sha256:" + "0" * 64
    with pytest.raises(StorageError, match="missing"):
        store.add({"schemaVersion": 2, "config": {"digest": missing}, "layers": []}, "app")
    assert store.find("app") is None


def test_a_broken_image_does_not_hide_the_others(store: ImageStore) -> None:
    good = image(store, "good", [[member("a", "1")]])
    bad = image(store, "bad", [[member("a", "2")]])
    os.unlink(store.blobs.path(bad.id))
    assert store.list() == [good]
    [(name, reason)] = store.broken()
    assert "bad" in name and "missing" in reason
    with pytest.raises(StorageError, match="missing"):
        store.resolve("bad")


def test_an_image_for_several_platforms_resolves_to_this_one(store: ImageStore) -> None:
    other = image(store, "", [[member("a", "s390")]], architecture="s390x")
    mine = image(store, "", [[member("a", "mine")]])
    entries = [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": one.digest, "size": 1}
        | {"platform": {"os": "linux", "architecture": one.architecture}}
        for one in (other, mine)
    ]
    store.add({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, "multi:1")
    assert store.resolve("multi:1").id == mine.id
    store.tag("multi:1", "multi:2")
    assert store.resolve("multi:2").names == ["docker.io/library/multi:1", "docker.io/library/multi:2"]


def test_index_json_that_is_damaged_is_named(store: ImageStore) -> None:
    image(store, "app", [[]])
    Path(store.root, "index.json").write_text('{"manifests": [')
    with pytest.raises(StorageError, match=r"index\.json"):
        store.list()


def test_digests_cannot_be_paths(store: ImageStore) -> None:
    for text in ("sha256:../../../etc/passwd", "sha256:" + "z" * 64, "../x", "md5:" + "0" * 32):
        with pytest.raises(StorageError):
            store.blobs.path(text)


def test_half_written_blobs_vanish(store: ImageStore) -> None:
    with store.blobs.writer() as writer:
        writer.write(b"half")
    assert os.listdir(store.blobs.ingest) == [] and blobs(store) == set()
    Path(store.blobs.ingest, "999.1").write_bytes(b"of a writer that died")
    with store.blobs.writer() as writer:
        writer.write(b"whole")
        store.blobs.sweep()
        assert len(os.listdir(store.blobs.ingest)) == 1, "only the dead one's"
        assert writer.commit() == digest(b"whole")


def test_a_blob_with_another_digest_is_refused(store: ImageStore) -> None:
    with pytest.raises(StorageError, match="not 'sha256:0"), store.blobs.writer() as writer:
        writer.write(b"data")
        writer.commit("sha256:" + "0" * 64)
    assert blobs(store) == set()


def _add(paths: Paths, number: int) -> None:
    image(ImageStore(paths), f"app:{number}", [[member("same", "x")], [member("own", str(number))]])


def test_many_clients_add_images_at_once_and_none_is_lost(store: ImageStore) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add, args=(store.paths, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert {one.names[0] for one in store.list()} == {f"docker.io/library/app:{n}" for n in range(4)}


def test_directories_are_closed_to_others(store: ImageStore) -> None:
    LayerStore(store.paths).ensure(image(store, "app", [[member("a", "1")]]))
    for path in (store.root, store.blobs.directory, store.paths.layers, store.paths.root):
        assert os.stat(path).st_mode & 0o777 == 0o700, path


def test_a_layer_that_is_not_what_it_says_is_refused_and_leaves_nothing(store: ImageStore) -> None:
    made = image(store, "app", [[member("a", "1")], [member("b", "2")]])
    layers = LayerStore(store.paths)
    Path(store.blobs.path(made.layers[1].digest)).write_bytes(gzip.compress(archive([member("b", "evil")])))
    with pytest.raises(StorageError, match="really is"):
        layers.ensure(made)
    assert layers.all() == [made.layers[0].diff_id]
    assert [name for name in os.listdir(layers.root) if name.endswith((".tmp", ".lock"))] == []
    assert layers.lower(made) is None


def test_a_cut_off_unpacking_is_done_again(store: ImageStore) -> None:
    made = image(store, "app", [[member("a", "1")]])
    layers = LayerStore(store.paths)
    name = made.layers[0].diff_id[7:]
    os.makedirs(f"{layers.root}/{name}.tmp/diff/half")
    os.makedirs(f"{layers.root}/{'0' * 64}.tmp/diff")
    [lower] = layers.ensure(made)
    assert os.listdir(lower) == ["a"]
    assert [name for name in os.listdir(layers.root) if name.endswith((".tmp", ".lock"))] == []


def test_a_layer_that_was_not_on_disk_for_sure_is_unpacked_again_after_a_crash(store: ImageStore) -> None:
    made = image(store, "app", [[member("a", "1")]])
    layers = LayerStore(store.paths)
    [lower] = layers.ensure(made)
    directory = Path(layers.path(made.layers[0].diff_id)).parent
    Path(lower, "a").write_text("")
    os.unlink(lower)
    document = json.loads((directory / "layer.json").read_text())
    (directory / "layer.json").write_text(json.dumps({**document, "boot": "another"}))
    assert Path(layers.ensure(made)[0], "a").read_text() == "1"


def test_short_names_that_collide_get_longer(store: ImageStore) -> None:
    made = image(store, "app", [[member("a", "1")]])
    layers = LayerStore(store.paths)
    os.makedirs(layers.links)
    short = made.layers[0].diff_id[7:13]
    os.symlink(f"../{short}{'0' * 58}/diff", f"{layers.links}/{short}")
    [lower] = layers.ensure(made)
    assert os.path.basename(lower) == made.layers[0].diff_id[7:14]
    assert os.listdir(lower) == ["a"]
    assert layers.ensure(made) == [lower]


def test_a_warm_lookup_unpacks_and_opens_nothing(store: ImageStore) -> None:
    made = image(store, "app", [[member("a", "1")], [member("b", "2")]])
    layers = LayerStore(store.paths)
    first = layers.ensure(made)
    for layer in made.layers:
        os.unlink(store.blobs.path(layer.digest))
    assert layers.ensure(made) == first


def test_a_layer_that_hides_everything_ends_the_stack(store: ImageStore) -> None:
    made = image(
        store, "app", [[member("old", "1")], [member(".wh..wh..opq"), member("new", "2")], [member("top", "")]]
    )
    stack = LayerStore(store.paths).ensure(made)
    assert [sorted(os.listdir(path)) for path in stack] == [["top"], ["new"]]


def test_the_same_layer_twice_is_stacked_once(store: ImageStore) -> None:
    made = image(store, "app", [[member("a", "1")], [member("b", "1")], [member("a", "1")]])
    stack = LayerStore(store.paths).ensure(made)
    assert [os.listdir(path) for path in stack] == [["a"], ["b"]]
