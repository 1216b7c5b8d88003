"""Each gap in a wall is told by its level, its evidence and its flag; a tight container has no gap."""

from __future__ import annotations

import pytest

from pyctr.core import posture
from pyctr.core.confinement import Confinement, Shown, on_host
from pyctr.core.linux.capnames import number
from pyctr.core.linux.mountinfo import Mount

KNOWN = (1 << 41) - 1
DEFAULT = 0xA80425FB
"""CapEff of a container of Docker's."""
TIGHT = Confinement(
    pid=42,
    uid=1000,
    inner_uid=1000,
    capabilities={"effective": 0, "permitted": 0, "inheritable": 0, "bounding": 0},
    known=KNOWN,
    no_new_privs=True,
    seccomp=2,
    shared=("user",),
    label="docker-default (enforce)",
    modules=True,
    readonly_root=True,
    mounts=(),
    devices=(),
    shell="",
    packages="",
    secrets=(),
    memory_limit=1 << 26,
    pids_limit=50,
    cpu_limit=0.5,
)


def findings(**changes: object) -> dict[str, posture.Finding]:
    """By kind, of the tight container with some gap; what is well is left out."""
    found = posture.judge(TIGHT._replace(**changes))  # type: ignore[arg-type]
    levels = [posture.LEVELS.index(finding.level) for finding in found]
    assert levels == sorted(levels)
    return {finding.kind: finding for finding in found if finding.level != posture.GOOD}


def effective(mask: int) -> dict[str, int]:
    return {**TIGHT.capabilities, "effective": mask}


def test_a_tight_container_has_no_gap_and_says_what_holds() -> None:
    assert findings() == {}
    assert len(posture.judge(TIGHT)) == 12


@pytest.mark.parametrize(
    ("changes", "kind", "level", "flag"),
    [
        ({"uid": 0, "inner_uid": 0}, "user", "warn", "--user"),
        ({"capabilities": effective(KNOWN)}, "privileged", "bad", "--privileged"),
        ({"capabilities": effective(1 << number("sys_admin"))}, "escape", "bad", "--cap-drop sys_admin"),
        ({"capabilities": effective(DEFAULT | 1 << number("net_admin"))}, "capabilities", "warn", "--cap-add"),
        ({"capabilities": effective(DEFAULT)}, "capabilities", "note", "--cap-drop all"),
        ({"capabilities": {**effective(0), "inheritable": DEFAULT}}, "inheritable", "warn", "CVE-2022-24769"),
        ({"no_new_privs": False}, "no_new_privs", "warn", "no-new-privileges"),
        ({"seccomp": 0}, "seccomp", "bad", "seccomp=unconfined"),
        ({"label": ""}, "label", "warn", "apparmor="),
        ({"label": "docker-default (complain)"}, "label", "warn", "apparmor="),
        ({"shared": ("pid", "user")}, "namespace", "bad", "--pid host"),
        ({"shared": ("net", "user")}, "namespace", "bad", "--network host"),
        ({"shared": ("ipc", "user")}, "namespace", "warn", "--ipc host"),
        ({"readonly_root": False}, "root", "note", "--read-only"),
        ({"mounts": (Shown("/etc/ssh", "/keys", True),)}, "mount", "bad", "/etc/ssh:/keys:ro"),
        ({"mounts": (Shown("/", "/host", False),)}, "mount", "warn", "a smaller part"),
        ({"mounts": (Shown("/srv/www", "/www", True),)}, "mount", "note", "/srv/www:/www:ro"),
        ({"mounts": (Shown("/run/docker.sock", "/x.sock", False, True),)}, "socket", "bad", "without that socket"),
        ({"devices": (("sda", True),)}, "device", "bad", "--device"),
        ({"devices": (("kvm", False),)}, "device", "note", "--device"),
        ({"memory_limit": None}, "limits", "warn", "--memory"),
        ({"cpu_limit": None}, "limits", "note", "--cpus"),
        ({"secrets": ("DB_PASSWORD",)}, "secrets", "warn", "--secret"),
        ({"packages": "/sbin/apk"}, "image", "note", "smaller"),
    ],
)
def test_a_gap(changes: dict[str, object], kind: str, level: str, flag: str) -> None:
    found = findings(**changes)
    assert found.keys() == {kind}
    assert found[kind].level == level
    assert flag in found[kind].fix


def test_a_volume_and_a_readonly_directory_are_no_gap() -> None:
    volume = Shown("/var/lib/docker/volumes/db/_data", "/data", True)
    assert findings(mounts=(volume, Shown("/srv/www", "/www", False))) == {}


def test_a_user_namespace_takes_the_worst_from_root_and_its_capabilities() -> None:
    found = findings(shared=(), uid=100000, inner_uid=0, capabilities=effective(KNOWN))
    assert found["privileged"].level == posture.NOTE and "user" not in found
    assert findings(shared=(), uid=0, inner_uid=0)["user"].level == posture.WARN


def test_what_cannot_be_read_is_not_judged() -> None:
    blind = TIGHT._replace(
        no_new_privs=None, seccomp=None, shared=None, label=None, readonly_root=None, mounts=None, devices=None,
        shell=None, packages=None, secrets=None,
    )  # fmt: skip
    assert {finding.kind for finding in posture.judge(blind)} == {"capabilities", "user", "limits"}


def test_the_host_s_path_is_found_by_the_longest_way() -> None:
    host = [
        Mount("1 0 8:1 / / rw - ext4 /dev/sda1 rw"),
        Mount("2 1 8:2 / /srv rw - ext4 /dev/sda2 rw"),
        Mount("3 1 8:1 /lib/data /mnt/alias rw - ext4 /dev/sda1 rw"),
    ]

    def path(root: str, device: str) -> str | None:
        return on_host(Mount(f"9 8 {device} {root} /x rw - ext4 /dev/x rw"), host)

    assert path("/etc", "8:1") == "/etc"
    assert path("/", "8:1") == "/"
    assert path("/www", "8:2") == "/srv/www"
    assert path("/", "8:2") == "/srv"
    assert path("/lib/data/a\\040b", "8:1") == "/mnt/alias/a b"
    assert path("/lib/database", "8:1") == "/lib/database"
    assert path("/", "0:99") is None
