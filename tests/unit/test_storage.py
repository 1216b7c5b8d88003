"""The writable layer as data, the merged view, and the plain-copy driver. Real overlay mounts: tests/kernel."""

import os
import stat
from pathlib import Path

import pytest

from pyctr.core.errors import PyctrError, StorageError
from pyctr.core.fsutil import write_json
from pyctr.core.images.layers import LayerStore
from pyctr.core.images.model import Image
from pyctr.core.images.store import ImageStore
from pyctr.core.paths import Paths
from pyctr.core.storage import MOUNT_POINTS, Storage
from pyctr.core.storageprobe import sweep
from tests.support.images import hardlink, image, member, symlink

LAYERS = [
    [
        *(
            member("etc/"),
            member("etc/passwd", "root"),
            member("etc/motd", "hello"),
            member("var/"),
            member("var/old", "o"),
        ),
        *(member("bin/"), member("bin/sh", "#!", mode=0o755), hardlink("bin/ash", "bin/sh"), symlink("sbin", "bin")),
    ],
    [member("etc/"), member("etc/.wh.motd"), member("var/"), member("var/.wh..wh..opq"), member("var/new", "n")],
]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run"))


@pytest.fixture
def made(paths: Paths) -> Image:
    return image(ImageStore(paths), "app", LAYERS)


def storage(paths: Paths, driver: str) -> Storage:
    return Storage(paths, LayerStore(paths), driver)


def record(paths: Paths, id: str, rootfs: dict[str, object]) -> None:
    write_json(paths.container(id, "state.json"), {"id": id, "name": id, "rootfs": rootfs})


def test_an_overlay_is_described_topmost_first_with_short_paths(paths: Paths, made: Image) -> None:
    rootfs = storage(paths, "overlay").prepare("one", made, throwaway=True)
    assert rootfs["driver"] == "overlay" and rootfs["volatile"] and not rootfs["readonly"]
    assert [os.path.basename(path) for path in rootfs["lower"]] == [
        made.layers[1].diff_id[7:13],
        made.layers[0].diff_id[7:13],
        "m",
    ]
    assert os.listdir(rootfs["upper"]) == os.listdir(rootfs["work"]) == []
    assert (rootfs["upper"], rootfs["work"]) == (paths.container("one", "upper"), paths.container("one", "work"))


def test_the_upper_directory_has_the_mode_of_the_images_root(paths: Paths) -> None:
    import tarfile

    private = image(ImageStore(paths), "private", [[member("./", type=tarfile.DIRTYPE, mode=0o711), member("a", "")]])
    upper = storage(paths, "overlay").prepare("one", private)["upper"]
    assert stat.S_IMODE(os.stat(str(upper)).st_mode) == 0o711


def test_mount_points_wait_below_every_image(paths: Paths) -> None:
    mask = os.umask(0o077)
    try:
        lower = storage(paths, "overlay").prepare("one", image(ImageStore(paths), "scratch", []))["lower"]
    finally:
        os.umask(mask)
    assert len(lower) == 1
    for point in MOUNT_POINTS:
        found = os.stat(os.path.join(lower[0], point))
        assert stat.S_ISDIR(found.st_mode) == point.endswith("/")
        assert found.st_mode & 0o777 == (0o755 if point.endswith("/") else 0o644)


def test_more_layers_than_overlayfs_stacks_are_refused_before_anything_is_made(paths: Paths) -> None:
    many = image(ImageStore(paths), "many", [[member(str(n), "")] for n in range(500)], compressed=False)
    with pytest.raises(StorageError, match="500 layers"):
        storage(paths, "overlay").prepare("one", many)
    assert not os.path.exists(paths.container("one"))


def test_a_second_prepare_does_not_touch_the_first(paths: Paths, made: Image) -> None:
    store = storage(paths, "overlay")
    upper = store.prepare("one", made)["upper"]
    Path(str(upper), "mine").touch()
    with pytest.raises(PyctrError):
        store.prepare("one", made)
    assert os.listdir(upper) == ["mine"]


