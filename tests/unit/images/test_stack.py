"""Layers as one tree of paths: who gave a file, who shadowed it, what is wasted, what two images have differently."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyctr.core.errors import UsageError
from pyctr.core.images import comparing, layerfiles, stack, tally, viewing, waste
from pyctr.core.images.layers import LayerStore
from pyctr.core.images.store import ImageStore
from pyctr.core.paths import Paths
from tests.support.images import Member, hardlink, image, member

DIRECTORIES = [member("etc/"), member("etc/nginx/")]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run"))


def unpacked(paths: Paths, *layers: list[Member]) -> list[str]:
    """Directories of an image's layers, bottom first."""
    store = LayerStore(paths)
    made = image(
        ImageStore(paths),
        f"i{len(layers)}:{abs(hash(str([[m[0].name for m in one] for one in layers])))}",
        list(layers),
    )
    store.ensure(made)
    return [store.path(layer.diff_id) for layer in made.layers]


def changed(read: stack.Stack, layer: int) -> dict[str, tuple[str, int, int]]:
    return {file.path: (file.change, file.size, file.was) for file in stack.changes(read, layer)}


def test_the_history_of_a_path_tells_who_gave_it_and_who_shadowed_it(paths: Paths) -> None:
    read = stack.read(
        unpacked(
            paths,
            [member("a", "1"), member("d/"), member("d/x", "22")],
            [member("a", "333")],
            [member(".wh.a"), member(".wh.d")],
            [member("a", "4444")],
        )
    )
    entry = read.find("/a")
    assert entry is not None
    assert [(file.layer, file.change, file.size, file.was) for file in entry.records] == [
        (0, "A", 1, 0),
        (1, "C", 3, 1),
        (2, "D", 0, 3),
        (3, "A", 4, 0),
    ]
    assert [entry.file(layer) is not None for layer in range(4)] == [True, True, False, True]
    below = read.find("d/x")
    assert below is not None and [(file.layer, file.change) for file in below.records] == [(0, "A"), (2, "D")]
    assert changed(read, 2) == {"/a": ("D", 0, 3), "/d": ("D", 0, 2)}  # what went with it is not told twice


def test_an_opaque_directory_deletes_what_it_does_not_bring_again(paths: Paths) -> None:
    read = stack.read(
        unpacked(
            paths,
            [
                member("d/"),
                member("d/old", "1"),
                member("d/both", "22"),
                member("d/s/"),
                member("d/s/x", "333"),
                member("d/s/y", "4"),
            ],
            [member("d/"), member("d/.wh..wh..opq"), member("d/both", "55555"), member("d/s/"), member("d/s/y", "6")],
        )
    )
    assert changed(read, 1) == {
        "/d": ("C", 0, 0),
        "/d/both": ("C", 5, 2),
        "/d/old": ("D", 0, 1),
        "/d/s": ("C", 0, 0),
        "/d/s/x": ("D", 0, 3),
        "/d/s/y": ("C", 1, 1),
    }
    assert [file.path for file in stack.contents(read, 1)] == ["/d", "/d/both", "/d/s", "/d/s/y"]


def test_a_file_in_place_of_a_directory_hides_all_of_it(paths: Paths) -> None:
    read = stack.read(unpacked(paths, [member("d/"), member("d/x", "1" * 7)], [member("d", "file")]))
    assert changed(read, 1) == {"/d": ("C", 4, 7)}
    assert [file.path for file in stack.contents(read, 1)] == ["/d"]
    assert [file.path for file in stack.contents(read, 0)] == ["/d", "/d/x"]


def test_a_hard_link_has_its_bytes_once(paths: Paths) -> None:
    read = stack.read(unpacked(paths, [member("b", "x" * 9), hardlink("a", "b"), hardlink("c", "b")]))
    assert [(file.path, file.size, file.link) for file in stack.contents(read, 0)] == [
        ("/a", 9, ""),
        ("/b", 0, "/a"),
        ("/c", 0, "/a"),
    ]


