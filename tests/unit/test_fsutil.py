"""Files are replaced whole, locks guard what they say, trees go without following links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyctr.core import fsutil


@pytest.mark.parametrize("how", [{}, {"durable": False}, {"durable": False, "throwaway": True}])
def test_a_file_is_replaced_whole(tmp_path: Path, how: dict) -> None:
    path = str(tmp_path / "a")
    for content in (b"one", b"two", b""):
        fsutil.write_atomic(path, content, **how)
        with open(path, "rb") as file:
            assert file.read() == content
    assert os.listdir(tmp_path) == ["a"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError):
        fsutil.write_atomic(str(tmp_path / "a"), b"x")
    assert os.listdir(tmp_path) == ["a"]


def test_removing_a_tree_leaves_what_links_point_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").write_text("x")
    (tree / "link").symlink_to(outside)
    (tree / "sub" / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "fifo")
    fsutil.remove_tree(str(tree))
    assert sorted(os.listdir(tmp_path)) == ["outside"] and (outside / "kept").exists()
    fsutil.remove_tree(str(tree))
    fsutil.remove_tree(str(tmp_path / "no" / "such"))


def test_a_link_is_removed_itself(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    fsutil.remove_tree(str(tmp_path / "link"))
    assert os.listdir(tmp_path) == ["target"]


def test_a_lock_on_a_removed_file_guards_nothing_and_is_not_given(tmp_path: Path) -> None:
    path = tmp_path / "dir" / "lock"
    path.parent.mkdir()
    with fsutil.Lock(str(path)):
        assert not fsutil.Lock(str(path)).try_acquire()
        fsutil.remove_tree(str(path.parent))
    with pytest.raises(FileNotFoundError), fsutil.Lock(str(path)):
        pass


def test_a_child_that_inherits_the_descriptor_keeps_the_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    lock = fsutil.Lock(path)
    assert lock.try_acquire()
    copy = os.dup(lock.fd)
    lock.release()
    assert not fsutil.Lock(path).try_acquire()
    os.close(copy)
    again = fsutil.Lock(path)
    assert again.try_acquire()
    again.release()


def test_a_file_that_is_made_while_its_directory_is_removed_goes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "lock").touch()
    rmdir, late = os.rmdir, iter((True, True))

    def meanwhile(name: str, **where: int) -> None:
        if next(late, False):
            (tree / "lock").touch()
        rmdir(name, **where)

    monkeypatch.setattr(os, "rmdir", meanwhile)
    fsutil.remove_tree(str(tree))
    assert not tree.exists()
