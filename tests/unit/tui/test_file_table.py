"""Files of a layer as a tree that folds, a file as lines, two images as lines, and the thread that reads layers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pyctr.core.images import stack, tally
from pyctr.core.images.layerfiles import ADDED, CHANGED, DELETED, SAME
from pyctr.core.images.viewing import View
from pyctr.tui import file_table, fileview
from pyctr.tui import format as f
from pyctr.tui.file_table import Wish
from pyctr.tui.format import Glyphs
from pyctr.tui.layerreader import Read, Reader, Wanted
from pyctr.tui.table import Layout, Look

LOOK = Look(Glyphs())
DEFAULT = frozenset({ADDED, CHANGED, DELETED})


@pytest.fixture
def layers(tmp_path: Path) -> list[str]:
    """Two directories that stand for layers."""
    for path, size in (("one/usr/lib/a", 2048), ("one/usr/lib/b", 512), ("one/etc/motd", 10), ("one/etc/x\x1b[31m", 1)):
        file(tmp_path / path, size)
    for path, size in (("two/usr/lib/b", 1024), ("two/usr/share/doc/deep/c", 4096), ("two/opt/d", 1)):
        file(tmp_path / path, size)
    (tmp_path / "two/opt/link").symlink_to("/etc\x1b[31m")
    return [str(tmp_path / "one"), str(tmp_path / "two")]


def file(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def counted(layers: list[str], layer: int, whole: bool = False) -> stack.Stack:
    read = stack.read(layers)
    for _ in tally.count(read, layer, whole):
        pass
    return read


def drawn(read: stack.Stack, wish: Wish, opened: set[str] | None = None, width: int = 60) -> list[str]:
    layout = Layout(file_table.columns(width, LOOK), width)
    rows = file_table.rows(read, wish, file_table.first_open(read, wish) if opened is None else opened)
    lines = [f.plain(layout.line(layout.cells(row, LOOK))) for row in rows]
    assert all(f.width(line) <= width for line in lines)
    return [" ".join(line.split()) for line in lines]


def test_what_a_layer_does_stands_below_its_directories_with_signs_and_sums(layers: list[str]) -> None:
    assert drawn(counted(layers, 1), Wish(1, False, DEFAULT)) == [
        "▾ + opt/ 2 files 1",
        "+ d 1",
        "+ link → /etc␛[31m",
        "▾ usr/ 2 files 5.0k",
        "▾ lib/ 1 file 1.0k",
        "~ b was 512 1.0k",
        "▾ + share/doc/deep/ 1 file 4.0k",
        "+ c 4.0k",
    ]


def test_kinds_are_chosen_as_a_filter(layers: list[str]) -> None:
    read = counted(layers, 1)
    assert drawn(read, Wish(1, False, frozenset({CHANGED}))) == ["▾ usr/lib/ 1 file 1.0k", "~ b was 512 1.0k"]
    assert drawn(read, Wish(1, False, frozenset())) == []
    same = drawn(read, Wish(1, False, frozenset({SAME})))
    assert "a 2.0k" in same and "~ b was 512 1.0k" not in same


def test_all_layers_together_are_what_the_image_has(layers: list[str]) -> None:
    read = counted(layers, 1, whole=True)
    lines = drawn(read, Wish(1, True, frozenset({ADDED, CHANGED})))
    assert "+ motd 10" in lines and "~ b was 512 1.0k" in lines and "+ c 4.0k" in lines


def test_only_what_is_open_is_shown_and_the_biggest_can_be_first(layers: list[str]) -> None:
    read = counted(layers, 1)
    assert drawn(read, Wish(1, False, DEFAULT), set()) == ["▸ + opt/ 2 files 1", "▸ usr/ 2 files 5.0k"]
    assert drawn(read, Wish(1, False, DEFAULT, by_size=True), set()) == ["▸ usr/ 2 files 5.0k", "▸ + opt/ 2 files 1"]


def test_paths_that_were_found_are_shown_alone(layers: list[str]) -> None:
    wish = Wish(1, False, DEFAULT, only=frozenset({"/usr/lib/b"}))
    assert [line.split()[-1] for line in drawn(counted(layers, 1), wish)] == ["1.0k", "1.0k"]
    assert drawn(counted(layers, 1), wish)[-1] == "~ b was 512 1.0k"


def test_a_crowded_directory_begins_closed(tmp_path: Path) -> None:
    for number in range(100):
        file(tmp_path / f"l/bin/tool-{number}", 1)
    assert drawn(counted([str(tmp_path / "l")], 0), Wish(0, False, DEFAULT)) == ["▸ + bin/ 100 files 100"]


class Counted(dict[str, stack.Entry]):
    """Children of an entry that tell how many of them were looked at."""

    looked = 0

    def items(self):  # type: ignore[no-untyped-def]
        for pair in super().items():
            Counted.looked += 1
            yield pair


def test_a_closed_directory_costs_the_same_whatever_is_in_it(tmp_path: Path) -> None:
    for number in range(3000):
        file(tmp_path / f"l/bin/tool-{number}", 1)
    read = counted([str(tmp_path / "l")], 0)
    crowd = read.root.children["bin"]
    crowd.children = Counted(crowd.children)
    wish = Wish(0, False, DEFAULT)
    assert len(file_table.rows(read, wish, file_table.first_open(read, wish))) == 1
    assert Counted.looked < 100
    assert len(file_table.rows(read, wish, {"/bin"})) == 3001


def test_a_path_tells_who_gave_and_who_changed_it(layers: list[str]) -> None:
    read = counted(layers, 1)
    wish = Wish(1, False, DEFAULT)
    row = next(row for row in file_table.rows(read, wish, file_table.first_open(read, wish)) if row.name == "b")
    assert (
        f.plain(file_table.story(row, ["ADD base", "RUN make"], 60, LOOK)) == "from 1 ADD base · changed by 2 RUN make"
    )


def test_a_file_is_shown_with_its_escapes_made_harmless() -> None:
    lines = fileview.lines(View(b"one\x1b]0;title\x07\ntwo\r\n\xff", 30, False))
    assert [f.plain(line) for line in lines] == ["1 one␛]0;title␇", "2 two", "3 \ufffd"]
    assert fileview.about(View(b"abc", 30, False)) == "text, the first 3 of 30"
    assert f.plain(fileview.lines(View(b"\x7fELF\x00", 5, True))[0]).startswith("00000000  7f 45 4c 46 00")


def test_the_reader_gives_up_what_is_no_longer_wished_for_and_reads_nothing_twice(layers: list[str]) -> None:
    answers: list[Read] = []
    came = threading.Event()

    def told(read: Read) -> None:
        if read.done:
            answers.append(read)
            came.set()

    reader = Reader(told)

    def ask(key: str, *directories: str) -> Read:
        came.clear()
        reader.want(Wanted(key, directories, False))
        assert came.wait(20)
        return answers[-1]

    first = ask("both", *layers)
    assert first.looked > 0 and first.stack is not None and first.waste is not None
    assert ask("below", layers[0]).looked == 0
    assert ask("both again", *layers).stack is first.stack
    assert reader.idle
    # the lock holds the thread before its first step, so that the second wish always comes in time
    answers.clear()
    came.clear()
    with reader._lock:
        reader._busy = True
        reader._wanted = Wanted("old", (layers[1],), False)
        thread = threading.Thread(target=reader._run)
        thread.start()
    reader.want(Wanted("new", (layers[0],), False))
    assert came.wait(20)
    thread.join(20)
    assert answers[-1].key == "new"


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    answers: list[Read] = []
    came = threading.Event()

    def told(read: Read) -> None:
        answers.append(read)
        came.set()

    Reader(told).want(Wanted("gone", (str(tmp_path / "nothing"),), False))
    assert came.wait(20)
    assert answers[-1].done and "no such file" in answers[-1].problem