def test_waste_and_efficiency_are_those_of_dive(paths: Paths) -> None:
    """By hand: nginx.conf is 2000, then 5000; public 3000; athing 10000; then all of /etc/nginx, 8000, goes.

    Smallest of each path: 2000 + 3000 + 10000 + 8000 = 23000; all of them: 7000 + 3000 + 10000 + 8000 = 28000.
    """
    first = [*DIRECTORIES, member("etc/nginx/nginx.conf", "1" * 2000), member("etc/nginx/public", "2" * 3000)]
    second = [*DIRECTORIES, member("etc/nginx/nginx.conf", "3" * 5000), member("etc/athing", "4" * 10000)]
    read = stack.read(unpacked(paths, first, second, [member("etc/"), member("etc/.wh.nginx")]))
    measured = waste.measure(read, 2)
    assert measured.efficiency == 23000 / 28000
    assert [(lost.path, lost.size, lost.layers) for lost in measured.inefficient] == [
        ("/etc/nginx/nginx.conf", 7000, 2)
    ]
    assert measured.wasted == 7000
    # and what really cannot be seen any more
    assert measured.hidden_size == 2000 + 5000 + 3000
    assert waste.measure(read, 1).hidden_size == 2000
    # a deleted file counts as nothing: its path could have been saved as a whole
    read = stack.read(unpacked(paths, [member("f", "5" * 400), member("g", "6" * 600)], [member(".wh.f")]))
    assert waste.measure(read, 1).efficiency == 600 / 1000
    assert waste.measure(read, 0).efficiency == 1.0
    assert waste.measure(stack.Stack(), 0).efficiency == 1.0


def test_a_walk_looks_at_no_more_than_it_was_told_and_can_be_given_up(tmp_path: Path) -> None:
    for directory in range(50):
        (tmp_path / f"l/{directory}").mkdir(parents=True)
        for file in range(100):
            (tmp_path / f"l/{directory}/{file}").touch()
    (tmp_path / "up").mkdir()
    os.mknod(tmp_path / "up" / "0", 0o20000, 0) if os.geteuid() == 0 else (tmp_path / "up" / "0").touch()
    descriptors = len(os.listdir("/proc/self/fd"))
    read = stack.Stack([str(tmp_path / "l"), str(tmp_path / "up")])
    seen = 0
    while read.step(100):
        assert 0 < read.looked - seen <= 100 or read.looked >= 5050
        seen = read.looked
        if seen >= 2000:
            break
    assert 2000 <= read.looked <= 2100
    read.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert list(read.entries()) == []  # of a layer that was not read to its end nothing stays
    while read.step():
        pass
    assert len([1 for _ in read.entries()]) == 5050
    work = tally.count(read, 1, False)
    assert sum(1 for _ in work) == 2 * 5050


