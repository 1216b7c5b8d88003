"""Other engines' containers, found in trees of files: both drivers, both cgroup versions, and what goes wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyctr.core import errors
from pyctr.core.engine import Engine
from pyctr.core.engines import groups, lookup
from pyctr.core.engines.model import Log
from tests.support.enginetree import GOLDEN, EngineTree

WEB = "ab1e6eaf9d4eb7da62e0ab9495c0196d8c264cc85da68fc3ad5cc18b72609279"
"""Of the recorded docker."""
PWEB = "11602bd17006fd76b7d7bccbb3d50064224edd144ad191aeae1bbd5c4b214dbc"
INPOD = "bf4d578540bd76a3d46b1c42f95ffc483bfeb220f9ab5df2a6dfce8ccf5abe72"
POD = "6d138f3e7460e48bfead83f71ac475d2bd38146c61dbbd97f9ce1fed3d03bddf"
INFRA = "985c18133a6af6176589f966ff36a2c34a326a6da0578c2e1eb922b824571520"
OTHER = "0123456789abcdef" * 4
STORE = "/var/lib/containers/storage"


@pytest.fixture(params=["v2", "v1", "hybrid"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> EngineTree:
    return EngineTree(tmp_path, request.param)


@pytest.fixture
def plain(tmp_path: Path) -> EngineTree:
    return EngineTree(tmp_path)


def docker(tree: EngineTree, group: str = f"/docker/{WEB}", *, root: str = "/var/lib/docker") -> None:
    """The recorded container of docker, running."""
    tree.golden("docker-config.v2.json", f"{root}/containers/{WEB}/config.v2.json")
    tree.golden("docker-hostconfig.json", f"{root}/containers/{WEB}/hostconfig.json")
    tree.process(3331, "sh", parent=3310, group=group, inner=1)
    tree.process(3310, "containerd-shim", "containerd-shim-runc-v2", "-namespace", "moby", "-id", WEB)
    tree.group(group, 3331)


@pytest.mark.parametrize("group", [f"/docker/{WEB}", f"/system.slice/docker-{WEB}.scope", f"/mine/too/{WEB}"])
def test_a_container_of_docker_is_told_as_its_record_and_the_kernel_say(tree: EngineTree, group: str) -> None:
    docker(tree, group)
    found = tree.look()["web"]
    assert (found.engine, found.id, found.image, found.status) == ("docker", WEB, "box:1", "running")
    assert (found.pid, found.group, found.supervisor) == (3331, group, 3310)
    assert found.labels == {"team": "red"}
    assert found.memory_limit == 100 << 20 and found.restart_policy == "always"
    assert [(mount.target, mount.readonly) for mount in found.mounts] == [("/data", True)]
    assert found.log.form == "json-file" and found.log.path.endswith(f"/containers/{WEB}/{WEB}-json.log")


def test_one_whose_group_is_gone_has_ended_whatever_its_record_says(tree: EngineTree) -> None:
    docker(tree)
    finder = tree.finder()
    assert finder.look()[0].status == "running"
    tree.ungroup(f"/docker/{WEB}")
    tree.end(3331)
    [found] = finder.look()
    assert (found.status, found.pid, found.group) == ("stopped", 0, "")


def test_one_on_the_hosts_network_has_no_counters_of_its_own(tree: EngineTree) -> None:
    docker(tree)
    for pid, network in (("self", 1), (3331, 1)):
        (tree.top / f"proc/{pid}/ns").mkdir(parents=True)
        (tree.top / f"proc/{pid}/ns/net").symlink_to(f"net:[{network}]")
    assert not tree.look()["web"].own_network
    (tree.top / "proc/3331/ns/net").unlink()
    (tree.top / "proc/3331/ns/net").symlink_to("net:[2]")
    assert tree.look()["web"].own_network


def test_a_recorded_pid_that_is_somebody_elses_now_does_not_make_it_run(tree: EngineTree) -> None:
    docker(tree)
    tree.ungroup(f"/docker/{WEB}")  # after a boot: the record is as it was, the pid belongs to another
    tree.process(3331, "cron")
    assert tree.look()["web"].status == "stopped"


def test_a_frozen_one_is_paused_whichever_freezer_holds_it(tmp_path: Path) -> None:
    tree = EngineTree(tmp_path, "hybrid")
    docker(tree)
    (tmp_path / f"sys/fs/cgroup/freezer/docker/{WEB}/freezer.state").write_text("FROZEN\n")
    assert tree.look()["web"].status == "paused"


def test_a_frozen_one_is_paused(tree: EngineTree) -> None:
    docker(tree)
    tree.group(f"/docker/{WEB}", 3331, frozen=True)
    assert tree.look()["web"].status == "paused"


def test_a_data_root_is_found_by_the_daemons_words(plain: EngineTree) -> None:
    plain.process(500, "dockerd", "dockerd", "--data-root", "/srv/d", "-H", "unix:///srv/d.sock")
    docker(plain, root="/srv/d")
    found = plain.look()["web"]
    assert found.words == ("docker", "-H", "unix:///srv/d.sock")


def test_a_data_root_is_found_in_the_daemons_configuration(plain: EngineTree) -> None:
    plain.write("/etc/docker/daemon.json", {"data-root": "/srv/d"})
    docker(plain, root="/srv/d")
    assert "web" in plain.look()


def test_one_without_a_readable_record_still_has_its_engine_and_numbers(plain: EngineTree) -> None:
    plain.group(f"/system.slice/docker-{OTHER}.scope", 70)
    plain.process(70, "nginx", inner=1)
    found = plain.look()[OTHER[:12]]
    assert (found.engine, found.status, found.pid) == ("docker", "running", 70)


def test_a_record_that_is_being_written_hides_nobody_else(plain: EngineTree) -> None:
    docker(plain)
    plain.write(f"/var/lib/docker/containers/{OTHER}/config.v2.json", '{"ID": "0123')
    assert list(plain.look()) == ["web"]


def test_a_fifo_or_a_link_in_the_place_of_a_record_neither_hangs_nor_leads_away(plain: EngineTree) -> None:
    docker(plain)
    there = plain.top / f"var/lib/docker/containers/{OTHER}"
    there.mkdir()
    os.mkfifo(there / "config.v2.json")
    linked = plain.top / f"var/lib/docker/containers/{OTHER[::-1]}"
    linked.mkdir()
    (linked / "config.v2.json").symlink_to(plain.top / f"var/lib/docker/containers/{WEB}/config.v2.json")
    assert list(plain.look()) == ["web"]


def test_a_record_with_nonsense_for_values_is_read_as_far_as_it_makes_sense(plain: EngineTree) -> None:
    record = json.loads((GOLDEN / "docker-config.v2.json").read_text())
    record |= {"State": None, "Config": [], "NetworkSettings": {"Ports": {"x/tcp": [{"HostPort": "-"}], "1/tcp": 3}}}
    record |= {"MountPoints": {"/data": "here"}, "Created": 12, "Args": {"a": 1}, "Name": "/we\x1b[2Jb"}
    plain.write(f"/var/lib/docker/containers/{WEB}/config.v2.json", record)
    found = plain.look()["we\x1b[2Jb"]
    assert (found.ports, found.created_at, found.image) == ((), 0.0, "")


def test_containers_in_a_container_know_in_which(tree: EngineTree) -> None:
    docker(tree)
    inner = f"/docker/{WEB}/docker/{OTHER}"
    tree.group(inner, 90)
    tree.process(90, "sh", group=inner)
    found = tree.look()
    assert found[OTHER[:12]].inside == WEB and found["web"].inside == ""


def test_what_runs_in_one_of_our_own_is_found_but_not_our_own(plain: EngineTree) -> None:
    plain.group(f"/pyctr/{WEB}", 80)
    plain.group(f"/pyctr/{WEB}/docker/{OTHER}", 90)
    plain.process(90, "sh")
    [found] = plain.look().values()
    assert (found.id, found.inside) == (OTHER, WEB)


def test_the_same_name_again_is_another_container(plain: EngineTree) -> None:
    """Ids are used again by who names containers himself: ctr, LXC."""
    plain.group("/lxc.payload.db", 60)
    plain.process(60, "init", born=1000, inner=1)
    finder = plain.finder()
    first = finder.look()[0]
    plain.ungroup("/lxc.payload.db")
    plain.process(60, "init", born=5000, inner=1)
    plain.group("/lxc.payload.db", 60)
    second = finder.look()[0]
    assert first.key == second.key and second.started_at - first.started_at == 40.0


def podman(tree: EngineTree) -> None:
    tree.golden("podman-bolt_state.db.gz", f"{STORE}/libpod/bolt_state.db")
    for pid, group in (
        (4044, f"/libpod_parent/libpod-{PWEB}"),
        (4135, f"/machine.slice/{POD}/libpod-{INFRA}"),
        (4160, f"/machine.slice/{POD}/libpod-{INPOD}"),
    ):
        tree.group(group, pid)
        tree.process(pid, "sh", group=group, inner=1)
    tree.group(f"/libpod_parent/libpod-conmon-{PWEB}", 4033)
    tree.group(f"/machine.slice/{POD}")


def test_containers_and_pods_of_podman_are_read_from_its_database(tree: EngineTree) -> None:
    podman(tree)
    found = tree.look()
    assert sorted(found) == ["6d138f3e7460-infra", "inpod", "pexited", "pweb"], "neither the pod's group nor a conmon's"
    web, ended = found["pweb"], found["pexited"]
    assert (web.engine, web.image, web.status, web.labels) == ("podman", "localhost/box:1", "running", {"team": "blue"})
    assert web.log.form == "cri" and web.memory_limit == 100 << 20
    assert (ended.status, ended.exit_code) == ("stopped", 3) and ended.finished_at > ended.started_at > 0
    assert found["inpod"].pod == "mypod" and not found["inpod"].infra
    assert found["6d138f3e7460-infra"].infra


def test_a_torn_database_leaves_the_names_that_storage_knows(plain: EngineTree) -> None:
    podman(plain)
    content = bytearray((plain.top / f"{STORE[1:]}/libpod/bolt_state.db").read_bytes())
    content[:8192] = bytes(8192)
    plain.write(f"{STORE}/libpod/bolt_state.db", bytes(content))
    listed = [{"id": PWEB, "names": ["pweb"], "metadata": json.dumps({"image-name": "box"})}]
    plain.write(f"{STORE}/overlay-containers/containers.json", listed)
    found = plain.look()["pweb"]
    assert (found.image, found.status) == ("box", "running")


def test_a_database_of_later_podmans_is_read_too(plain: EngineTree) -> None:
    import sqlite3

    (plain.top / STORE[1:]).mkdir(parents=True)
    database = sqlite3.connect(plain.top / f"{STORE[1:]}/db.sql")
    for table in ("ContainerConfig", "ContainerState", "PodConfig"):
        database.execute(f"CREATE TABLE {table}(ID TEXT PRIMARY KEY, JSON TEXT)")
    config = {"id": OTHER, "name": "later", "rootfsImageName": "box", "command": ["sleep"]}
    config["newPortMappings"] = [{"host_port": 8080, "container_port": 80, "range": 2, "protocol": "tcp"}]
    database.execute("INSERT INTO ContainerConfig VALUES (?, ?)", (OTHER, json.dumps(config)))
    database.execute("INSERT INTO ContainerState VALUES (?, ?)", (OTHER, json.dumps({"state": 6, "exitCode": 137})))
    database.commit()
    database.close()
    found = plain.look()["later"]
    assert (found.status, found.exit_code, found.command) == ("stopped", 137, ("sleep",))
    assert [str(port) for port in found.ports] == ["8080→80", "8081→81"]


def test_a_view_that_never_ends_is_given_up(plain: EngineTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own store may hold anything."""
    import sqlite3

    from pyctr.core.engines import podman as module

    monkeypatch.setattr(module, "PATIENCE", 0.05)
    (plain.top / STORE[1:]).mkdir(parents=True)
    database = sqlite3.connect(plain.top / f"{STORE[1:]}/db.sql")
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e15)"
    database.execute(f"CREATE VIEW ContainerConfig AS {endless} SELECT max(i) AS ID, '' AS JSON FROM n")
    database.commit()
    database.close()
    assert plain.look() == {}


