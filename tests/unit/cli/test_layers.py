"""`pyctr image tree|files|which|compare` on a real store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyctr.cli import main
from tests.support.images import image, member, symlink

BASE = [member("etc/"), member("etc/motd", "hello"), member("lib/"), member("lib/big", "x" * 5000)]
TOP = [
    member("etc/"),
    member("etc/motd", "good day"),
    member("lib/"),
    member("lib/.wh.big"),
    symlink("l", "/etc\x1b[31m"),
]


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from pyctr.core.images.store import ImageStore
    from pyctr.core.paths import Paths

    monkeypatch.setenv("PYCTR_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("PYCTR_RUNROOT", str(tmp_path / "run"))
    store = ImageStore(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")))
    image(store, "acme/base:1", [BASE], config={"Env": ["A=1"]})
    image(store, "acme/api:1", [BASE, TOP], config={"Env": ["A=2"]})
    return tmp_path


def out(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    capsys.readouterr()
    assert main.main(["image", *words]) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_the_tree_shares_what_images_share(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out(capsys, "files", "acme/api:1")  # unpacks: sizes are those of files from now on
    lines = out(capsys, "tree")
    assert [line.rpartition(" ")[0] for line in lines[:5]] == [
        "LAYERS, IMAGES, CONTAINERS SIZE SHARED",
        "COPY layer 0 +5kB x2",
        "├─ image acme/base:1 5kB unused",
        "└─ COPY layer 1 +8B x1",
        "└─ image acme/api:1 5.01kB unused",
    ]
    assert lines[-1] == "5.01kB of layers, 5kB saved by sharing"


def test_an_image_tells_its_waste(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "tree", "acme/api:1")
    assert not [line for line in lines if "acme/base" in line]
    # dive: motd 5 and 8, smallest 5; big 5000 and 0, smallest 0; the link is 0
    assert f"efficiency {100 * 5 / 5013:.1f} %, as dive counts it" in lines
    assert "5kB in 2 files are hidden by later layers" in lines
    [document] = [json.loads(line) for line in out(capsys, "tree", "acme/api:1", "--format", "json")]
    assert document["waste"]["hidden"] == 5005 and document["waste"]["wasted"] == 5013
    assert document["children"][0]["children"][0]["names"] == ["docker.io/acme/api:1"]


def test_files_of_an_image_and_of_one_layer(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.split()[-1] for line in out(capsys, "files", "acme/api:1", "/etc")] == ["/etc/", "/etc/motd"]
    lines = out(capsys, "files", "acme/api:1", "--layer", "2")
    owner = lines[0].split()[2]
    assert lines == [
        f"~ -rw-r--r-- {owner} 8B /etc/motd (was 5B)",
        f"+ lrwxrwxrwx {owner} /l -> /etc\\x1b[31m",
        "- 5kB /lib/big",
    ]
    documents = [json.loads(line) for line in out(capsys, "files", "acme/api:1", "-l", "2", "--format", "json", "etc")]
    assert [(one["path"], one["change"], one["was"]) for one in documents] == [("/etc/motd", "C", 5)]


def test_which_layer_gave_a_file_and_who_shadowed_it(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "which", "acme/api:1", "etc/motd")
    assert lines[1].startswith("1 of 2 added 5B") and lines[1].endswith("COPY layer 0")
    assert lines[2].startswith("2 of 2 changed, this is what is seen 8B")
    assert out(capsys, "which", "acme/api:1", "/lib/big")[-1].startswith("2 of 2 deleted")


def test_two_images_compared(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "compare", "acme/base:1", "acme/api:1") == [
        "~ 5B -> 8B /etc/motd",
        "+ /l",
        "- 5kB /lib/big",
        "~ Env A: 1 -> 2",
        "1 added, 1 changed (+3B), 1 deleted (-5kB); 1 setting differs",
        "1 of 1 and 2 layers are the same",
    ]
    assert out(capsys, "compare", "acme/api:1", "acme/api:1")[0] == "0 added, 0 changed, 0 deleted; 0 settings differ"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tree", "acme/nosuch"), "no image 'acme/nosuch'"),
        (("files", "acme/api:1", "--layer", "3"), "image 'acme/api:1' has no layer 3"),
        (("files", "acme/api:1", "--layer", "zz"), "image 'acme/api:1' has no layer 'zz'"),
        (("files", "acme/api:1", "--layer", ":"), "image 'acme/api:1' has no layer ':'"),
        (("files", "acme/api:1", "/nope"), "image 'acme/api:1' has no '/nope'"),
        (("which", "acme/api:1", "/nope"), "no layer of image 'acme/api:1' has '/nope'"),
        (("compare", "acme/api:1"), "needs an IMAGE"),
    ],
)
def test_what_is_not_there_is_one_clear_line(
    roots: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    capsys.readouterr()
    assert main.main(["image", *words]) != 0
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err.splitlines()[0]
    assert len(shown.err.splitlines()) <= 2
