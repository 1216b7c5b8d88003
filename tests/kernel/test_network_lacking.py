"""Kernels that lack a module a network needs: one clear line with a hint, and nothing left behind.

These run where the kernel lacks it: in a guest started with module_blacklist=macvlan,vxlan,sch_tbf.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.support.host import Host


def _lacking(module: str, *words: str) -> None:
    """Skip where the kernel has a module; `words` are what only it can do, tried in a namespace of their own."""
    script = f"ip link add up0 type dummy || ip link add up0 type bridge; {' '.join(words)}"
    if subprocess.run(["unshare", "-n", "sh", "-ec", script], capture_output=True).returncode == 0:
        pytest.skip(f"this kernel has {module}")


def _links() -> set[str]:
    said = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return {line.split(": ")[1].partition("@")[0] for line in said.splitlines()}


def _refused(host: Host, *words: str) -> str:
    """What a command that fails says, in two lines."""
    done = host.run(*words, check=False)
    assert done.returncode and done.stderr.count("\n") == 2, done.stderr
    return done.stderr


def test_a_kernel_without_macvlan(host: Host) -> None:
    _lacking("macvlan", "ip link add link up0 type macvlan")
    parent = next(name for name in _links() if name != "lo")
    host.run("network", "create", "-d", "macvlan", "--subnet", "10.213.9.0/24", "-o", f"parent={parent}", "lan")
    before = _links()
    said = _refused(host, "run", "--name", "one", "--network", "lan", "base", "true")
    assert "this kernel makes no macvlan links, which a macvlan network is made of" in said
    assert "hint: 'modprobe macvlan', or a network of another driver" in said
    host.run("run", "-d", "--name", "two", "base", "sleep", "1000")
    assert "modprobe macvlan" in _refused(host, "network", "connect", "lan", "two")
    assert "lan" not in host.run("inspect", "-f", "{{.NetworkSettings.Networks}}", "two").stdout
    host.run("rm", "-f", "one", "two")
    assert _links() - before <= {host.paths.bridge}


def test_a_kernel_without_vxlan(host: Host) -> None:
    _lacking("vxlan", "ip link add type vxlan id 42 dstport 4789")
    flags = ("--subnet", "10.213.0.0/16", "--ip-range", "10.213.9.0/24", "-o", "vni=42", "-o", "peers=192.0.2.1")
    host.run("network", "create", "-d", "overlay", *flags, "wide")
    before = _links()
    said = _refused(host, "run", "--name", "one", "--network", "wide", "base", "true")
    assert "this kernel makes no vxlan links, which an overlay network is made of" in said
    assert "hint: 'modprobe vxlan', or a network of another driver" in said
    host.run("rm", "-f", "one")
    assert _links() == before


def test_a_kernel_without_token_buckets(host: Host) -> None:
    _lacking("sch_tbf", "tc qdisc add dev up0 root tbf rate 1mbit burst 10kb latency 50ms")
    for number, flag in enumerate(("--network-rx-bps", "--network-tx-bps")):
        said = _refused(host, "run", "--name", f"one{number}", flag, "1m", "base", "true")
        assert "this kernel cannot bound what a container sends and receives" in said
        assert "hint: 'modprobe sch_tbf', or leave --network-rx-bps and --network-tx-bps out" in said
    host.run("run", "-d", "--name", "two", "base", "sleep", "1000")
    assert "modprobe sch_tbf" in _refused(host, "update", "--network-tx-bps", "1m", "two")
    host.run("network", "create", "-o", "tx_bps=1m", "slow")
    assert "modprobe sch_tbf" in _refused(host, "network", "connect", "slow", "two")
    inside = host.run("exec", "two", "busybox", "ip", "link").stdout
    assert "eth0" in inside and "eth1" not in inside, "the link that could not be bounded is gone"
