"""Mutated bundles on the kernel: each ends by itself, says why in one line, and leaves nothing."""

from __future__ import annotations

import copy
import json
import os
import random
from typing import Any

import pytest

from tests.support import ocidoc
from tests.support.oci import Oci

CASES = int(os.environ.get("PYCTR_FUZZ_KERNEL", "30"))
SEED = int(os.environ.get("PYCTR_FUZZ_SEED", "20251121"))

VALUES: list[Any] = [
    None,
    0,
    -1,
    1,
    2**31,
    2**63,
    "",
    "x",
    "/",
    "..",
    "/../..",
    "/proc/self",
    "/dev/null",
    "a\nb",
    "é" * 80,
]
VALUES += [[], {}, [""], [{}], True, "rbind", ["rbind", "rro"], ["ro", "remount"], "tmpfs", "CAP_SYS_ADMIN", "0-99"]


def base(oci: Oci) -> dict[str, Any]:
    """Something of everything that can be carried out here."""
    config = oci.config("sh", "-c", "true")
    config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]
    config["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5], "umask": 18}
    config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 4}
    config["process"]["scheduler"] = {"policy": "SCHED_OTHER", "nice": 1}
    config["mounts"].append(oci.mount("/t", "tmpfs", "tmpfs", "size=1m", "nosuid", "tmpcopyup"))
    config["mounts"].append(oci.mount("/tmp/b", "bind", str(oci.path / "data"), "rbind", "ro", "rprivate"))
    config["hooks"] = {"createRuntime": [{"path": "/bin/true", "args": ["true"], "timeout": 5}]}
    config["linux"].update(
        devices=[{"type": "c", "path": "/dev/extra", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}],
        sysctl={"net.ipv4.ip_forward": "1"},
        resources={"pids": {"limit": 50}, "devices": [{"allow": False, "access": "rwm"}]},
        cgroupsPath=oci.group,
        seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]},
        personality={"domain": "LINUX"},
    )
    return config


def mutate(config: dict[str, Any], dice: random.Random) -> str:
    """Change one to three places; never where the cgroup is, nor a hook into something that runs."""
    done = []
    for _ in range(dice.randint(1, 3)):
        places = [path for path in ocidoc.places(config) if path[:2] != ("linux", "cgroupsPath") and path[0] != "hooks"]
        path = dice.choice(places)
        way = dice.random()
        if way < 0.2:
            ocidoc.remove(config, path)
        elif way < 0.4:
            value: Any = config
            for key in dice.choice(places):
                value = value[key]
            ocidoc.put(config, path, copy.deepcopy(value))
        else:
            ocidoc.put(config, path, copy.deepcopy(dice.choice(VALUES)))
        done.append(ocidoc.spelled(path))
        if not {"process", "linux", "mounts"} & config.keys():
            break
    return " ".join(done)


@pytest.mark.timeout(60 + 5 * CASES)
def test_no_bundle_ends_in_a_traceback_a_leak_or_a_hang(oci: Oci) -> None:
    (oci.path / "data").mkdir()
    dice = random.Random(SEED)
    assert oci.run_config(base(oci)).returncode == 0, (oci.path / "err").read_text()
    worked = 0
    for case in range(CASES):
        config = base(oci)
        what = mutate(config, dice)
        done = oci.run_config(config, f"case{case}")
        said = [
            line for line in done.stderr.splitlines() if "warning: " not in line and not line.startswith("  hint: ")
        ]
        worked += done.returncode == 0
        assert "Traceback" not in done.stderr and "bug in pyctr" not in done.stderr, (case, what, done.stderr)
        if done.returncode and done.stderr.startswith("pyctr-runtime: "):
            assert len(said) == 1, (case, what, json.dumps(config), done.stderr)
        left = oci.host.census()
        assert not left, (case, what, left)
        assert oci.cli("list", "-q").stdout == ""
    # both kinds, or the mutations say nothing
    assert 0 < worked < CASES
