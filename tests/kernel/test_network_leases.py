"""Addresses, ports, names and what is left of them, in a laboratory of namespaces."""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import doctor, errors, netgraph, netns, networks, ruleview
from pyctr.core.containers import Container
from pyctr.core.engine import Engine
from pyctr.core.linux import loopback, procfs
from pyctr.core.state import Process, State
from tests.support.netlab import HOST, OUTSIDE, Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def _address(attachment: dict[str, object]) -> str:
    return str(attachment["address"]).split("/")[0]


def record(lab: Lab, attachment: dict[str, object], *, pid: int) -> None:
    """A state.json that says the container runs as `pid`."""
    start = procfs.start_time(pid)
    assert start is not None
    process = Process(
        pid=pid,
        start_time=start,
        shim_pid=pid,
        shim_start_time=start,
        boot_id=procfs.boot_id(),
        started_at=0,
        started_monotonic=0,
    )
    state = State(id=str(attachment["id"]), name=str(attachment["name"]), created_at=0, spec={}, process=process)
    Path(lab.paths.container(state.id, "state.json")).write_text(json.dumps(state.to_dict()))


def test_removal_leaves_nothing_on_the_host(lab: Lab) -> None:
    if shutil.which("iptables-nft"):
        lab.command("host", "iptables-nft", "-P", "FORWARD", "DROP")
        lab.command("host", "iptables-nft", "-A", "FORWARD", "-i", "up0", "-j", "ACCEPT")
    if shutil.which("iptables-legacy"):
        lab.command("host", "iptables-legacy", "-P", "FORWARD", "DROP")
        lab.command("host", "iptables-legacy", "-A", "FORWARD", "-i", "up0", "-j", "ACCEPT")
    lab.command("host", "nft", "add table ip keep; add chain ip keep me")
    before = lab.host_state()
    lab.networks.create("backend")
    containers = [
        lab.container("web", "8080:80", "127.0.0.1:8443:443"),
        lab.container("db", "0:5432", network="backend"),
    ]
    assert lab.host_state() != before
    for container in containers:
        lab.remove(container)
    assert lab.call("host", lambda: list(lab.networks.leases()) + list(lab.networks.leases("backend"))) == []
    assert "dnat ip to" in lab.host_state() and "elements" not in lab.host_state()
    lab.call("host", networks.remove_all, lab.paths)
    assert lab.host_state() == before
    assert not os.path.exists(f"{lab.paths.run}/networks") and not os.path.exists(lab.paths.networks)
    lab.call("host", networks.remove_all, lab.paths)


def test_a_published_port_goes_with_its_container_whatever_became_of_the_claims(lab: Lab) -> None:
    lab.networks.create("six", ipv6=True)
    many = ("127.0.0.1:8080:80", "8080:80", "[::1]:8080:80", "[::]:8080:80", "8081:81")
    for network, count in (("bridge", 3), ("six", 5)):
        web = lab.attach("web", *many, network=network)
        assert lab.call("host", lambda: len(ruleview.published(web["bridge"]))) == count  # noqa: B023
        assert os.listdir(f"{lab.paths.run}/networks/ports/tcp-8080") != ["any"], "each address has its claim"
        lab.remove(web)
        assert "elements" not in lab.host_state()
        assert os.listdir(f"{lab.paths.run}/networks/ports") == []
    web = lab.attach("web", *many)
    shutil.rmtree(f"{lab.paths.run}/networks/ports")
    lab.remove(web)
    assert "elements" not in lab.host_state(), "who has its address next is not reached"
    with pytest.raises(errors.UsageError, match="is not an address of this host"):
        lab.attach("web", "192.0.2.9:8080:80")
    assert not os.path.exists(f"{lab.paths.run}/networks/ports/tcp-8080"), "nothing half-made"


