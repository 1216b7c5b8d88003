"""`linux.resources.network` where net_cls and net_prio of cgroup v1 are mounted beside v2.

Only on a machine that is thrown away afterwards: a hierarchy may outlive its last mount, and others would find it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host
from tests.support.manager import needs
from tests.support.oci import Oci

pytestmark = [
    pytest.mark.skipif("PYCTR_GUEST_TESTS" not in os.environ, reason="mounts net_cls and net_prio: tools/vm-tests.sh"),
    needs("unshare", "nsenter", "nft"),
]
BOTH = "net_cls,net_prio"
_ENTER = f"""
mount -t tmpfs none /sys/fs/cgroup && cd /sys/fs/cgroup && mkdir unified devices {BOTH} &&
mount -t cgroup2 none unified && mount -t cgroup -o devices none devices &&
mount -t cgroup -o {BOTH} none {BOTH} && echo ready && exec cat
"""
"""What a host with both of them looks like, in a mount namespace of its own. Ends with its stdin."""
COUNTED = """
add table inet {name}
add chain inet {name} out {{ type filter hook output priority 0; }}
add rule inet {name} out meta cgroup {classid} counter
add table netdev {name}
add chain netdev {name} lo {{ type filter hook egress device lo priority 0; }}
add rule netdev {name} lo meta priority 0:{priority} counter
"""


class Hybrid(Oci):
    """A bundle on a host with both kinds."""

    def __init__(self, host: Host, holder: int) -> None:
        super().__init__(host)
        self.holder = holder
        self.mounted = Path(f"/proc/{holder}/root/sys/fs/cgroup")

    def command(self, *words: str) -> list[str]:
        return ["nsenter", "-t", str(self.holder), "-m", *super().command(*words)]


@pytest.fixture
def hybrid(bare_host: Host) -> Iterator[Hybrid]:
    entered = ["unshare", "--mount", "sh", "-c", _ENTER]
    with subprocess.Popen(entered, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        assert holder.stdin and holder.stdout and holder.stderr
        if holder.stdout.readline() != b"ready\n":
            # such as a kernel told cgroup_no_v1=all
            pytest.skip(f"no net_cls and net_prio: {holder.stderr.read().decode().strip()}")
        yield Hybrid(bare_host, holder.pid)
        holder.stdin.close()


def _counted(name: str) -> list[int]:
    """Packets of the class, and of the priority."""
    listed = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return [int(count) for count in re.findall(r"counter packets (\d+)", listed[listed.index(f"table inet {name}") :])]


def test_class_and_priorities_of_a_bundle_are_those_of_what_it_sends(hybrid: Hybrid) -> None:
    classid, priority = 0x100001, 5
    name = hybrid.host.paths.bridge
    group = hybrid.mounted / BOTH / hybrid.group.strip("/")
    config = hybrid.config("sleep", "1000")
    network = {"classID": classid, "priorities": [{"name": "lo", "priority": priority}]}
    config["linux"].update(resources={"network": network}, cgroupsPath=hybrid.group)
    # the host's: priorities are by the interfaces of the first network namespace
    config["linux"]["namespaces"] = [one for one in config["linux"]["namespaces"] if one["type"] != "network"]
    hybrid.write(config)
    rules = COUNTED.format(name=name, classid=classid, priority=priority)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    sending = ("sh", "-c", "busybox nc -w 5 127.0.0.1 9 </dev/null")
    try:
        done = hybrid.cli("run", "-d", "--bundle", str(hybrid.path), "one")
        assert done.returncode == 0, done.stderr
        assert (group / "net_cls.classid").read_text() == f"{classid}\n"
        assert f"lo {priority}\n" in (group / "net_prio.ifpriomap").read_text()
        assert len((group / "cgroup.procs").read_text().split()) == 1
        subprocess.run(sending, check=False, timeout=30)
        assert _counted(name) == [0, 0], "of others"
        hybrid.cli("exec", "one", *sending)
        assert min(_counted(name)) > 0
        assert hybrid.cli("delete", "--force", "one").returncode == 0 and not group.exists()
        for controllers in (BOTH, "devices"):
            (hybrid.mounted / controllers / name).rmdir()  # nothing of ours is below
    finally:
        for family in ("inet", "netdev"):
            subprocess.run(["nft", "delete", "table", family, name], check=True)
