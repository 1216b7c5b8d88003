"""Networks of CNI plugins: the distribution's own, in a namespace that plays the host, and one that fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host
from tests.support.netplace import Place

PLUGINS = "/usr/lib/cni"
pytestmark = pytest.mark.skipif(
    not Path(PLUGINS, "bridge").exists(), reason="needs plugins: apt install containernetworking-plugins"
)


@pytest.fixture
def place(host: Host) -> Iterator[Place]:
    place = Place(host)
    yield place
    place.close()


class Given:
    """A list of plugins with its own book of addresses."""

    def __init__(self, directory: Path, *more: dict[str, object]) -> None:
        self.book = directory / "book"
        self.path = directory / "plug.conflist"
        ipam = {"type": "host-local", "ranges": [[{"subnet": "10.214.8.0/24"}]], "dataDir": str(self.book)}
        ipam["routes"] = [{"dst": "0.0.0.0/0"}]
        bridge = {"type": "bridge", "bridge": "ptcni0", "isGateway": True, "ipam": ipam}
        bridge["capabilities"] = {"ips": True, "mac": True}
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        self.path.write_text(json.dumps({"cniVersion": "1.0.0", "name": "plug", "plugins": [bridge, portmap, *more]}))

    def addresses(self) -> list[str]:
        return sorted(name for name in os.listdir(self.book / "plug") if name.startswith("10."))


def _address(place: Place, name: str) -> str:
    return place.pyctr("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name).stdout.strip()


@pytest.mark.timeout(240)
def test_plugins_make_a_network_and_take_it_down_again(place: Place, tmp_path: Path) -> None:
    given = Given(tmp_path)
    (tmp_path / "www").mkdir()
    (tmp_path / "www/index.html").write_text("hello")
    place.pyctr("network", "create", "-d", "cni", "-o", f"conflist={given.path}", "plug")
    given.path.unlink()  # what was put up is taken down as it was put up
    asked = ("--ip", "10.214.8.77", "--mac-address", "02:11:22:33:44:55")
    place.pyctr(
        *("run", "-d", "--name", "web", "--network", "plug", *asked),
        *("-p", "8080:80", "-v", f"{tmp_path}/www:/www:ro", "base", "busybox", "httpd", "-f", "-p", "80", "-h", "/www"),
    )
    place.pyctr("exec", "web", "busybox", "sh", "-c", "until busybox wget -qO- http://127.0.0.1/; do :; done")
    place.pyctr("run", "-d", "--name", "client", "--network", "plug", "base", "sleep", "1000")
    assert _address(place, "web") == "10.214.8.77"
    assert "02:11:22:33:44:55" in place.pyctr("exec", "web", "cat", "/sys/class/net/eth0/address").stdout
    client = _address(place, "client")
    assert given.addresses() == sorted([client, "10.214.8.77"])
    assert place.pyctr("exec", "client", "busybox", "wget", "-qO-", "http://10.214.8.77/").stdout == "hello"
    assert re.search(rf"^{client}\t.*client$", place.pyctr("exec", "client", "cat", "/etc/hosts").stdout, re.M)
    assert place.page() == "hello", "the port is led by a plugin"
    taken = place.pyctr("run", "-p", "8080:80", "base", "true", check=False)
    assert taken.returncode and "port 8080/tcp is taken by container 'web'" in taken.stderr

    checked = place.pyctr("network", "check", "client", "10.214.8.77:80").stdout
    assert "ok    plugins" in checked and "answers in" in checked
    pid = place.pyctr("inspect", "-f", "{{.State.Pid}}", "client").stdout.strip()
    place.pyctr("restart", "-t", "0", "client")
    assert _address(place, "client") == client, "kept over a restart"
    pid = place.pyctr("inspect", "-f", "{{.State.Pid}}", "client").stdout.strip()
    subprocess.run(["nsenter", "-t", pid, "-n", "ip", "link", "delete", "eth0"], check=True)
    checked = place.pyctr("network", "check", "client", "10.214.8.77:80", check=False).stdout
    assert checked.startswith("FAIL  plugins") and "plugin 'bridge' cannot CHECK" in checked, checked

    # everything of a container dies at once, and what is volatile goes as with a reboot
    shim = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    for each in (shim, pid):
        os.kill(int(each), signal.SIGKILL)
    id = place.pyctr("inspect", "-f", "{{.Id}}", "client").stdout.strip()
    netns = f"{place.host.paths.run}/netns/{id}"
    subprocess.run(["umount", netns], check=True)
    os.unlink(f"{place.host.paths.run}/networks/ids/{id}")
    os.unlink(f"{place.host.paths.run}/networks/leases/plug/{client}")
    place.pyctr("start", "client")
    assert given.addresses() == sorted([_address(place, "client"), "10.214.8.77"]), "the lost address was given back"
    joined = place.pyctr("network", "connect", "bridge", "client", check=False)
    assert joined.returncode and "is made by plugins" in joined.stderr

    place.pyctr("stop", "-t", "0", "web")
    assert not place.page()
    place.pyctr("start", "web")
    assert _address(place, "web") == "10.214.8.77"
    place.pyctr("rm", "-f", "web", "client")
    assert given.addresses() == []
    assert os.listdir(os.path.dirname(netns)) == []
    place.pyctr("network", "rm", "plug")
    assert "8080" not in place.command("iptables-save", check=False).stdout


def test_errors_of_plugins_are_one_line_and_leave_nothing(place: Place, tmp_path: Path) -> None:
    bin = tmp_path / "bin"
    bin.mkdir()
    for name in ("bridge", "host-local", "portmap"):
        (bin / name).symlink_to(f"{PLUGINS}/{name}")
    said = '{"code": 7, "msg": "no lemons", "details": "none\\\\nleft"}'
    (bin / "sour").write_text(f"#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\necho '{said}'\nexit 1\n")
    (bin / "sour").chmod(0o755)
    given = Given(tmp_path, {"type": "sour"})
    place.pyctr("network", "create", "-d", "cni", "-o", f"conflist={given.path}", "-o", f"path={bin}", "plug")
    done = place.pyctr("run", "--name", "web", "--network", "plug", "base", "true", check=False)
    assert done.returncode == 125
    assert done.stderr.splitlines() == [
        "pyctr: network 'plug': plugin 'sour' cannot ADD: no lemons; none left",
        "  hint: the list's configuration is not valid",
    ]
    assert given.addresses() == [], "what the plugins before it had done was undone"
    netns = Path(place.host.paths.run, "netns")
    assert not netns.exists() or not os.listdir(netns)
    (bin / "sour").unlink()
    done = place.pyctr("run", "--rm", "--network", "plug", "base", "true", check=False)
    assert f"plugin 'sour' of list 'plug' is not in {bin}" in done.stderr

    bad = tmp_path / "bad.conflist"
    for text, message in (
        ("{", "is not JSON"),
        ('{"name": "x", "type": "bridge"}', "has no 'plugins'"),
        ('{"name": "x", "plugins": [{"type": "nosuch"}]}', "plugin 'nosuch' of list 'x' is not in"),
        ('{"name": "x", "cniVersion": "9", "plugins": [{"type": "bridge"}]}', "cniVersion '9'"),
    ):
        bad.write_text(text)
        done = place.pyctr("network", "create", "-d", "cni", "-o", f"conflist={bad}", "bad", check=False)
        assert done.returncode and message in done.stderr, done.stderr
        assert "bad" not in place.pyctr("network", "ls", "--format", "{{.Name}}").stdout.split()
    done = place.pyctr("network", "create", "-d", "cni", "bad", check=False)
    assert "needs a list of plugins" in done.stderr
    plain = tmp_path / "plain.conflist"
    plain.write_text(json.dumps({"name": "plain", "plugins": [{"type": "loopback"}]}))
    place.pyctr("network", "create", "-d", "cni", "-o", f"conflist={plain}", "plain")
    done = place.pyctr("run", "-p", "80", "--network", "plain", "base", "true", check=False)
    assert "no plugin of network 'plain' has the capability 'portMappings'" in done.stderr