@pytest.mark.parametrize(("network", "families"), [("bridge", 1), ("six", 2)])
def test_fifty_parallel_starts_get_fifty_addresses_and_ports(lab: Lab, network: str, families: int) -> None:
    if network == "six":
        lab.call("host", lambda: bool(lab.networks.create("six", ipv6=True)))

    def attach(number: int) -> dict[str, object]:
        return lab.networks.attach(f"{number:064x}", f"c{number}", lab.spec("0:80", network=network))

    for number in range(50):
        os.mkdir(lab.paths.container(f"{number:064x}"))
    begun = [lab.begin("host", attach, number) for number in range(50)]
    attachments = [lab.finish(child) for child in begun]
    for what in ("address", "address6")[:families]:
        assert len({item[what] for item in attachments}) == 50
    assert len({item["mac"] for item in attachments}) == 50
    assert len({item["ports"][0]["host_port"] for item in attachments}) == 50
    assert lab.command("host", "nft", "list", "ruleset").count("hook postrouting") == families


def test_the_rules_of_a_network_come_in_one_transaction(lab: Lab) -> None:
    words = ["ip", "netns", "exec", f"{lab.prefix}-host", "nft", "monitor"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as monitor:
        assert monitor.stdout is not None

        def until(word: str) -> list[str]:
            lines = []
            for line in iter(monitor.stdout.readline, ""):  # type: ignore[union-attr]
                lines.append(line)
                if word in line:
                    break
            return lines

        deadline = time.monotonic() + 30
        while not select.select([monitor.stdout], [], [], 0.2)[0]:
            assert time.monotonic() < deadline
            lab.command("host", "nft", "add table ip first; delete table ip first")  # it says nothing until it listens
        lab.call("host", lambda: bool(lab.networks.ensure()))
        lab.command("host", "nft", "add table ip last")
        said = "".join(until("table ip last"))
        monitor.kill()
    told = [each for each in said.split("# new generation") if f"ip {lab.bridge} " in each]
    assert len(told) == 1 and told[0].count("add rule") > 5, said


def test_a_container_keeps_its_address_when_started_again(lab: Lab) -> None:
    first = lab.attach("web", "0:80")
    lab.attach("other")
    again = lab.attach("web", "0:80", id=first["id"])
    assert (again["address"], again["ports"]) == (first["address"], first["ports"])


def test_a_port_of_a_running_container_is_refused_by_name(lab: Lab) -> None:
    record(lab, lab.attach("web", "8080:80"), pid=os.getpid())
    with pytest.raises(errors.Conflict, match="port 8080/tcp is taken by container 'web'"):
        lab.attach("second", "127.0.0.1:8080:80")
    assert [lease["name"] for lease in lab.networks.leases()] == ["web"]


def test_a_port_of_a_container_that_died_unseen_is_taken_over(lab: Lab) -> None:
    dead = lab.attach("web", "8080:80")
    child = os.fork()
    if child == 0:
        os._exit(0)
    record(lab, dead, pid=child)
    os.waitpid(child, 0)
    lab.container("second", "8080:80")
    lab.serve("second", 80)
    assert lab.ask("host", HOST, 8080).count(".") == 3


def test_a_port_somebody_listens_on_is_refused_by_process_and_pid(lab: Lab) -> None:
    pid = lab.serve("host", 8080, "127.0.0.1")
    comm = Path(f"/proc/{pid}/comm").read_text().strip()
    with pytest.raises(errors.Conflict, match=rf"port 8080/tcp is taken by '{comm}' \(pid {pid}\)"):
        lab.attach("web", "8080:80")
    assert list(lab.networks.leases()) == [], "a refused start keeps no address"


def test_a_dual_stack_listener_counts_too(lab: Lab) -> None:
    def conflict() -> str:
        with socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True):
            try:
                lab.networks.attach("a" * 64, "web", lab.spec("8080:80"))
            except errors.Conflict as error:
                return str(error)
        return ""

    assert "8080/tcp is taken by" in lab.call("host", conflict)


def test_an_address_that_is_not_the_hosts_is_refused(lab: Lab) -> None:
    with pytest.raises(errors.UsageError, match=r"'203\.0\.113\.9' is not an address of this host"):
        lab.attach("web", "203.0.113.9:8080:80")