def test_the_stores_of_users_whose_podman_ran_are_read(plain: EngineTree) -> None:
    plain.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nsam:x:1000:1000::/home/sam:/bin/sh\n")
    (plain.top / "run/user/1000/containers").mkdir(parents=True)
    plain.golden("podman-bolt_state.db.gz", "/home/sam/.local/share/containers/storage/libpod/bolt_state.db")
    assert plain.look()["pexited"].words[:3] == ("podman", "--root", "/home/sam/.local/share/containers/storage")


def containerd(tree: EngineTree, namespace: str, id: str, spec: dict[str, object], pid: int, group: str) -> None:
    bundle = f"/run/containerd/io.containerd.runtime.v2.task/{namespace}/{id}"
    tree.write(f"{bundle}/config.json", spec)
    tree.write(f"{bundle}/init.pid", str(pid))
    tree.process(pid - 1, "containerd-shim", "shim", "-namespace", namespace, "-id", id, cwd=bundle)
    tree.process(pid, "sh", parent=pid - 1, group=group, inner=1)
    tree.group(group, pid)


def test_a_task_of_containerd_in_any_group_is_known_by_its_shim_and_its_database(tree: EngineTree) -> None:
    tree.golden("containerd-meta.db.gz", "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db")
    containerd(tree, "default", "cweb", {"process": {"args": ["sh"]}}, 4418, "/default/cweb")
    found = tree.look()["cweb"]
    assert (found.engine, found.status, found.pid, found.group) == ("containerd", "running", 4418, "/default/cweb")
    assert found.image == "docker.io/library/box:latest" and found.labels["team"] == "green"
    assert 1795287700 < found.created_at < 1795287800
    assert found.log == Log(why="containerd keeps none: whoever started it had its output")


