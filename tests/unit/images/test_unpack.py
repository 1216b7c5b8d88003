"""Unpacking: what an image says is what lands on disk, and nothing an archive says lands anywhere else."""

import os
import stat
import struct
import tarfile
from pathlib import Path

import pytest

from pyctr.core.errors import PyctrError, StorageError
from pyctr.core.images.merged import is_opaque
from pyctr.core.images.unpack import Unpacker
from tests.support.images import Member, archive, hardlink, member, symlink

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sudo make test")


def unpack(into: Path, members: list[Member], format: int = tarfile.PAX_FORMAT, piece: int = 700) -> Unpacker:
    """Fed in small odd pieces, so that headers and contents cross their borders."""
    into.mkdir(exist_ok=True)
    content = archive(members, format)
    fd = os.open(into, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpacker = Unpacker(fd)
        unpacker.unpack(content[at : at + piece] for at in range(0, len(content), piece))
        return unpacker
    finally:
        os.close(fd)


def names(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def whiteout(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def opaque(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        return is_opaque(fd)
    finally:
        os.close(fd)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file beside the layer that every escape would love to change."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    return victim


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_contents_modes_times_and_links_are_kept(tmp_path: Path, format: int) -> None:
    long = "d/" + "long-name-" * 9 + "x"
    unpacker = unpack(
        tmp_path / "layer",
        [
            member("./", type=tarfile.DIRTYPE, mode=0o711),
            member("d/", mode=0o2750),
            member("d/file", b"x" * 70_001, mode=0o4755),
            member(long, "long"),
            symlink("d/link", "/etc/" + "t" * 90),
            hardlink("d/hard", "d/file"),
            member("pipe", type=tarfile.FIFOTYPE, mode=0o600),
            member("empty", ""),
        ],
        format,
    )
    layer = tmp_path / "layer"
    assert (layer / "d/file").read_bytes() == b"x" * 70_001
    assert stat.S_IMODE((layer / "d/file").stat().st_mode) == 0o4755
    assert stat.S_IMODE((layer / "d").stat().st_mode) == 0o2750
    assert stat.S_IMODE(layer.stat().st_mode) == 0o711
    assert (layer / "d/file").stat().st_mtime == (layer / "d").stat().st_mtime == 1_600_000_000
    assert os.readlink(layer / "d/link") == "/etc/" + "t" * 90
    assert (layer / "d/hard").samefile(layer / "d/file")
    assert (layer / long).read_text() == "long"
    assert stat.S_ISFIFO((layer / "pipe").stat().st_mode)
    assert unpacker.size == 70_001 + 4 and unpacker.count == 8


def test_pax_records_beat_the_header(tmp_path: Path) -> None:
    headers = {"path": "ünïcode/" + "n" * 150, "mtime": "1600000000.25", "SCHILY.xattr.user.note": "kept"}
    unpack(tmp_path / "layer", [member("short", "body", pax_headers=headers)])
    [file] = [path for path in (tmp_path / "layer").rglob("*") if path.is_file()]
    assert file.name == "n" * 150 and file.read_text() == "body"
    assert file.stat().st_mtime_ns == 1_600_000_000_250_000_000
    assert os.getxattr(file, "user.note") == b"kept"


def test_a_forgotten_parent_directory_is_made(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        unpack(tmp_path / "layer", [member("a/b/c", "x")])
    finally:
        os.umask(mask)
    for directory in ("a", "a/b"):
        assert stat.S_IMODE((tmp_path / "layer" / directory).stat().st_mode) == 0o755


def test_symlinked_parents_stay_inside_the_layer(tmp_path: Path) -> None:
    unpack(tmp_path / "layer", [member("usr/lib/"), symlink("lib", "/usr/lib"), member("lib/libc.so", "elf")])
    assert (tmp_path / "layer/usr/lib/libc.so").read_text() == "elf"


def test_directories_reached_through_links_have_their_modes(tmp_path: Path) -> None:
    members = [
        member("usr/lib/"),
        symlink("lib", "/usr/lib"),
        member("lib/deep/", mode=0o2750),
        member("lib/made/file"),
    ]
    unpack(tmp_path / "layer", members)
    for name, mode in {"deep": 0o2750, "made": 0o755}.items():
        assert stat.S_IMODE((tmp_path / "layer/usr/lib" / name).stat().st_mode) == mode
    # what takes the place of a directory does not get its mode
    more = [member("a/b/", mode=0o700), member("c/b/", mode=0o711), symlink("a", "c")]
    unpack(tmp_path / "other", more)
    assert stat.S_IMODE((tmp_path / "other/c/b").stat().st_mode) == 0o711


def test_later_members_replace_earlier_ones(tmp_path: Path) -> None:
    unpack(
        tmp_path / "layer",
        [
            *(member("a", "1"), member("a", "2")),
            *(member("dir/"), member("dir/x", "x"), member("dir", "now a file")),
            *(member("file", "f"), member("file/"), member("file/in", "in")),
            *(member("kept/"), member("kept/x", "x"), member("kept/", mode=0o700)),
            *(symlink("link", "a"), member("link", "a file, and a is not written through it")),
        ],
    )
    layer = tmp_path / "layer"
    assert (layer / "a").read_text() == "2"
    assert (layer / "dir").read_text() == "now a file"
    assert (layer / "file/in").read_text() == "in"
    assert (layer / "kept/x").exists() and stat.S_IMODE((layer / "kept").stat().st_mode) == 0o700
    assert not (layer / "link").is_symlink()


@pytest.mark.parametrize(
    "members",
    [
        [member("../victim", "pwned")],
        [member("a/../../victim", "pwned")],
        [symlink("out", ".."), member("out/victim", "pwned")],
        [symlink("out", "../../../../../../../../../../tmp"), member("out/victim", "pwned")],
        [member("a/"), symlink("a/b", "../.."), symlink("c", "a/b"), member("c/victim", "pwned")],
        [hardlink("mine", "../victim"), member("mine", "pwned")],
        [symlink("out", ".."), hardlink("mine", "out/victim"), member("mine", "pwned")],
        [member("dir/"), symlink("dir", ".."), member("dir/victim", "pwned")],
        [member("x/"), member("x/y", "1"), member("x", "gone"), symlink("x", ".."), member("x/victim", "pwned")],
        [symlink("victim", "../victim"), member("victim", "replaces the link only")],
        [symlink("out", ".."), member("out/.wh.victim")],
        [symlink("out", ".."), member("out/.wh..wh..opq")],
        [symlink("d", ".."), member("d/", mode=0o777)],
        [member(".wh..."), member("victim", "")],
        [member("d/"), member("d/.wh..")],
    ],
)
def test_no_archive_gets_out(tmp_path: Path, outside: Path, members: list[Member]) -> None:
    before = {path: path.lstat() for path in (outside, tmp_path)}
    layer = tmp_path / "layer"
    layer.mkdir()
    inside = layer.stat().st_ino
    try:
        unpack(layer, members)
    except PyctrError:
        pass  # refused, or clamped to the layer's root: both are right
    assert outside.read_text() == "untouched"
    assert outside.lstat().st_nlink == 1
    assert {path.name for path in tmp_path.iterdir()} == {"victim", "layer"}
    assert tmp_path.stat().st_mode == before[tmp_path].st_mode
    assert layer.stat().st_ino == inside


def test_an_absolute_path_means_the_layers_root(tmp_path: Path) -> None:
    unpack(tmp_path / "layer", [member("/etc/passwd", "root"), symlink("/abs", "/etc"), member("/abs/group", "g")])
    assert names(tmp_path / "layer") == {"etc", "etc/passwd", "etc/group", "abs"}


@pytest.mark.parametrize("name", ["", ".", "/", "./."])
def test_the_root_cannot_be_replaced(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="root directory"):
        unpack(tmp_path / "layer", [symlink(name, "/")])


def test_overlay_xattrs_of_an_archive_are_ignored(tmp_path: Path) -> None:
    keys = [f"{kind}.overlay.{key}" for kind in ("trusted", "user") for key in ("redirect", "opaque")]
    headers = {f"SCHILY.xattr.{key}": "y" for key in keys}
    headers["SCHILY.xattr.security.selinux"] = "x"
    unpack(tmp_path / "layer", [member("d/", pax_headers=headers), member("f", "", pax_headers=headers)])
    assert not opaque(tmp_path / "layer/d")
    for name in ("d", "f"):
        assert [x for x in os.listxattr(tmp_path / "layer" / name) if "overlay" in x] == []


def test_whiteouts_become_overlayfs_ones(tmp_path: Path) -> None:
    unpack(
        tmp_path / "layer",
        [
            *(member("etc/"), member("etc/.wh.motd"), member("var/"), member("var/.wh..wh..opq")),
            *(member("var/new", "n"), member(".wh..wh.plnk/"), member(".wh.gone")),
        ],
    )
    layer = tmp_path / "layer"
    assert whiteout(layer / "etc/motd") and whiteout(layer / "gone")
    assert opaque(layer / "var") and not opaque(layer / "etc")
    assert names(layer) == {"etc", "etc/motd", "var", "var/new", "gone"}


def test_a_whiteout_and_its_name_in_one_layer_hide_only_what_is_below(tmp_path: Path) -> None:
    unpack(
        tmp_path / "layer",
        [
            *(member(".wh.d"), member("d/"), member("d/new", "n")),
            *(member("e/"), member("e/new", "n"), member(".wh.e")),
            *(member(".wh.f"), member("f", "f")),
            *(member("g", "g"), member(".wh.g")),
        ],
    )
    layer = tmp_path / "layer"
    assert opaque(layer / "d") and opaque(layer / "e")
    assert (layer / "d/new").exists() and (layer / "e/new").exists()
    assert (layer / "f").read_text() == "f" and (layer / "g").read_text() == "g"


def test_an_opaque_root_is_told_apart(tmp_path: Path) -> None:
    assert unpack(tmp_path / "layer", [member(".wh..wh..opq"), member("only", "")]).opaque_root
    assert names(tmp_path / "layer") == {"only"}


@root_only
def test_owners_capabilities_and_devices_are_kept(tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000").decode("latin-1")
    unpack(
        tmp_path / "layer",
        [
            member("home/", uid=1000, gid=1001, mode=0o700),
            member("big", "", uid=3_000_000, mode=0o2755),
            member("ping", "elf", mode=0o755, pax_headers={"SCHILY.xattr.security.capability": capability}),
            member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        ],
        tarfile.PAX_FORMAT,
    )
    layer = tmp_path / "layer"
    assert ((layer / "home").stat().st_uid, (layer / "home").stat().st_gid) == (1000, 1001)
    assert (layer / "big").stat().st_uid == 3_000_000 and (layer / "big").stat().st_mode & 0o7777 == 0o2755
    assert os.getxattr(layer / "ping", "security.capability") == capability.encode("latin-1")
    null = (layer / "null").stat()
    assert stat.S_ISCHR(null.st_mode) and null.st_rdev == os.makedev(1, 3) and null.st_mode & 0o777 == 0o666


def test_access_lists_and_attributes_of_users_are_kept(tmp_path: Path) -> None:
    # acl(5) as the kernel keeps it: version 2; owner rw, user 1000 r, group and mask r, others nothing
    entries = [(1, 6, 2**32 - 1), (2, 4, 1000), (4, 4, 2**32 - 1), (0x10, 4, 2**32 - 1), (0x20, 0, 2**32 - 1)]
    access = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    headers = {
        "SCHILY.xattr.system.posix_acl_access": access.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.user.note": "x=y",
    }
    unpack(tmp_path / "layer", [member("shared", "s", mode=0o640, pax_headers=headers)], tarfile.PAX_FORMAT)
    assert os.getxattr(tmp_path / "layer/shared", "system.posix_acl_access") == access
    assert os.getxattr(tmp_path / "layer/shared", "user.note") == b"x=y"


def test_archives_that_are_none_or_cut_short_are_refused(tmp_path: Path) -> None:
    whole = archive([member("file", b"x" * 5000)])
    for content in (b"hello" * 200, whole[:600], whole[:100], whole[:150] + b"9" + whole[151:]):
        (tmp_path / "layer").mkdir(exist_ok=True)
        fd = os.open(tmp_path / "layer", os.O_RDONLY)
        try:
            with pytest.raises(StorageError):
                Unpacker(fd).unpack([content])
        finally:
            os.close(fd)


def test_a_hard_link_to_nothing_names_its_target(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no/such"):
        unpack(tmp_path / "layer", [hardlink("x", "no/such")])


def test_many_directories_leave_no_descriptor_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    unpack(tmp_path / "layer", [member(f"d{n}/f", "x") for n in range(300)], piece=1 << 20)
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(names(tmp_path / "layer")) == 600