def test_a_wished_address_is_given_once(lab: Lab) -> None:
    subnet = lab.call("host", lab.networks.ensure).subnet
    wish = subnet.rpartition(".")[0] + ".77"
    assert _address(lab.attach("web", ip=wish)) == wish
    with pytest.raises(errors.Conflict, match=f"address '{wish}' is taken by container 'web'"):
        lab.attach("other", ip=wish)
    with pytest.raises(errors.UsageError):
        lab.attach("other", ip="192.0.2.1")


def test_a_vanished_containers_address_is_collected_when_the_network_is_full(lab: Lab) -> None:
    lab.networks.create("tiny", subnet="10.250.0.0/29")
    holders = [lab.attach(f"c{number}", network="tiny") for number in range(5)]
    with pytest.raises(errors.NetworkError, match="no free address"):
        lab.attach("sixth", network="tiny")
    shutil.rmtree(lab.paths.container(holders[2]["id"]))
    os.utime(f"{lab.paths.run}/networks/ids/{holders[2]['id']}", (0, 0))
    assert lab.attach("sixth", network="tiny")["address"] == holders[2]["address"]


def test_addresses_come_back_late(lab: Lab) -> None:
    first = lab.attach("one")
    lab.remove(first)
    assert lab.attach("two")["address"] != first["address"]


def test_a_restart_does_not_wait_for_the_old_link_to_go(lab: Lab) -> None:
    web = lab.container("web")
    lab.space("again")
    assert lab.link("again", web) != web["host_if"]
    links = lab.call("host", netns.veths, lab.bridge)
    assert list(links) == [web["id"][:8]]
    assert links[web["id"][:8]].name != web["host_if"], "of two incarnations the newer counts"


def test_flushed_rules_come_back_with_the_next_start(lab: Lab) -> None:
    record(lab, lab.container("web", "8080:80"), pid=os.getpid())
    lab.serve("web", 80)
    lab.command("host", "nft", "flush", "ruleset")
    assert lab.ask("host", HOST, 8080) == "ConnectionRefusedError"
    lab.attach("next")
    assert lab.ask("host", HOST, 8080).count(".") == 3


def test_forwarding_is_switched_on_when_needed_and_given_back(lab: Lab) -> None:
    sysctl = "/proc/sys/net/ipv4/ip_forward"
    lab.command("host", "sh", "-c", f"echo 0 > {sysctl}")
    lab.attach("web")
    assert lab.command("host", "cat", sysctl).strip() == "1"
    lab.call("host", networks.remove_all, lab.paths)
    assert lab.command("host", "cat", sysctl).strip() == "0"


def test_no_subnet_of_the_host_is_taken(lab: Lab) -> None:
    wanted = lab.call("host", lambda: lab.networks.ensure().subnet)
    lab.call("host", networks.remove_all, lab.paths)
    lab.ip("host", f"route add {wanted} dev up0")
    assert lab.call("host", lambda: lab.networks.ensure().subnet) != wanted
    with pytest.raises(errors.Conflict, match="overlaps"):
        lab.call("host", lambda: lab.networks.create("clash", subnet="198.51.100.0/25"))


def test_a_network_in_use_is_not_removed(lab: Lab) -> None:
    lab.networks.create("backend")
    db = lab.attach("db", network="backend")
    bridge = lab.networks.get("backend").bridge
    with pytest.raises(errors.Conflict, match="network 'backend' is used by 'db'"):
        lab.call("host", lab.networks.remove, "backend")
    lab.remove(db)
    lab.call("host", lab.networks.remove, "backend")
    assert bridge not in lab.ip("host", "link show")
    with pytest.raises(errors.NotFound, match="no network 'backend'"):
        lab.networks.get("backend")


def test_near_names_of_networks_are_suggested(lab: Lab) -> None:
    lab.networks.create("backend")
    with pytest.raises(errors.NotFound) as raised:
        lab.attach("web", network="bakend")
    assert raised.value.hint == "did you mean 'backend'?"