@pytest.mark.parametrize("root", [pytest.param(None, marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root"))])
def test_the_deletion_of_a_big_directory_is_not_one_step(paths: Paths, root: None) -> None:
    found = unpacked(paths, [member("d/"), *(member(f"d/{n}", "x") for n in range(3000))], [member(".wh.d")])
    read = stack.Stack(found)
    steps = 1
    while read.step(100):
        steps += 1
    assert steps >= 60  # 3000 entries read, 3000 deleted
    assert changed(read, 1) == {"/d": ("D", 0, 3000)}


def test_what_was_read_serves_the_layers_above_and_below(paths: Paths) -> None:
    found = unpacked(paths, [member("a", "1")], [member("b", "2")], [member(".wh.a")])
    read = stack.read(found[:2])
    assert read.serves(found) and read.serves(found[:1]) and not read.serves([found[0], found[2]])
    before = read.looked
    read.want(found)
    while read.step():
        pass
    assert read.looked == before + 1
    assert [file.path for file in stack.contents(read, 1)] == ["/a", "/b"]
    assert [file.path for file in stack.contents(read, 2)] == ["/b"]


def test_a_layer_that_grows_is_read_again_alone(paths: Paths, tmp_path: Path) -> None:
    [below] = unpacked(paths, [member("a", "1"), member("d/"), member("d/x", "2")])
    upper = tmp_path / "upper"
    (upper / "d").mkdir(parents=True)
    (upper / "a").write_text("22")
    (upper / "d" / "new").write_text("3")
    read = stack.read([below, str(upper)])
    assert changed(read, 1) == {"/a": ("C", 2, 1), "/d": ("C", 0, 0), "/d/new": ("A", 1, 0)}
    (upper / "d" / "new").unlink()
    (upper / "log").write_text("4444")
    before = read.looked
    read.want([below, str(upper)], again=True)
    while read.step():
        pass
    assert read.looked == before + 3
    assert changed(read, 1) == {"/a": ("C", 2, 1), "/d": ("C", 0, 0), "/log": ("A", 4, 0)}
    assert read.find("/d/new") is None


def test_a_directory_counts_what_is_below_it_by_kind(paths: Paths) -> None:
    found = unpacked(
        paths,
        [member("d/"), member("d/x", "1" * 10), member("d/y", "2" * 20), member("e/"), member("e/z", "3")],
        [member("d/"), member("d/x", "4" * 5), member("d/.wh.y"), member("d/new", "5" * 7)],
    )
    read = stack.read(found)
    for _ in tally.count(read, 1, False):
        pass
    d, e = read.root.children["d"], read.root.children["e"]
    assert tally.kind(d, 1, False) == ""  # only there to bring what is in it
    assert [tally.below(d, kind) for kind in (["A"], ["C"], ["D"], [""])] == [(1, 7), (1, 5), (1, 20), (0, 0)]
    assert tally.below(read.root, ["A", "C", "D"]) == (3, 32)
    assert tally.shown(e, [""]) and not tally.shown(e, ["A", "C", "D"])
    for _ in tally.count(read, 1, True):
        pass
    assert [tally.below(read.root, kind) for kind in (["A"], ["C"], ["D"], [""])] == [(2, 8), (1, 5), (1, 20), (0, 0)]


def test_two_images_differ_in_what_is_there_and_not_in_its_times(paths: Paths) -> None:
    base = [member("same", "1"), member("d/"), member("d/x", "2")]
    one = stack.read(
        unpacked(paths, base, [member("gone", "33"), member("moved", "44"), member("mode", "5", mode=0o600)])
    )
    later = [
        member("moved", "44", mtime=1_700_000_000),
        member("mode", "5", mode=0o644),
        member("d/.wh.x"),
        member("same", "9"),
        member("new", "666"),
    ]
    other = stack.read(unpacked(paths, base, later))
    found = [one_ for one_ in comparing.files(one, 1, other, 1) if one_ is not None]
    assert {difference.path: (difference.change, difference.grown) for difference in found} == {
        "/d/x": ("D", -1),
        "/gone": ("D", -2),
        "/mode": ("C", 0),
        "/new": ("A", 3),
        "/same": ("C", 0),
    }


def test_two_configurations_differ_by_variable_and_label(paths: Paths) -> None:
    store = ImageStore(paths)
    one = image(
        store, "one:1", [[member("a")]], config={"Env": ["PATH=/bin", "A=1"], "Labels": {"l": "x"}, "Cmd": ["a"]}
    )
    other = image(store, "two:1", [[member("a")], [member("b")]], config={"Env": ["PATH=/sbin", "B=2"], "Cmd": ["a"]})
    assert [tuple(setting) for setting in comparing.settings(one, other)] == [
        ("Env PATH", "/bin", "/sbin"),
        ("Env A", "1", ""),
        ("Label l", "x", ""),
        ("Env B", "", "2"),
    ]
    assert comparing.shared_layers(one, other) == 1


def test_a_file_is_shown_bounded_and_never_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("root only")
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "text").write_bytes(b"x" * 1000)
    (layer / "binary").write_bytes(b"\x7fELF\x00\x01")
    (layer / "link").symlink_to("../secret")
    (layer / "d").symlink_to("..")
    os.mkfifo(layer / "fifo")
    assert viewing.view(str(layer), "/text", 100) == (b"x" * 100, 1000, False)
    assert viewing.view(str(layer), "/binary").binary
    assert viewing.hexdump(b"\x7fELF")[0] == "00000000  7f 45 4c 46" + " " * 39 + "|.ELF|"
    for path in ("/link", "/fifo", "/"):
        with pytest.raises((OSError, UsageError)):
            viewing.view(str(layer), path)
    with pytest.raises(OSError):
        viewing.view(str(layer), "/d/secret")
    with pytest.raises(OSError):
        viewing.view(str(layer), "/../secret")


def test_a_link_to_a_directory_is_not_followed_by_the_walk(tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / "loop").symlink_to(".")
    assert [(file.path, file.link) for file in layerfiles.walk(str(tmp_path / "l"))] == [("/loop", ".")]
