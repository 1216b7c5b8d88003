"""Real overlays in a mount namespace of their own: what the kernel shows, and what a container leaves in its layer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pyctr.core import fuseoverlay
from pyctr.core.images.layers import LayerStore
from pyctr.core.images.model import Image
from pyctr.core.images.store import ImageStore
from pyctr.core.paths import Paths
from pyctr.core.storage import Storage
from tests.support.images import image, member, symlink

REPOSITORY = Path(__file__).resolve().parents[2]

MOUNT = """
import json, os, sys
from pyctr.core.linux import const, mount, namespaces
from pyctr.core.storage import mount_rootfs, serve
rootfs, target = json.loads(sys.argv[1]), sys.argv[2]
served = serve(rootfs)
namespaces.unshare(const.CLONE_NEWNS)
mount.mount(None, "/", None, const.MS_REC | const.MS_PRIVATE)
before = os.getcwd()
mount_rootfs(rootfs, target, served)
assert os.getcwd() == before
os.chdir(target)
"""


@pytest.fixture(params=["overlay", "fuse-overlayfs", "vfs"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "fuse-overlayfs" and not fuseoverlay.works(str(tmp_path)):
        pytest.skip("needs /dev/fuse, and fuse-overlayfs: apt install fuse-overlayfs")
    return str(request.param)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "mnt").mkdir()
    return Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run"))


def inside(paths: Paths, rootfs: dict[str, object], code: str) -> str:
    """Run code in the mounted root filesystem, in a process and mount namespace of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MOUNT + textwrap.dedent(code), json.dumps(rootfs), f"{os.path.dirname(paths.root)}/mnt"],
        env={"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def prepared(paths: Paths, made: Image, driver: str, **how: bool) -> tuple[Storage, dict[str, object]]:
    storage = Storage(paths, LayerStore(paths), driver)
    rootfs = storage.prepare("one", made, **how)
    Path(paths.container("one", "state.json")).write_text(json.dumps({"id": "one", "name": "one", "rootfs": rootfs}))
    return storage, rootfs


LAYERS = [
    [
        *(member("etc/"), member("etc/passwd", "root"), member("etc/motd", "hello"), member("tmp/", mode=0o1777)),
        *(member("var/"), member("var/old", "o"), member("var/lib/"), member("var/lib/data", "d" * 5000)),
        *(member("opt/"), member("opt/app/"), member("opt/app/a", "a"), member("opt/app/b", "b"), symlink("s", "etc")),
    ],
    [member("etc/"), member("etc/.wh.motd"), member("var/"), member("var/.wh..wh..opq"), member("var/new", "n")],
]


def test_whiteouts_and_opaque_directories_hide_what_is_below(paths: Paths, driver: str) -> None:
    _, rootfs = prepared(paths, image(ImageStore(paths), "app", LAYERS), driver)
    shown = inside(
        paths, rootfs, "print(sorted(os.listdir('etc')), os.listdir('var'), os.stat('tmp').st_mode & 0o7777)"
    )
    assert shown.split("]")[0] == "['hostname', 'hosts', 'mtab', 'passwd', 'resolv.conf'"
    assert "['new'] 1023" in shown


def test_diff_shows_exactly_what_was_done(paths: Paths, driver: str) -> None:
    storage, rootfs = prepared(paths, image(ImageStore(paths), "app", LAYERS), driver)
    inside(
        paths,
        rootfs,
        """
        import shutil
        open("etc/passwd", "a").write("more")
        os.unlink("s")
        os.mkdir("srv"); open("srv/index.html", "w").write("hi")
        open("tmp/gone", "w"); os.unlink("tmp/gone"); os.utime("tmp", (1600000000, 1600000000))
        shutil.rmtree("opt/app"); os.mkdir("opt/app"); open("opt/app/b", "w").write("new"); open("opt/app/c", "w")
        os.rename("var/new", "var/renamed")
        os.utime("opt", (1600000000, 1600000000))
        """,
    )
    changes = storage.changes("one")
    assert changes == [
        ("C", "/etc"),
        ("C", "/etc/passwd"),
        ("C", "/opt"),
        ("C", "/opt/app"),
        ("D", "/opt/app/a"),
        ("C", "/opt/app/b"),
        ("A", "/opt/app/c"),
        ("D", "/s"),
        ("A", "/srv"),
        ("A", "/srv/index.html"),
        ("C", "/var"),
        ("D", "/var/new"),
        ("A", "/var/renamed"),
    ]


def test_an_untouched_container_has_no_changes_and_shares_every_file(paths: Paths) -> None:
    storage, rootfs = prepared(paths, image(ImageStore(paths), "app", LAYERS), "overlay")
    inside(paths, rootfs, "print(os.listdir('proc'), os.path.exists('etc/hosts'))")
    assert storage.changes("one") == []
    assert os.listdir(str(rootfs["upper"])) == []


def test_layers_are_never_written_through_a_container(paths: Paths) -> None:
    made = image(ImageStore(paths), "app", LAYERS)
    _, rootfs = prepared(paths, made, "overlay")
    bottom = LayerStore(paths).path(made.layers[0].diff_id)
    inside(paths, rootfs, "open('etc/passwd', 'w').write('changed'); os.chmod('tmp', 0); os.unlink('opt/app/a')")
    assert Path(bottom, "etc/passwd").read_text() == "root"
    assert Path(bottom, "opt/app/a").exists() and os.stat(f"{bottom}/tmp").st_mode & 0o7777 == 0o1777


def test_499_layers_mount(paths: Paths) -> None:
    layers = [[member(f"f{n}", str(n))] for n in range(499)]
    _, rootfs = prepared(paths, image(ImageStore(paths), "many", layers, compressed=False), "overlay")
    assert (
        inside(paths, rootfs, "print(len([n for n in os.listdir('.') if n[0] == 'f']), open('f498').read())")
        == "499 498\n"
    )


def test_roots_with_characters_that_mount_options_know_work(tmp_path: Path) -> None:
    base = tmp_path / 'a,b:c\\d "e'
    (base / "mnt").mkdir(parents=True)
    paths = Paths(root=str(base / "root"), run=str(base / "run"))
    storage, rootfs = prepared(paths, image(ImageStore(paths), "app", LAYERS), "overlay")
    inside(paths, rootfs, "open('new', 'w')")
    assert storage.changes("one") == [("A", "/new")]


def test_a_throwaway_layer_mounts_again_after_its_first_run(paths: Paths) -> None:
    storage, rootfs = prepared(paths, image(ImageStore(paths), "app", LAYERS), "overlay", throwaway=True)
    options = "print([line for line in open('/proc/self/mounts') if ' overlay ' in line][-1])"
    inside(paths, rootfs, "open('first', 'w')\n" + options)
    assert inside(paths, rootfs, "print(os.path.exists('first'))") == "True\n"
    assert storage.changes("one") == [("A", "/first")]
    storage.remove("one")
    assert os.listdir(paths.container("one")) == ["state.json"]


def test_nothing_is_mounted_on_the_host(paths: Paths, driver: str) -> None:
    _, rootfs = prepared(paths, image(ImageStore(paths), "app", LAYERS), driver)
    inside(paths, rootfs, "open('x', 'w')")
    # other tests mount things of their own meanwhile
    assert paths.root not in Path("/proc/self/mountinfo").read_text()


def test_overlay_on_overlay_falls_back_to_copying(tmp_path: Path) -> None:
    """As in a container without a volume for pyctr's root. Only overlayfs itself can make its whiteouts there."""
    for name in ("l", "u", "w", "m"):
        (tmp_path / name).mkdir()
    code = f"""
import os
from pyctr.core.images.layers import LayerStore
from pyctr.core.images.store import ImageStore
from pyctr.core.linux import const, mount, namespaces
from pyctr.core.paths import Paths
from pyctr.core.storage import Storage
from tests.kernel.test_storage_overlay import LAYERS
from tests.support.images import image
namespaces.unshare(const.CLONE_NEWNS)
mount.mount(None, "/", None, const.MS_REC | const.MS_PRIVATE)
os.chdir({str(tmp_path)!r})
mount.mount("overlay", "m", "overlay", 0, "lowerdir=l,upperdir=u,workdir=w")
paths = Paths(root={str(tmp_path)!r} + "/m/root", run={str(tmp_path)!r} + "/m/run")
storage = Storage(paths, LayerStore(paths))
print(storage.driver())
path = storage.prepare("one", image(ImageStore(paths), "app", LAYERS))["path"]
print(sorted(os.listdir(path + "/etc")), os.listdir(path + "/var"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True
    )
    assert done.stdout == "vfs\n['hostname', 'hosts', 'mtab', 'passwd', 'resolv.conf'] ['new']\n", done.stderr


def test_mounting_imports_only_what_the_init_may(paths: Paths) -> None:
    code = """
import sys
from pyctr.core.storage import mount_rootfs
import pyctr.core.linux.mount
bad = {"dataclasses", "typing", "pathlib", "logging", "subprocess", "tempfile", "shutil", "json", "re", "hashlib"}
print(sorted(bad & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{code}"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[]\n", done.stdout + done.stderr


@pytest.mark.parametrize("busybox", [True, False])
def test_the_base_image_runs(paths: Paths, busybox: bool) -> None:
    from pyctr.core.images import basebuild

    made = basebuild.build(ImageStore(paths), busybox=busybox)
    _, rootfs = prepared(paths, made, "overlay")
    script = """
    set -e
    id -u nobody; echo a b | awk '{print $2}'; seq 3 | wc -l; printf x | sed s/x/y/; echo
    ls / | grep -c proc; stat -c %a /tmp; true; df / >/dev/null; hostname >/dev/null; nproc >/dev/null
    ps >/dev/null; free >/dev/null; dd if=/etc/passwd bs=1 count=4 2>/dev/null; echo
    mkdir /www; echo hello from httpd >/www/index.html
    httpd -f -p 127.0.0.1:8000 -h /www & server=$!
    until wget -q -O - http://127.0.0.1:8000/ 2>/dev/null; do kill -0 $server; done
    printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc 127.0.0.1 8000 | tail -n 1
    kill $server
    """
    shown = inside(
        paths,
        rootfs,
        f"""
        import subprocess
        from pyctr.core.linux import const, mount, namespaces
        namespaces.unshare(const.CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        mount.mount("proc", "proc", "proc")
        os.chroot(".")
        environment = {{"PATH": "/usr/bin:/bin"}}
        done = subprocess.run(["/bin/sh", "-c", {script!r}], env=environment, capture_output=True, text=True)
        print(done.stdout + done.stderr)
        """,
    )
    assert shown.split() == [
        "65534",
        "b",
        "3",
        "y",
        "1",
        "1777",
        "root",
        "hello",
        "from",
        "httpd",
        "hello",
        "from",
        "httpd",
    ], shown