def test_containers_learn_each_others_names_in_place(lab: Lab) -> None:
    web = lab.attach("web", network_aliases=["www"])
    hosts = Path(lab.paths.container(web["id"], "hosts"))
    inode = hosts.stat().st_ino
    with hosts.open("a") as file:
        file.write("192.0.2.9\tmine\n")
    client = lab.attach("client", hostname="browser")
    assert f"{_address(client)}\tbrowser client\n" in hosts.read_text()
    assert f"{_address(web)}\tweb www\n" in Path(lab.paths.container(client["id"], "hosts")).read_text()
    lab.call("host", lab.networks.rename, client["id"], "visitor")
    assert f"{_address(client)}\tbrowser visitor\n" in hosts.read_text()
    lab.remove(client)
    text = hosts.read_text()
    assert _address(client) not in text
    assert text.endswith("192.0.2.9\tmine\n"), "what the container wrote stays"
    assert hosts.stat().st_ino == inode, "the file is bind mounted"


def test_a_hosts_file_replaced_by_a_link_is_not_followed(lab: Lab, tmp_path: Path) -> None:
    web = lab.attach("web")
    hosts = Path(lab.paths.container(web["id"], "hosts"))
    victim = tmp_path / "victim"
    victim.write_text(hosts.read_text())
    hosts.unlink()
    hosts.symlink_to(victim)
    before = victim.read_text()
    lab.attach("client")
    assert victim.read_text() == before


def test_none_has_only_loopback(lab: Lab) -> None:
    lab.space("alone")
    attachment = lab.networks.attach(secrets.token_hex(32), "alone", lab.spec(network="none"))
    assert attachment["mode"] == "none"
    lab.call("alone", loopback.up)
    assert lab.ip("alone", "-br link").split()[:1] == ["lo"]
    assert "127.0.0.1/8" in lab.ip("alone", "-br address")
    assert len(lab.ip("alone", "-br link").splitlines()) == 1


def test_the_graph_of_a_live_host_shows_traffic_on_the_right_edge(lab: Lab) -> None:
    web = lab.container("web", "8080:80")
    lab.container("idle")
    lab.serve("web", 80)
    engine = Engine(lab.paths)

    def graph() -> netgraph.Graph:
        containers = [
            Container(
                engine, State(id=lease["id"], name=lease["name"], created_at=0, spec={"image": "x"}, network=lease)
            )
            for lease in lab.networks.leases()
        ]
        return networks.graph(engine, containers, {container.id: "running" for container in containers})

    before = lab.call("host", graph)
    for _ in range(50):
        lab.ask("out", HOST, 8080)
    after = lab.call("host", graph)
    flows = netgraph.flows(before, after)
    idle = next(node.id for node in after.nodes if node.name == "idle")
    assert flows["edge", web["id"]].rx_bytes > 3 * flows["edge", idle].rx_bytes
    assert after.uplink is not None
    assert after.uplink[:4] == ("up0", (f"{HOST}/24",), OUTSIDE, True)
    assert [str(port) for port in after.ports] == [":8080→web:80"]
    assert after.networks[0].there


def test_a_record_half_written_by_a_killed_client_holds_nobody_up(lab: Lab) -> None:
    web = lab.attach("web")
    torn = Path(lab.paths.run, "networks", "ids", f"{'ab' * 32}.4711.tmp")
    for content in ("", '{"mode": "bridge", "id": "'):
        torn.write_text(content)
        assert lab.networks.collect() == []
        assert not torn.exists()
    torn.write_text("")
    shutil.rmtree(lab.paths.container(str(web["id"])))
    lab.call("host", networks.remove_all, lab.paths)
    assert not os.path.exists(f"{lab.paths.run}/networks")


def test_the_doctor_tells_what_was_changed_of_the_host_and_who_drops(lab: Lab) -> None:
    if not shutil.which("nft"):
        pytest.skip("nft is not installed")
    lab.command("host", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward")
    lab.command(
        "host",
        "nft",
        "add table inet other; add chain inet other away { type filter hook forward priority 0; policy drop; }",
    )

    def said() -> list[str]:
        found = [*doctor._network(Engine(lab.paths)), *doctor._firewall(Engine(lab.paths))]
        return [words for _, words, _ in found]

    assert not [words for words in lab.call("host", said) if "gives" in words or "was 0" in words]
    lab.attach("web")
    words = lab.call("host", said)
    assert "net.ipv4.ip_forward was 0 and is on for containers" in words
    assert "chain 'inet other away' drops what is forwarded" in words