def test_a_container_of_containerd_without_a_task_was_created(plain: EngineTree) -> None:
    plain.golden("containerd-meta.db.gz", "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db")
    assert plain.look()["cweb"].status == "created"


def notes(**said: str) -> dict[str, object]:
    return {"annotations": {f"io.kubernetes.cri.{key.replace('_', '-')}": value for key, value in said.items()}}


def test_pods_of_kubernetes_have_their_names_logs_and_pause_containers(tree: EngineTree) -> None:
    pod = {"sandbox_name": "shop-7d9", "sandbox_namespace": "prod", "sandbox_uid": "u-1"}
    scope = "/kubepods.slice/kubepods-pod1.slice/cri-containerd-{}.scope"
    spec = notes(container_type="container", container_name="app", image_name="acme/shop:2", **pod)
    containerd(tree, "k8s.io", OTHER, spec, 600, scope.format(OTHER))
    pause = notes(container_type="sandbox", **pod)
    containerd(tree, "k8s.io", WEB, pause, 500, f"/kubepods/burstable/pod-u-1/{WEB}")
    for number in (0, 10, 9):
        tree.write(f"/var/log/pods/prod_shop-7d9_u-1/app/{number}.log", "")
    found = tree.look()
    app = found["shop-7d9/app"]
    assert (app.engine, app.image, app.pod, app.infra) == ("kubernetes", "acme/shop:2", "prod/shop-7d9", False)
    assert app.log == Log("cri", str(tree.top / "var/log/pods/prod_shop-7d9_u-1/app/10.log"))
    assert found["shop-7d9/pause"].infra


