"""Volumes and mounts of every kind, as the container sees them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.host import Host


def test_a_new_volume_gets_what_the_image_has_there(host: Host) -> None:
    """Contents, owners and modes; an old one, nocopy and a subpath do not."""
    run = ("run", "--rm", "--network", "none")
    host.run(
        "run",
        "--name",
        "maker",
        "--network",
        "none",
        "base",
        "sh",
        "-c",
        "cd /srv || mkdir /srv; cd /srv; mkdir sub; echo x >sub/f; chmod 640 sub/f; chown 12:34 .; chmod 2751 .",
    )
    host.run("commit", "maker", "made")
    see = ("made", "sh", "-c", "stat -c '%a %u:%g' /srv; cat /srv/sub/f 2>&1")
    assert host.run(*run, "-v", "vol:/srv", *see).stdout == "2751 12:34\nx\n"
    host.run(*run, "-v", "vol:/srv", "made", "sh", "-c", "echo y >/srv/sub/f; chmod 700 /srv")
    assert host.run(*run, "-v", "vol:/srv", *see).stdout == "700 12:34\ny\n"
    assert "No such file" in host.run(*run, "-v", "bare:/srv:nocopy", *see, check=False).stdout
    assert "No such file" in host.run(*run, "--mount", "source=b2,target=/srv,volume-nocopy", *see, check=False).stdout
    found = json.loads(host.run("volume", "inspect", "vol").stdout)[0]
    used = sum(path.lstat().st_blocks * 512 for path in Path(found["Mountpoint"]).rglob("*"))
    assert found["Size"] == used > 0


def test_a_part_of_a_volume_is_found_inside_it(host: Host) -> None:
    """Whoever else has the volume may put any link there (CVE-2017-1002101)."""
    run = ("run", "--rm", "--network", "none")
    host.run(
        *run,
        "-v",
        "vol:/v",
        "base",
        "sh",
        "-c",
        "cd /v; mkdir -p a/b; echo in >a/b/f; ln -s / root; ln -s ../../../../../etc up; ln -s a/b fine",
    )

    def part(path: str, *words: str) -> str:
        mount = f"type=volume,source=vol,target=/m,volume-subpath={path}"
        done = host.run(*run, "--mount", mount, "base", *words, check=False)
        return done.stdout + done.stderr

    assert part("a/b", "cat", "/m/f") == part("fine", "cat", "/m/f") == "in\n"
    assert part("a/b/f", "cat", "/m") == "in\n"
    assert part("root", "ls", "/m").split() == ["a", "fine", "root", "up"]
    for missing in ("up", "none", "root/etc"):
        assert f"has no '{missing}'" in part(missing, "ls", "/m")
    host.run(
        "create",
        "--name",
        "box",
        "--network",
        "none",
        "--mount",
        "source=vol,target=/m,volume-subpath=a/b,readonly",
        "base",
        "true",
    )
    host.run("cp", "box:/m/f", f"{host.base}/f")
    assert Path(f"{host.base}/f").read_text() == "in\n"
    assert "read-only" in host.run("cp", f"{host.base}/f", "box:/m/g", check=False).stderr


def test_every_field_of_mount_means_something(host: Host, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("host")
    script = "stat -c %a /t; df -k /t | tail -n 1; touch /ro/x; cat /b/f; grep ' /b ' /proc/self/mountinfo"
    done = host.run(
        *("run", "--rm", "--network", "none"),
        *("--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1750"),
        *("--mount", f'type=bind,"source={tmp_path}",target=/b,bind-propagation=rslave,bind-nonrecursive'),
        *("--mount", "source=labelled,target=/ro,readonly,volume-label=a=b,volume-label=c,volume-driver=local"),
        *("base", "sh", "-c", script),
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "1750" and lines[1].split()[1] == "1024"
    assert "Read-only file system" in done.stderr
    assert lines[2].startswith("host") and " /b " in lines[2]
    assert json.loads(host.run("volume", "inspect", "labelled").stdout)[0]["Labels"] == {"a": "b", "c": ""}


def test_a_volume_of_a_directory_elsewhere(host: Host, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("elsewhere")
    fields = f"source=else,target=/v,volume-opt=o=bind,volume-opt=device={tmp_path},volume-opt=type=none"
    assert host.run("run", "--rm", "--network", "none", "--mount", fields, "base", "cat", "/v/f").stdout == "elsewhere"
    host.run("volume", "rm", "else")
    assert os.listdir(tmp_path) == ["f"]


def test_a_read_only_root_has_the_usual_tmpfs(host: Host) -> None:
    script = "for d in /run /tmp /var/tmp; do touch $d/x && stat -c '%a %n' $d; done; touch /y /etc/y 2>&1"
    run = ("run", "--rm", "--network", "none", "--read-only")
    shown = host.run(*run, "base", "sh", "-c", script, check=False).stdout.splitlines()
    assert shown[:3] == ["755 /run", "1777 /tmp", "1777 /var/tmp"]
    assert len([line for line in shown if "Read-only file system" in line]) == 2
    none = host.run(*run, "--read-only-tmpfs=false", "base", "sh", "-c", "touch /tmp/x", check=False)
    assert "Read-only file system" in none.stderr
    own = host.run(*run, "-v", "vol:/tmp", "base", "sh", "-c", "grep -c ' /tmp tmpfs' /proc/mounts", check=False)
    assert own.stdout == "0\n"


def test_volume_verbs(host: Host) -> None:
    host.run("volume", "create", "--label", "app=db", "one")
    host.run("volume", "create", "two")
    host.run("create", "--name", "box", "-v", "two:/v", "-v", "/anonymous", "--network", "none", "base", "true")

    def listed(*words: str) -> set[str]:
        return set(host.run("volume", "ls", "-q", *words).stdout.split())

    assert {"one", "two"} < listed() and len(listed()) == 3
    assert (
        listed("-f", "label=app=db")
        == listed("-f", "dangling=true")
        == listed("-f", "name=on", "-f", "label=app")
        == {"one"}
    )
    assert listed("-f", "driver=local") == listed() and listed("-f", "driver=nfs") == set()
    before = json.loads(host.run("volume", "inspect", "two").stdout)[0]["Size"]
    (Path(host.paths.volumes) / "two" / "_data" / "big").write_bytes(b"x" * (1 << 20))
    assert 1 << 20 <= json.loads(host.run("volume", "inspect", "two").stdout)[0]["Size"] - before < 1100 << 10
    done = host.run("volume", "rm", "two", check=False)
    assert done.returncode and "box" in done.stderr
    host.run("volume", "prune", "-f", "-a")
    assert "one" not in listed() and "two" in listed()
    host.run("rm", "-v", "box")
    assert listed() == {"two"}
    assert host.run("volume", "rm", "none", check=False).returncode == 1
    assert host.run("volume", "rm", "-f", "none", "two").returncode == 0


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ("type=bind,source=/,target=/x,volume-nocopy", "'volume-nocopy' is not for a mount of type bind"),
        ("source=v,target=/x,tmpfs-size=1m", "'tmpfs-size' is not for a mount of type volume"),
        ("type=tmpfs,target=/x,bind-propagation=shared", "'bind-propagation' is not for a mount of type tmpfs"),
        ("source=v,target=/x,volume-subpath=../y", "not a path inside a volume"),
        ("source=v,target=/x,volume-subpath=/y", "not a path inside a volume"),
        ("type=tmpfs,target=/x,tmpfs-mode=999", "not a mode"),
        ("source=v,target=/x,volume-driver=nfs", "no volume driver 'nfs'"),
    ],
)
def test_fields_that_make_no_sense_are_refused(bare_host: Host, fields: str, why: str) -> None:
    done = bare_host.run("create", "--mount", fields, "base", check=False)
    assert done.returncode == 125 and why in done.stderr
