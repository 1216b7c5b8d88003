"""`linux.namespaces` and what goes with them: joining by path, user mappings, clocks, devices, interfaces, sysctls."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core import netdevices
from pyctr.core.linux import namespaces, netlink
from tests.support.oci import Oci, idmappable

KINDS = ("pid", "network", "mount", "uts", "ipc", "user", "cgroup", "time")
MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def linux(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["linux"].update(fields)


def with_user(config: dict[str, Any]) -> None:
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"].update(uidMappings=MAP, gidMappings=MAP)


class Holder:
    """A process in new namespaces, so that they can be joined by path."""

    def __init__(self, *kinds: str) -> None:
        flags = 0
        for kind in kinds:
            flags |= namespaces.FLAGS[kind]
        self.reader, self.writer = os.pipe()
        self.pid, self.pidfd = namespaces.clone3(flags)
        if self.pid == 0:
            try:
                os.close(self.writer)
                os.read(self.reader, 1)
            finally:
                os._exit(0)

    def path(self, kind: str) -> str:
        return f"/proc/{self.pid}/ns/{namespaces.PROC_NAMES[kind]}"

    def close(self) -> None:
        os.close(self.writer)
        os.close(self.reader)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)


@pytest.fixture
def holder() -> Iterator[Callable[..., Holder]]:
    made: list[Holder] = []

    def make(*kinds: str) -> Holder:
        made.append(Holder(*kinds))
        return made[-1]

    yield make
    for one in made:
        one.close()


def joined(kind: str, path: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        kept = [entry for entry in config["linux"]["namespaces"] if entry["type"] != kind]
        config["linux"]["namespaces"] = [*kept, {"type": kind, "path": path}]

    return change


@pytest.mark.parametrize("kind", ["network", "uts", "ipc", "cgroup", "time"])
def test_a_namespace_is_joined_by_path(oci: Oci, holder: Callable[..., Holder], kind: str) -> None:
    other = holder(kind)
    name = namespaces.PROC_NAMES[kind]
    assert oci.inside(f"readlink /proc/self/ns/{name}", joined(kind, other.path(kind))).strip() == os.readlink(
        other.path(kind)
    )


def test_a_joined_uts_namespace_gets_the_hostname(oci: Oci, holder: Callable[..., Holder]) -> None:
    other = holder("uts")
    assert oci.inside("hostname", joined("uts", other.path("uts"))) == "inside\n"
    assert os.uname().nodename != "inside"


def test_a_pid_namespace_is_joined_by_path(oci: Oci, holder: Callable[..., Holder]) -> None:
    other = holder("pid")
    out = oci.inside("readlink /proc/self/ns/pid; echo $$", joined("pid", other.path("pid"))).split()
    assert out[0] == os.readlink(other.path("pid")) and int(out[1]) > 1


def test_a_mount_namespace_is_joined_by_path(oci: Oci, holder: Callable[..., Holder]) -> None:
    other = holder("mount")
    out = oci.inside("readlink /proc/self/ns/mnt; ls /bin/busybox", joined("mount", other.path("mount"))).split()
    assert out == [os.readlink(other.path("mount")), "/bin/busybox"]


def test_a_path_of_another_kind_or_of_nothing_is_named(oci: Oci) -> None:
    said = oci.refused(joined("network", "/proc/self/ns/uts"))
    assert "linux.namespaces[5].path: '/proc/self/ns/uts' is no network namespace" in said
    said = oci.refused(joined("network", "/etc/passwd"))
    assert "linux.namespaces[5].path: '/etc/passwd' is no network namespace" in said
    assert "linux.namespaces[5].path: cannot join the ipc namespace '/no'" in oci.refused(joined("ipc", "/no"))


def test_what_is_not_listed_is_the_runtimes_own(oci: Oci) -> None:
    def few(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}]
        del config["hostname"]

    out = oci.inside("for n in net uts ipc user cgroup time; do readlink /proc/self/ns/$n; done", few).split()
    assert out == [os.readlink(f"/proc/self/ns/{name}") for name in ("net", "uts", "ipc", "user", "cgroup", "time")]


def test_a_user_namespace_has_its_mappings(oci: Oci) -> None:
    os.chmod(oci.path, 0o700)
    os.chown(oci.rootfs / "tmp", 100000, 100000)
    out = oci.inside(
        "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id -u; touch /tmp/mine; stat -c %u /tmp /etc",
        with_user,
    ).split()
    assert out == ["0", "100000", "65536", "0", "100000", "65536", "allow", "0", "0", "65534"]
    assert os.stat(oci.rootfs / "tmp/mine").st_uid == 100000


def test_a_user_namespace_owns_what_it_is_given(oci: Oci) -> None:
    out = oci.inside(
        "for d in null zero full random urandom tty; do head -c1 /dev/$d > /dev/null 2>&1 || "
        "[ $d = tty ] || echo bad $d; done; hostname; ls -ln /dev/null | cut -d' ' -f1; stat -f -c %T /sys /dev/pts; "
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls /proc/1/ns | head -1; echo x > /dev/null",
        lambda config: (
            with_user(config),
            config["linux"].update(sysctl={"net.ipv4.ip_unprivileged_port_start": "80"}),
        ),
    )
    assert out.split() == ["inside", "crw-rw-rw-", "sysfs", "devpts", "80", "cgroup"]


def test_another_user_and_groups_in_a_user_namespace(oci: Oci) -> None:
    def change(config: dict[str, Any]) -> None:
        with_user(config)
        config["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7]}

    assert oci.inside("id -u; id -G", change).split() == ["1000", "1001", "7"]

    def unmapped(config: dict[str, Any]) -> None:
        with_user(config)
        config["process"]["user"] = {"uid": 70000, "gid": 0}

    assert "process.user.uid: '70000' cannot be taken: invalid argument" in oci.refused(unmapped)


def test_files_of_the_host_are_bound_into_a_user_namespace_from_where_its_root_may_not_look(oci: Oci) -> None:
    secret = oci.path / "closed"
    secret.mkdir(mode=0o700)
    (oci.rootfs / "data").mkdir()
    (secret / "data").mkdir()
    (secret / "data/file").write_text("content\n")

    def change(config: dict[str, Any]) -> None:
        with_user(config)
        config["mounts"].append(oci.mount("/data", "bind", str(secret / "data"), "rbind", "ro"))

    assert oci.inside("cat /data/file", change) == "content\n"


def test_a_user_namespace_without_its_own_network_sees_the_hosts_sysfs(oci: Oci) -> None:
    def change(config: dict[str, Any]) -> None:
        with_user(config)
        config["linux"]["namespaces"] = [e for e in config["linux"]["namespaces"] if e["type"] != "network"]

    assert sorted(oci.inside("ls /sys/class/net", change).split()) == sorted(os.listdir("/sys/class/net"))


def test_idmapped_mounts_of_a_user_namespace_take_its_mappings(oci: Oci) -> None:
    top = oci.path / "owned"
    top.mkdir()
    (oci.rootfs / "i").mkdir()
    idmappable(top)
    try:
        (top / "mine").write_text("")
        os.chown(top / "mine", 5, 6)

        def change(config: dict[str, Any]) -> None:
            with_user(config)
            config["mounts"].append(oci.mount("/i", "bind", str(top), "bind", "idmap"))

        assert oci.inside("stat -c '%u %g' /i/mine; touch /i/new", change) == "5 6\n"
        assert os.stat(top / "new").st_uid == 0
    finally:
        subprocess.run(["umount", str(top)], check=True)


def test_limits_are_set_from_outside_for_a_user_namespace(oci: Oci) -> None:
    def change(config: dict[str, Any]) -> None:
        with_user(config)
        config["process"].update(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 111}], oomScoreAdj=500)

    assert oci.inside("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj", change).split() == ["99", "111", "500"]


def test_a_user_namespace_is_joined_by_path(oci: Oci, holder: Callable[..., Holder]) -> None:
    from pyctr.core.linux import usernamespace

    other = holder("user")
    usernamespace.write_maps(other.pid, MAP, MAP)
    out = oci.inside(
        "readlink /proc/self/ns/user; id -u; cat /proc/self/uid_map", joined("user", other.path("user"))
    ).split()
    assert out == [os.readlink(other.path("user")), "0", "0", "100000", "65536"]


def test_clocks_of_a_time_namespace(oci: Oci) -> None:
    with open("/proc/uptime") as file:
        ours = float(file.read().split()[0])

    def change(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"].append({"type": "time"})
        config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}, "monotonic": {"secs": 5, "nanosecs": 7}}

    out = oci.inside("cut -d' ' -f1 /proc/uptime; cat /proc/self/timens_offsets", change).split()
    assert ours + 1_000_000 <= float(out[0]) <= ours + 1_000_100
    assert out[1:] == ["monotonic", "5", "7", "boottime", "1000000", "0"]


def test_clocks_below_zero_are_refused(oci: Oci) -> None:
    def change(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"].append({"type": "time"})
        config["linux"]["timeOffsets"] = {"boottime": {"secs": -(10**10)}}

    assert "linux.timeOffsets: the kernel refuses them: numerical result out of range" in oci.refused(change)


def test_time_and_user_namespaces_together(oci: Oci) -> None:
    def change(config: dict[str, Any]) -> None:
        with_user(config)
        config["linux"]["namespaces"].append({"type": "time"})
        config["linux"]["timeOffsets"] = {"monotonic": {"secs": 50}}

    assert oci.inside("grep monotonic /proc/self/timens_offsets; id -u", change).split() == [
        "monotonic",
        "50",
        "0",
        "0",
    ]


def test_hostname_and_domainname(oci: Oci) -> None:
    def change(config: dict[str, Any]) -> None:
        config.update(hostname="box", domainname="example.test")

    out = oci.inside("hostname; cat /proc/sys/kernel/domainname", change)
    assert out == "box\nexample.test\n"


def test_a_hostname_without_its_namespace_is_refused(oci: Oci) -> None:
    def change(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"] = [e for e in config["linux"]["namespaces"] if e["type"] != "uts"]

    assert "hostname: needs a uts namespace" in oci.refused(change)


def test_sysctls_of_own_namespaces(oci: Oci) -> None:
    wanted = {
        "net.ipv4.ip_forward": "1",
        "kernel.shmmax": "65536",
        "fs.mqueue.msg_max": "7",
        "net/core/somaxconn": "99",
    }
    out = oci.inside(
        "cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmax fs/mqueue/msg_max net/core/somaxconn", linux(sysctl=wanted)
    )
    assert out.split() == ["1", "65536", "7", "99"]
    assert "linux.sysctl.net.no.such" in oci.refused(linux(sysctl={"net.no.such": "1"}))
    assert "linux.sysctl.net.ipv4.ip_forward" in oci.refused(linux(sysctl={"net.ipv4.ip_forward": "much"}))


def test_devices_of_every_kind(oci: Oci) -> None:
    devices = [
        {"type": "c", "path": "/dev/deep/er/null2", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6},
        {"type": "u", "path": "/dev/zero2", "major": 1, "minor": 5},
        {"type": "b", "path": "/dev/loopy", "major": 7, "minor": 9, "fileMode": 0o60600},
        {"type": "p", "path": "/run/fifo", "fileMode": 0o622, "uid": 7, "gid": 8},
    ]
    out = oci.inside(
        "stat -c '%F %a %u %g %t %T' /dev/deep/er/null2 /dev/zero2 /dev/loopy /run/fifo", linux(devices=devices)
    )
    assert out.splitlines() == [
        "character special file 640 5 6 1 3",
        "character special file 666 0 0 1 5",
        "block special file 600 0 0 7 9",
        "fifo 622 7 8 0 0",
    ]
    assert stat.S_ISFIFO(os.stat(oci.rootfs / "run/fifo").st_mode)


def test_a_device_of_a_default_path_takes_its_place(oci: Oci) -> None:
    device = {"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 9}
    assert oci.inside("stat -c '%a %u' /dev/null", linux(devices=[device])) == "600 9\n"


def test_a_file_in_a_devices_place_is_a_conflict(oci: Oci) -> None:
    (oci.rootfs / "tmp/x").write_text("")
    device = {"type": "c", "path": "/tmp/x", "major": 1, "minor": 3}
    said = oci.refused(linux(devices=[device]))
    assert "linux.devices[0].path: '/tmp/x' exists in the container and is not this device" in said
    (oci.rootfs / "tmp/x").unlink()
    os.mknod(oci.rootfs / "tmp/x", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    assert oci.inside("stat -c %a /tmp/x", linux(devices=[device])) == "600\n"


@pytest.fixture
def veth() -> Iterator[tuple[str, str]]:
    """Two ends of a pair on the host, the first with addresses."""
    one, other = f"pv{os.getpid()}a", f"pv{os.getpid()}b"
    subprocess.run(["ip", "link", "add", one, "type", "veth", "peer", "name", other], check=True)
    subprocess.run(["ip", "addr", "add", "169.254.77.5/30", "dev", one], check=True)
    subprocess.run(["ip", "-6", "addr", "add", "fd00:77::5/64", "dev", one], check=True)
    subprocess.run(["ip", "link", "set", one, "up", "mtu", "1400"], check=True)
    yield one, other
    subprocess.run(["ip", "link", "del", other], check=False, capture_output=True)


def _address(name: str) -> str:
    return next((link.mac.hex(":") for link in _links() if link.name == name), "")


def _links() -> list[netlink.Link]:
    with netlink.Netlink() as socket:
        return socket.links(stats=False)


def _ip(oci: Oci) -> None:
    (oci.rootfs / "bin/ip").symlink_to("busybox")


def test_a_network_device_moves_in_with_its_addresses(oci: Oci, veth: tuple[str, str]) -> None:
    _ip(oci)
    mac = _address(veth[0])
    out = oci.inside("ip addr show dev eth7", linux(netDevices={veth[0]: {"name": "eth7"}}))
    assert "inet 169.254.77.5/30" in out and "inet6 fd00:77::5/64" in out
    assert "mtu 1400" in out and ",UP" in out and mac in out


def test_a_network_device_keeps_its_name_unless_told(oci: Oci, veth: tuple[str, str]) -> None:
    _ip(oci)
    assert "169.254.77.5/30" in oci.inside(f"ip addr show dev {veth[0]}", linux(netDevices={veth[0]: {}}))


def test_a_failed_start_gives_the_device_back(oci: Oci, veth: tuple[str, str]) -> None:
    config = oci.config("/no/such/command")
    config["linux"]["netDevices"] = {veth[0]: {"name": "eth7"}}
    assert oci.run_config(config).returncode != 0
    index = netlink.index(veth[0])
    assert index and len(netdevices.addresses(index)) == 2


def test_network_devices_that_cannot_move_are_named(oci: Oci, veth: tuple[str, str]) -> None:
    assert "linux.netDevices.nosuch0: there is no such interface" in oci.refused(linux(netDevices={"nosuch0": {}}))
    said = oci.refused(linux(netDevices={veth[0]: {"name": "lo"}}))
    assert f"linux.netDevices.{veth[0]}: cannot be moved into the container as 'lo': the name is taken there" in said
    assert netlink.index(veth[0])


def test_rdt_without_its_file_system_is_refused(oci: Oci) -> None:
    if " resctrl " in Path("/proc/self/mounts").read_text():
        pytest.skip("this host has it")
    said = oci.refused(linux(intelRdt={"closID": "x", "memBwSchema": "MB:0=50"}))
    assert "linux.intelRdt: no resctrl file system is mounted" in said