def test_a_container_of_nerdctl_has_its_name_ports_and_log(plain: EngineTree) -> None:
    said = {
        "nerdctl/name": "blue",
        "nerdctl/ports": '[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"127.0.0.1"}]',
        "nerdctl/state-dir": f"/var/lib/nerdctl/1/containers/default/{OTHER}",
    }
    group = f"/system.slice/nerdctl-{OTHER}.scope"
    containerd(plain, "default", OTHER, {"annotations": said}, 600, group)
    found = plain.look()["blue"]
    assert (found.engine, [str(port) for port in found.ports]) == ("containerd", ["127.0.0.1:8080→80"])
    assert found.log.form == "json-file" and found.log.path.endswith(f"/{OTHER}-json.log")


def test_a_container_of_cri_o_is_read_from_its_bundle(tree: EngineTree) -> None:
    bundle = f"/run/containers/storage/overlay-containers/{OTHER}/userdata"
    said = {
        "io.kubernetes.pod.name": "shop",
        "io.kubernetes.pod.namespace": "prod",
        "io.kubernetes.container.name": "app",
        "io.kubernetes.cri-o.ImageName": "acme/shop:2",
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.LogPath": "/var/log/pods/prod_shop_u/app/0.log",
        "io.kubernetes.cri-o.Created": "2026-11-21T19:02:32.5Z",
    }
    tree.write(f"{bundle}/config.json", {"annotations": said, "process": {"args": ["/shop"]}})
    tree.process(700, "conmon", "conmon", "-c", OTHER, "-b", bundle, "-n", "k8s_app_shop_prod")
    tree.process(701, "shop", parent=700, inner=1)
    tree.group(f"/kubepods.slice/crio-{OTHER}.scope", 701)
    tree.group(f"/kubepods.slice/crio-conmon-{OTHER}.scope", 700)
    [found] = tree.look().values()
    assert (found.engine, found.name, found.image, found.status) == ("cri-o", "shop/app", "acme/shop:2", "running")
    assert found.log == Log("cri", str(tree.top / "var/log/pods/prod_shop_u/app/0.log"))


