"""Entries of `mounts`: every type, every option, asserted by what a process inside sees and may do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.linux import mount as kernel
from tests.support.oci import Oci, idmappable


def mounts(oci: Oci, *entries: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["mounts"].extend(entries)


def options(oci: Oci, *words: str, type: str = "tmpfs", source: str = "tmpfs") -> list[str]:
    """Mount flags and propagation of /mnt, as its own mountinfo shows them."""
    out = oci.inside("grep ' /mnt ' /proc/self/mountinfo", mounts(oci, oci.mount("/mnt", type, source, *words)))
    left, _, right = out.strip().splitlines()[-1].partition(" - ")
    fields = left.split()
    return [*fields[5].split(","), *fields[6:], *right.split()[2].split(",")]


@pytest.fixture
def shared(oci: Oci) -> Iterator[Path]:
    """A directory of the host whose mounts propagate."""
    place = oci.path / "shared"
    place.mkdir()
    kernel.mount(str(place), str(place), None, 4096)
    kernel.mount(None, str(place), None, 1 << 20)
    (place / "sub").mkdir()
    yield place
    subprocess.run(["umount", "-R", str(place)], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("word", "there"),
    [
        ("ro", "ro"),
        ("nosuid", "nosuid"),
        ("nodev", "nodev"),
        ("noexec", "noexec"),
        ("noatime", "noatime"),
        ("nodiratime", "nodiratime"),
        ("relatime", "relatime"),
        ("nosymfollow", "nosymfollow"),
        ("sync", "sync"),
        ("dirsync", "dirsync"),
        ("lazytime", "lazytime"),
        ("rro", "ro"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnoatime", "noatime"),
        ("rnodiratime", "nodiratime"),
        ("rrelatime", "relatime"),
        ("rnosymfollow", "nosymfollow"),
    ],
)
def test_an_option_is_in_force(oci: Oci, word: str, there: str) -> None:
    assert there in options(oci, word)


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        (("ro", "rw"), "ro"),
        (("nosuid", "suid"), "nosuid"),
        (("nodev", "dev"), "nodev"),
        (("noexec", "exec"), "noexec"),
        (("noatime", "atime"), "noatime"),
        (("nodiratime", "diratime"), "nodiratime"),
        (("nosymfollow", "symfollow"), "nosymfollow"),
        (("sync", "async"), "sync"),
        (("lazytime", "nolazytime"), "lazytime"),
        (("strictatime",), "relatime"),
        (("defaults", "mand", "nomand", "iversion", "noiversion", "silent", "loud"), "ro"),
        (("nosuid", "rsuid"), "nosuid"),
        (("noexec", "rexec"), "noexec"),
        (("ro", "rrw"), "ro"),
        (("noatime", "ratime"), "noatime"),
        (("rstrictatime",), "relatime"),
    ],
)
def test_the_last_of_contradicting_options_wins(oci: Oci, words: tuple[str, ...], gone: str) -> None:
    assert gone not in options(oci, *words)


def test_a_file_and_a_directory_are_bound_with_their_targets_made(oci: Oci) -> None:
    (oci.path / "file").write_text("content\n")
    (oci.path / "tree").mkdir()
    (oci.path / "tree/leaf").write_text("leaf\n")
    out = oci.inside(
        "cat /new/place/file /over/leaf; echo more >> /new/place/file; echo x > /over/leaf || echo refused",
        mounts(
            oci,
            oci.mount("/new/place/file", "bind", str(oci.path / "file"), "bind"),
            oci.mount("/over", "none", "tree", "rbind", "ro"),
        ),
    )
    assert out == "content\nleaf\nrefused\n"
    assert (oci.path / "file").read_text() == "content\nmore\n"


def test_a_relative_destination_means_the_root(oci: Oci) -> None:
    config = oci.config("stat", "-f", "-c", "%T", "/some/where")
    config["mounts"].append(oci.mount("some/where", "tmpfs", "tmpfs"))
    done = oci.run_config(config)
    assert (done.returncode, done.stdout) == (0, "tmpfs\n")
    assert "warning: mounts[7].destination: 'some/where' is relative" in done.stderr


def test_a_missing_source_is_named(oci: Oci) -> None:
    said = oci.refused(mounts(oci, oci.mount("/x", "bind", "/no/such/place", "bind")))
    assert "mounts[7].source: bind mount source '/no/such/place' does not exist" in said


def test_an_unknown_type_or_option_is_named(oci: Oci) -> None:
    assert "mounts[7]: cannot mount nofs on '/x': " in oci.refused(mounts(oci, oci.mount("/x", "nofs", "nofs")))
    said = oci.refused(mounts(oci, oci.mount("/x", "tmpfs", "tmpfs", "colour=red")))
    assert "mounts[7]: cannot mount tmpfs on '/x': " in said and "colour" in said


def _two_levels(oci: Oci) -> Path:
    """A tree with a tmpfs below it, on the host."""
    top = oci.path / "top"
    (top / "sub").mkdir(parents=True)
    kernel.mount("tmpfs", str(top / "sub"), "tmpfs")
    return top


def test_ro_is_for_one_mount_and_rro_for_all_below(oci: Oci) -> None:
    top = _two_levels(oci)
    script = "for d in /a /a/sub; do touch $d/x 2>/dev/null && echo rw || echo ro; done"
    try:
        assert oci.inside(script, mounts(oci, oci.mount("/a", "bind", str(top), "rbind", "ro"))).split() == ["ro", "rw"]
        assert oci.inside(script, mounts(oci, oci.mount("/a", "bind", str(top), "rbind", "rro"))).split() == [
            "ro",
            "ro",
        ]
        assert oci.inside(script, mounts(oci, oci.mount("/a", "bind", str(top), "bind"))).split() == ["rw", "rw"]
        info = oci.inside(
            "grep ' /a' /proc/self/mountinfo",
            mounts(oci, oci.mount("/a", "bind", str(top), "rbind", "rnoexec", "rnodev", "rnosuid", "rnoatime")),
        )
        for line in info.splitlines():
            assert {"noexec", "nodev", "nosuid", "noatime"} <= set(line.split()[5].split(",")), line
        assert len(info.splitlines()) == 2
    finally:
        subprocess.run(["umount", str(top / "sub")], check=True)


@pytest.mark.parametrize(
    "word", ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"]
)
def test_propagation(oci: Oci, shared: Path, word: str) -> None:
    """Told from outside: a mount on the host arrives, and one inside leaves, as the word says."""
    config = oci.config(
        "sh",
        "-c",
        "mount -t tmpfs in /a/sub2; echo made; while ! [ -e /stop ]; do sleep 0.01; done; cat /proc/self/mountinfo",
    )
    caps = [*config["process"]["capabilities"]["bounding"], "CAP_SYS_ADMIN"]
    config["process"]["capabilities"] = {"bounding": caps, "permitted": caps, "effective": caps}
    (shared / "sub2").mkdir()
    config["mounts"].append(oci.mount("/a", "bind", str(shared), "rbind", word))
    oci.write(config)
    with open(oci.path / "said", "w+") as out:
        running = subprocess.Popen(
            oci.command("run", "--bundle", str(oci.path), "one"),
            env=oci.host.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=out,
            text=True,
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "made\n", (oci.path / "said").read_text()
        left = any(f"{shared}/sub2 " in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
        kernel.mount("tmpfs", str(shared / "sub"), "tmpfs")
        (oci.rootfs / "stop").write_text("")
        seen = running.stdout.read()
        assert running.wait(30) == 0
    kind = word.removeprefix("r")
    assert left == (kind == "shared")
    assert (" /a/sub " in seen) == (kind in ("shared", "slave"))
    line = next(line for line in seen.splitlines() if " /a " in line)
    assert {"shared": "shared:", "slave": "master:", "unbindable": "unbindable", "private": " - "}[kind] in line
    if kind == "private":
        assert "shared:" not in line and "master:" not in line


@pytest.mark.parametrize("word", ["", "private", "slave", "shared", "unbindable", "rslave"])
def test_rootfs_propagation(oci: Oci, word: str) -> None:
    line = oci.inside("grep ' / / \\| / ' /proc/self/mountinfo | head -1", rootfsPropagation=word)
    kind = word.removeprefix("r")
    assert ("shared:" in line) == (kind == "shared")
    assert ("unbindable" in line) == (kind == "unbindable")
    # never the host's own group
    host = Path("/proc/self/mountinfo").read_text()
    for field in line.split():
        if field.startswith("shared:"):
            assert f" {field} " not in host


def test_tmpfs_takes_size_and_mode(oci: Oci) -> None:
    entry = oci.mount("/t", "tmpfs", "tmpfs", "size=1m", "mode=1750", "uid=5", "gid=6")
    out = oci.inside(
        "stat -c '%a %u %g' /t; dd if=/dev/zero of=/t/f bs=1k count=2048 2>/dev/null || echo full", mounts(oci, entry)
    )
    assert out == "1750 5 6\nfull\n"


def test_tmpfs_over_a_directory_has_its_mode(oci: Oci) -> None:
    (oci.rootfs / "t").mkdir(mode=0o700)
    os.chmod(oci.rootfs / "t", 0o2711)
    assert oci.inside("stat -c %a /t", mounts(oci, oci.mount("/t", "tmpfs", "tmpfs"))) == "2711\n"


def test_tmpcopyup_starts_with_what_was_below(oci: Oci) -> None:
    (oci.rootfs / "t/deep").mkdir(parents=True)
    (oci.rootfs / "t/deep/file").write_text("content\n")
    os.chown(oci.rootfs / "t/deep/file", 7, 8)
    os.chmod(oci.rootfs / "t/deep/file", 0o640)
    os.symlink("deep/file", oci.rootfs / "t/link")
    os.link(oci.rootfs / "t/deep/file", oci.rootfs / "t/hard")
    out = oci.inside(
        "cat /t/link; stat -c '%a %u %g %h' /t/deep/file; stat -f -c %T /t; echo changed > /t/deep/file",
        mounts(oci, oci.mount("/t", "tmpfs", "tmpfs", "tmpcopyup")),
    )
    assert out == "content\n640 7 8 2\ntmpfs\n"
    assert (oci.rootfs / "t/deep/file").read_text() == "content\n"
    out = oci.inside(
        "cat /t/link; touch /t/x || echo ro", mounts(oci, oci.mount("/t", "tmpfs", "tmpfs", "tmpcopyup", "ro"))
    )
    assert out == "content\nro\n"


def test_a_mount_point_is_made_for_all_users_of_the_container(oci: Oci) -> None:
    entries = (
        oci.mount("/made/one", "tmpfs", "tmpfs"),
        oci.mount("/made/two", "tmpfs", "tmpfs", "tmpcopyup"),
        oci.mount("/made/file", "", "/bin/busybox", "bind"),
    )
    change = mounts(oci, *entries)
    assert oci.inside("stat -c %a /made /made/one /made/two", change, user={"uid": 1000, "gid": 1000}).split() == [
        "755",
        "1777",
        "1777",
    ]


def test_remount_changes_what_is_mounted(oci: Oci) -> None:
    out = oci.inside(
        "touch /t/x || echo ro; stat -f -c %b /t",
        mounts(
            oci,
            oci.mount("/t", "tmpfs", "tmpfs", "size=1m"),
            oci.mount("/t", "tmpfs", "tmpfs", "remount", "ro", "size=2m"),
        ),
    )
    assert out == "ro\n512\n"


def test_mqueue_devpts_and_sysfs(oci: Oci) -> None:
    out = oci.inside(
        "stat -f -c %T /dev/mqueue /dev/pts /sys; stat -c %a /dev/pts/ptmx; grep ' /dev/pts ' /proc/mounts"
    )
    lines = out.splitlines()
    assert lines[1] == "devpts" and lines[2] == "sysfs" and lines[3] == "666"
    assert "gid=5" in lines[4] and "mode=620" in lines[4] and "ptmxmode=666" in lines[4]


def test_sysfs_of_the_host_network(oci: Oci) -> None:
    config = oci.config("ls", "/sys/class/net")
    config["linux"]["namespaces"] = [entry for entry in config["linux"]["namespaces"] if entry["type"] != "network"]
    done = oci.run_config(config)
    assert done.returncode == 0 and sorted(done.stdout.split()) == sorted(os.listdir("/sys/class/net"))


def test_overlay_is_a_type_like_others_however_long_its_layers_are(oci: Oci) -> None:
    lowers = []
    for number in range(12):
        lower = oci.path / f"a-rather-long-name-of-a-layer-so-that-all-of-them-are-long-{number}"
        lower.mkdir()
        (lower / f"f{number}").write_text(f"{number}\n")
        lowers.append(str(lower))
    for name in ("upper", "work"):
        (oci.path / name).mkdir()
    entry = oci.mount(
        "/o",
        "overlay",
        "overlay",
        f"lowerdir={':'.join(lowers)}",
        f"upperdir={oci.path}/upper",
        f"workdir={oci.path}/work",
    )
    assert oci.inside("cat /o/f0 /o/f11; echo new > /o/new", mounts(oci, entry)) == "0\n11\n"
    assert (oci.path / "upper/new").read_text() == "new\n"


def test_a_readonly_root(oci: Oci) -> None:
    out = oci.inside("touch /x || echo ro; touch /dev/shm/x && echo rw", root={"path": "rootfs", "readonly": True})
    assert out == "ro\nrw\n"


def test_masked_and_readonly_paths(oci: Oci) -> None:
    (oci.rootfs / "secret").write_text("s")
    (oci.rootfs / "dir").mkdir()
    (oci.rootfs / "dir/secret").write_text("s")
    (oci.rootfs / "kept").mkdir()
    out = oci.inside(
        "cat /secret; ls /dir; touch /dir/x 2>/dev/null || echo masked; touch /kept/x 2>/dev/null || echo ro",
        maskedPaths=["/secret", "/dir", "/nowhere"],
        readonlyPaths=["/kept", "/nowhere"],
    )
    assert out == "masked\nro\n"


def test_all_of_proc_and_sys_can_be_masked(oci: Oci) -> None:
    """By its own name or by a link of the image; what comes later in the lists finds nothing left to cover."""
    (oci.rootfs / "way").symlink_to("sys")
    out = oci.inside(
        "cd /proc && ls -A . /sys; touch /proc/x 2>/dev/null || echo closed",
        maskedPaths=["/proc/keys", "/proc", "/proc/kcore", "/way"],
        readonlyPaths=["/proc/bus"],
    )
    assert out == ".:\n\n/sys:\nclosed\n"


def _owned(oci: Oci, *owners: tuple[int, int]) -> Path:
    top = oci.path / "owned"
    top.mkdir()
    idmappable(top)
    for number, owner in enumerate(owners):
        (top / str(number)).write_text("")
        os.chown(top / str(number), *owner)
    return top


MAP = [{"containerID": 0, "hostID": 5000, "size": 1000}]


@pytest.fixture
def owned(oci: Oci) -> Iterator[Path]:
    top = _owned(oci, (0, 0), (7, 8))
    yield top
    subprocess.run(["umount", "-R", str(top)], check=True)


def test_an_idmapped_mount_shows_other_owners(oci: Oci, owned: Path) -> None:
    entry = oci.mount("/i", "bind", str(owned), "bind", "idmap", uidMappings=MAP, gidMappings=MAP)
    out = oci.inside("stat -c '%u %g' /i/0 /i/1", mounts(oci, entry))
    assert out == "5000 5000\n5007 5008\n"
    # mappings alone mean the same, as under runc
    entry["options"] = ["bind"]
    assert oci.inside("stat -c '%u %g' /i/1", mounts(oci, entry)) == "5007 5008\n"


def test_idmap_is_for_one_mount_and_ridmap_for_all_below(oci: Oci, owned: Path) -> None:
    (owned / "sub").mkdir()
    idmappable(owned / "sub")
    for word, below in (("idmap", "0"), ("ridmap", "5000")):
        entry = oci.mount("/i", "bind", str(owned), "rbind", word, uidMappings=MAP, gidMappings=MAP)
        assert oci.inside("stat -c %u /i/0 /i/sub", mounts(oci, entry)).split() == ["5000", below]


def test_idmap_without_any_mapping_is_refused(oci: Oci, owned: Path) -> None:
    said = oci.refused(mounts(oci, oci.mount("/i", "bind", str(owned), "bind", "idmap")))
    assert "mounts[7].options: an idmap mount needs mappings" in said


def test_a_file_system_that_cannot_be_idmapped_is_named(oci: Oci) -> None:
    entry = oci.mount("/i", "bind", "/proc", "bind", "idmap", uidMappings=MAP, gidMappings=MAP)
    assert "mounts[7].options: '/proc' cannot be id-mapped" in oci.refused(mounts(oci, entry))
