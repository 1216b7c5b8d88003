"""What a network changes of its host and what it takes over: told while it is so, given back at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.host import Host
from tests.support.netplace import Place

FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
ADVERTISED = "net/ipv6/conf/vlan5/accept_ra"
"""Of an interface such as those that take their addresses from a router."""


@pytest.mark.timeout(240)
def test_ports_go_over_to_the_next_network_and_the_sysctls_back_to_what_they_were(host: Host, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello")
    place = Place(host)
    try:
        for words in ("link add up0 type veth peer name up1", "link set up1 up", "link set up0 up"):
            place.command("ip", *words.split())
        names = [f"/proc/sys/{name}" for name in FORWARDING]
        place.command("sh", "-c", f"echo 0 >{names[0]}; echo 0 >{names[1]}")
        vlan = "link add vlan5 link up0 type vlan id 5"
        if place.command("ip", *vlan.split(), check=False).returncode == 0:  # a kernel without them has one check less
            place.command("ip", "link", "set", "vlan5", "up")
            names.append(f"/proc/sys/{ADVERTISED}")
        changed = ["1", "1", "2"][: len(names)]

        def sysctls() -> list[str]:
            return place.command("cat", *names).stdout.split()

        def told() -> list[str]:
            return [
                line for line in place.pyctr("doctor", check=False).stdout.splitlines() if "on for containers" in line
            ]

        before = sysctls()
        assert before == ["0", "0", "1"][: len(names)]
        place.pyctr("network", "create", "--ipv6", "front")
        place.pyctr("network", "create", "back")
        assert sysctls() == before and not told(), "a record alone changes nothing"
        run = host.command(
            *("run", "-d", "--name", "web", "--network", "front", "--network", "back", "-p", "8080:80"),
            *("-v", f"{tmp_path}:/www:ro", "base", "busybox", "httpd", "-f", "-p", "80", "-h", "/www"),
        )
        # no program is needed for links, addresses and rules
        place.command("env", "PATH=/nonexistent", *run)
        place.pyctr("exec", "web", "busybox", "sh", "-c", "until busybox wget -qO- http://127.0.0.1/; do :; done")
        assert sysctls() == changed
        assert len(told()) == 2, "of each family"
        assert place.page() == "hello"
        place.pyctr("network", "disconnect", "front", "web")
        assert place.page() == "hello", "the network that is left publishes it now"
        place.pyctr("network", "disconnect", "back", "web")
        assert place.page() == ""
        place.pyctr("run", "-d", "--name", "thief", "-p", "8080:80", "base", "sleep", "1000")
        done = place.pyctr("network", "connect", "back", "web", check=False)
        assert done.returncode and "port 8080/tcp is taken by container 'thief'" in done.stderr
        assert "eth" not in place.pyctr("exec", "web", "cat", "/proc/net/dev").stdout
        place.pyctr("rm", "-f", "thief")
        lan = ("network", "create", "-d", "macvlan", "-o", "parent=up0", "--subnet", "192.0.2.0/24", "lan")
        place.pyctr(*lan)
        done = place.pyctr("network", "connect", "lan", "web", check=False)
        assert done.returncode and "ports cannot be published on macvlan network 'lan'" in done.stderr
        place.pyctr("network", "connect", "back", "web")
        assert place.page() == "hello", "who comes back publishes again"

        place.pyctr("network", "prune", "-f", "--all")
        assert sysctls() == changed, "one is used still"
        place.pyctr("rm", "-f", "web")
        place.pyctr("network", "prune", "-f", "--all")
        assert sysctls() == before and not told()
        assert "pyctr" not in place.command("nft", "list", "ruleset").stdout
        assert not [line for line in place.command("ip", "-o", "link").stdout.splitlines() if host.paths.bridge in line]
    finally:
        place.close()