def test_containers_of_lxc_run_or_rest(tree: EngineTree) -> None:
    for name in ("db", "old"):
        settings = f"# {name}\nlxc.rootfs.path = dir:/srv/{name}\nlxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\n"
        mount = "lxc.mount.entry = /srv/data data none bind,ro 0 0\nlxc.cgroup2.memory.max = 64M\n"
        tree.write(f"/var/lib/lxc/{name}/config", settings + mount)
    tree.process(900, "lxc-start", "[lxc monitor] /var/lib/lxc db")
    tree.process(901, "init", parent=900, group="/lxc.payload.db", inner=1)
    tree.group("/lxc.payload.db", 901)
    tree.group("/lxc.monitor.db", 900)
    found = tree.look()
    assert sorted(found) == ["db", "old"]
    assert (found["db"].status, found["db"].pid, found["db"].supervisor) == ("running", 901, 900)
    assert found["db"].memory_limit == 64 << 20 and found["db"].mounts[0].target == "/data"
    assert found["old"].status == "stopped"


def test_machines_of_nspawn(plain: EngineTree) -> None:
    said = "NAME=web-01\nCLASS=container\nLEADER=950\nROOT=/var/lib/machines/web-01\nREALTIME=1795287000000000\n"
    plain.write("/run/systemd/machines/web-01", said)
    plain.write("/run/systemd/machines/guest", "NAME=guest\nCLASS=vm\n")
    group = r"/machine.slice/systemd-nspawn@web\x2d01.service"
    plain.group(group)
    plain.group(f"{group}/payload", 950)
    plain.process(950, "systemd", group=f"{group}/payload", inner=1)
    [found] = plain.look().values()
    assert (found.engine, found.name, found.status, found.pid) == ("nspawn", "web-01", "running", 950)


def test_services_are_shown_on_request_only(plain: EngineTree) -> None:
    plain.group("/system.slice/cron.service", 30)
    plain.process(30, "cron")
    assert plain.look() == {}
    found = plain.look(services=True)["cron.service"]
    assert (found.engine, found.status) == ("systemd", "running")


def test_another_pyctrs_containers_are_not_taken_for_dockers(plain: EngineTree) -> None:
    plain.group(f"/second/{OTHER}", 40)
    plain.process(39, "pyctr-shim")
    plain.process(40, "sh", parent=39, inner=1)
    assert plain.look()[OTHER[:12]].engine == "other-pyctr"


def test_without_the_right_to_read_records_it_is_said(plain: EngineTree) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    docker(plain)
    os.chmod(plain.top / "var/lib/docker/containers", 0)
    finder = plain.finder()
    [found] = finder.look()
    assert (found.engine, found.name) == ("docker", WEB[:12])
    assert finder.limited


@pytest.mark.parametrize(
    ("name", "parent", "told"),
    [
        (f"libpod-{OTHER}.scope", "", ("podman", OTHER)),
        (f"libpod-payload-{OTHER}", "", ("podman", OTHER)),
        (f"libpod-conmon-{OTHER}.scope", "", ("", "")),
        (OTHER, "pod5e", ("kubernetes", OTHER)),
        (OTHER[:12], "docker", ("", "")),
        ("lxc.monitor.a", "", ("", "")),
        ("a", "lxc", ("lxc", "a")),
        ("machine-db.scope", "", ("nspawn", "db")),
    ],
)
def test_what_a_groups_name_tells(name: str, parent: str, told: tuple[str, str]) -> None:
    assert groups.named(name, parent) == told


def test_a_name_means_the_one_that_runs_and_an_engine_before_it_settles_the_rest(plain: EngineTree) -> None:
    docker(plain)
    plain.write("/var/lib/lxc/web/config", "lxc.rootfs.path = dir:/srv/web\n")
    plain.group("/lxc.payload.web", 60)
    plain.process(60, "init", inner=1)
    engine = Engine(plain.paths)
    with pytest.raises(errors.Ambiguous) as refused:
        lookup.find(engine, "web")
    assert f"docker:{WEB[:12]} (web)" in refused.value.hint
    assert lookup.find(engine, "docker:web").id == WEB
    assert lookup.find(engine, WEB[:6]).id == WEB
    plain.ungroup("/lxc.payload.web")
    assert lookup.find(engine, "web").engine == "docker", "one that runs is meant before one that rests"
    with pytest.raises(errors.NotFound):
        lookup.find(engine, "podman:web")


def test_engines_by_name() -> None:
    assert lookup.engines("docker,podman") == ("docker", "podman")
    assert "systemd" not in lookup.engines("all") and lookup.engines("all,systemd")[-1] == "systemd"
    assert lookup.engines("k8s") == ("kubernetes",)
    with pytest.raises(errors.UsageError):
        lookup.engines("dokcer")