def test_removing_twice_is_fine_and_keeps_the_rest_of_the_container(paths: Paths, made: Image) -> None:
    for driver in ("overlay", "vfs"):
        store = storage(paths, driver)
        os.makedirs(paths.container(driver))
        record(paths, driver, store.prepare(driver, made))
        store.remove(driver)
        store.remove(driver)
        assert os.listdir(paths.container(driver)) == ["state.json"]


def test_a_plain_copy_shows_what_overlayfs_would(paths: Paths, made: Image) -> None:
    rootfs = storage(paths, "vfs").prepare("one", made)
    root = Path(str(rootfs["path"]))
    files = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}
    points = {point for point in MOUNT_POINTS if not point.endswith("/")} | {"etc/mtab"}
    assert files == {"etc/passwd", "var/new", "bin/sh", "bin/ash", "sbin"} | points
    assert (root / "bin/ash").samefile(root / "bin/sh") and os.readlink(root / "sbin") == "bin"
    assert stat.S_IMODE((root / "bin/sh").stat().st_mode) == 0o755
    assert (root / "etc/passwd").stat().st_mtime == 1_600_000_000
    (root / "bin/sh").write_text("changed")
    other = Path(str(storage(paths, "vfs").prepare("two", made)["path"]))
    assert (other / "bin/sh").read_text() == "#!", "containers do not share files"


def test_changes_of_a_plain_copy(paths: Paths, made: Image) -> None:
    store = storage(paths, "vfs")
    rootfs = store.prepare("one", made)
    record(paths, "one", rootfs)
    assert store.changes("one") == []
    root = Path(str(rootfs["path"]))
    (root / "etc/passwd").write_text("changed")
    (root / "bin/ash").unlink()
    (root / "srv/www").mkdir(parents=True)
    (root / "srv/www/index.html").touch()
    os.chmod(root / "var", 0o700)
    assert store.changes("one") == [
        ("C", "/bin"),
        ("D", "/bin/ash"),
        ("C", "/etc"),
        ("C", "/etc/passwd"),
        ("A", "/srv"),
        ("A", "/srv/www"),
        ("A", "/srv/www/index.html"),
        ("C", "/var"),
    ]


def test_changes_survive_the_images_removal(paths: Paths, made: Image) -> None:
    store = storage(paths, "overlay")
    rootfs = store.prepare("one", made)
    record(paths, "one", rootfs)
    ImageStore(paths).remove("app", force=True)
    Path(str(rootfs["upper"]), "new").touch()
    assert store.changes("one") == [("A", "/new")]


def test_changes_without_any_record_of_the_layers_say_so(paths: Paths) -> None:
    os.makedirs(paths.container("one", "upper"))
    with pytest.raises(StorageError, match="layers of container 'one'"):
        storage(paths, "overlay").changes("one")


def test_usage_counts_blocks_and_hard_links_once(paths: Paths, made: Image) -> None:
    store = storage(paths, "overlay")
    upper = Path(str(store.prepare("one", made)["upper"]))
    (upper / "d").mkdir()
    empty = store.usage("one")
    (upper / "d/file").write_bytes(b"x" * 1_000_000)
    os.link(upper / "d/file", upper / "again")
    os.truncate(os.open(upper / "sparse", os.O_CREAT | os.O_WRONLY), 1 << 30)
    assert 1_000_000 <= store.usage("one") - empty < 1_100_000
    assert store.usage("unknown") == 0


def test_the_driver_is_remembered_until_the_next_boot(paths: Paths) -> None:
    found = storage(paths, "").driver()
    assert found in ("overlay", "vfs")
    assert Path(paths.run, "storage-driver").read_text() == found
    assert os.listdir(paths.containers) == []
    Path(paths.run, "storage-driver").write_text("vfs")
    assert storage(paths, "").driver() == "vfs"


def test_the_environment_chooses_the_driver(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCTR_STORAGE_DRIVER", "vfs")
    assert storage(paths, "").driver() == "vfs"


def test_what_a_killed_probe_left_goes_and_a_living_ones_stays(paths: Paths) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    dead, living = f".overlay-{child}-x", f".overlay-{os.getpid()}-y"
    for name in (dead, living):
        os.makedirs(f"{paths.containers}/{name}/work/work")
    sweep(paths, os.listdir(paths.containers))
    assert os.listdir(paths.containers) == [living]
