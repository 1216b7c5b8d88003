"""What a ContainerSpec becomes as an OCI config.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyctr.core import errors
from pyctr.core.runtime import oci
from pyctr.core.spec import ContainerSpec, Limits, Mount

GOLDEN = Path(__file__).parent.parent / "golden" / "oci"
ID = "0123456789abcdef" * 4
IMAGE = {"Cmd": ["/bin/sh"], "Env": ["LANG=C.UTF-8"]}


def config(image: dict | None = None, **fields: object) -> dict:
    spec = ContainerSpec(image="localhost/base", **fields)
    return oci.config(spec, IMAGE if image is None else image, id=ID, group=f"/pyctr/{ID}")


CASES: dict[str, dict] = {
    "plain": {},
    "limited": {
        "limits": Limits(cpus=1.5, memory=64 << 20, pids=20, memory_high=48 << 20, blkio_weight=300, cpuset_cpus="0"),
        "ulimits": {"nofile": [1024, 2048], "core": [-1, -1]},
        "sysctls": {"net.ipv4.ip_forward": "1"},
        "tty": True,
        "env": ["A=1", "LANG"],
        "user": "1000:100",
        "workdir": "/tmp",
        "command": ["sleep", "9"],
        "readonly_rootfs": True,
        "readonly_tmpfs": False,
        "hostname": "box",
        "mounts": [
            Mount(kind="bind", source="/srv", target="/data/srv/", readonly=True),
            Mount(kind="tmpfs", target="/run", options=["size=1m", "exec"]),
        ],
    },
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_golden_documents(name: str, request: pytest.FixtureRequest) -> None:
    made = json.dumps(config(**CASES[name]), indent=1, sort_keys=True) + "\n"
    assert made == (GOLDEN / f"{name}.json").read_text(), "if this change is wanted, write the file anew"


@pytest.mark.parametrize(
    ("image", "fields", "expected"),
    [
        ({"Cmd": ["a"]}, {}, ["a"]),
        ({"Entrypoint": ["e"], "Cmd": ["a"]}, {}, ["e", "a"]),
        ({"Entrypoint": ["e"], "Cmd": ["a"]}, {"command": ["b"]}, ["e", "b"]),
        ({"Entrypoint": ["e"], "Cmd": ["a"]}, {"entrypoint": ["f"]}, ["f"]),
        ({"Entrypoint": ["e"], "Cmd": ["a"]}, {"entrypoint": [], "command": ["b"]}, ["b"]),
        ({"Entrypoint": ["e"], "Cmd": ["a"]}, {"entrypoint": ["f"], "command": ["b"]}, ["f", "b"]),
    ],
)
def test_entrypoint_and_command_merge_as_in_docker(image: dict, fields: dict, expected: list[str]) -> None:
    assert config(image, **fields)["process"]["args"] == expected


def test_no_command_at_all_is_refused() -> None:
    with pytest.raises(errors.UsageError, match="no command given"):
        config({}, entrypoint=[])


def test_environment_layers() -> None:
    env = dict(
        item.split("=", 1)
        for item in config({"Cmd": ["a"], "Env": ["PATH=/x", "A=1", "B=2"]}, env=["A=9", "B"], tty=True)["process"][
            "env"
        ]
    )
    assert env == {"PATH": "/x", "A": "9", "HOSTNAME": ID[:12], "TERM": "xterm"}


@pytest.mark.parametrize(
    ("fields", "has", "lacks"),
    [
        ({}, "CAP_CHOWN", "CAP_SYS_ADMIN"),
        ({"cap_add": ["sys_admin"]}, "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"),
        ({"cap_drop": ["CAP_CHOWN"]}, "CAP_KILL", "CAP_CHOWN"),
        ({"cap_drop": ["ALL"], "cap_add": ["NET_RAW"]}, "CAP_NET_RAW", "CAP_CHOWN"),
        ({"cap_add": ["ALL"], "cap_drop": ["SYS_ADMIN"]}, "CAP_SYS_PTRACE", "CAP_SYS_ADMIN"),
        ({"privileged": True}, "CAP_SYS_ADMIN", ""),
    ],
)
def test_capabilities(fields: dict, has: str, lacks: str) -> None:
    sets = config(**fields)["process"]["capabilities"]
    assert has in sets["bounding"] and lacks not in sets["bounding"]
    assert sets["bounding"] == sets["effective"] == sets["permitted"]
    assert "inheritable" not in sets and "ambient" not in sets


def test_default_capabilities_are_the_fourteen() -> None:
    assert len(config()["process"]["capabilities"]["bounding"]) == 14


def test_an_unknown_capability_suggests_a_near_one() -> None:
    with pytest.raises(errors.UsageError) as caught:
        config(cap_add=["SYS_ADMNI"])
    assert "SYS_ADMNI" in str(caught.value) and "CAP_SYS_ADMIN" in caught.value.hint


def test_privileged_opens_everything() -> None:
    document = config(privileged=True)
    assert document["linux"]["maskedPaths"] == [] and document["linux"]["readonlyPaths"] == []
    assert document["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert not document["process"]["noNewPrivileges"]
    assert not any("ro" in mount["options"] for mount in document["mounts"])
    assert any(device["path"] == "/dev/null" for device in document["linux"]["devices"])


def test_devices_are_denied_but_for_the_usual_ones_and_the_asked() -> None:
    document = config(devices=["/dev/null:/dev/nothing:r"])
    assert document["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert document["linux"]["resources"]["devices"][-1] == {
        "allow": True,
        "type": "c",
        "major": 1,
        "minor": 3,
        "access": "r",
    }
    assert [device["path"] for device in document["linux"]["devices"]] == ["/dev/nothing"]


def test_shared_namespaces() -> None:
    kinds = {
        entry["type"] for entry in config(network="host", pid="host", ipc="host", uts="host")["linux"]["namespaces"]
    }
    assert kinds == {"mount", "cgroup"}
    spec = ContainerSpec(image="x", network="container:web", pid="container:web")
    joined = oci.config(spec, IMAGE, id=ID, join={"network": 7, "pid": 7})["linux"]["namespaces"]
    assert {"type": "network", "path": "/proc/7/ns/net"} in joined and {
        "type": "pid",
        "path": "/proc/7/ns/pid",
    } in joined


def test_volumes_become_binds_and_mounts_nest_in_order() -> None:
    spec = ContainerSpec(
        image="x",
        mounts=[Mount(kind="tmpfs", target="/data/cache"), Mount(kind="volume", source="pg", target="/data")],
    )
    mounts = oci.config(spec, IMAGE, id=ID, volumes={"/data": "/vol/pg/_data", "/img": "/vol/anon/_data"})["mounts"]
    names = [mount["destination"] for mount in mounts]
    assert names.index("/data") < names.index("/data/cache")
    assert next(mount for mount in mounts if mount["destination"] == "/data")["source"] == "/vol/pg/_data"
    assert next(mount for mount in mounts if mount["destination"] == "/img")["source"] == "/vol/anon/_data"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mounts": [Mount(kind="bind", source="/a", target="b")]}, "'b' is not absolute"),
        ({"mounts": [Mount(kind="bind", source="a", target="/b")]}, "'a' is not absolute"),
        ({"mounts": [Mount(kind="bind", source="/a", target="/b/..")]}, "over the container's '/'"),
        ({"mounts": [Mount(kind="tmpfs", target="/b"), Mount(kind="tmpfs", target="/b/")]}, "'/b' is mounted twice"),
        ({"sysctls": {"kernel.panic": "1"}}, "'kernel.panic' belongs to no namespace"),
        ({"sysctls": {"net.core.somaxconn": "1"}, "network": "host"}, "host's network"),
        ({"ulimits": {"nofiles": [1, 1]}}, "unknown ulimit 'nofiles'"),
        ({"ulimits": {"nofile": [9, 1]}}, "above the hard limit"),
        ({"workdir": "rel"}, "'rel' is not absolute"),
        ({"security_opt": ["nonsense"]}, "unknown security option 'nonsense'"),
        ({"devices": ["/dev/nonesuch"]}, "'/dev/nonesuch'"),
        ({"devices": ["/etc/passwd"]}, "not a device"),
        ({"device_cgroup_rules": ["x 1:2 r"]}, "bad device rule"),
        ({"limits": Limits(memory_swap=5)}, "--memory-swap needs --memory"),
        ({"limits": Limits(memory=10, memory_swap=5)}, "smaller than --memory"),
        ({"limits": Limits(cpus=1, cpu_quota=5)}, "conflicts"),
        ({"limits": Limits(blkio_weight=5)}, "'5'"),
        ({"env": ["=x"]}, "bad environment variable '=x'"),
        ({"hostname": "a", "uts": "host"}, "conflicts"),
        ({"pid": "nonsense"}, "unknown pid namespace 'nonsense'"),
    ],
)
def test_nonsense_is_refused_with_its_value(fields: dict, message: str) -> None:
    with pytest.raises(errors.UsageError, match=message):
        config(**fields)


def test_no_new_privileges_is_the_default_and_can_be_turned_off() -> None:
    assert config()["process"]["noNewPrivileges"]
    assert not config(security_opt=["no-new-privileges=false"])["process"]["noNewPrivileges"]


def test_memory_gets_as_much_swap_again_unless_said_otherwise() -> None:
    assert oci.resources_of(Limits(memory=100))["memory"] == {"limit": 100, "swap": 200}
    assert oci.resources_of(Limits(memory=100, memory_swap=-1))["memory"] == {"limit": 100, "swap": -1}
    assert oci.resources_of(Limits(memory=100, memory_swap=100))["memory"] == {"limit": 100, "swap": 100}
