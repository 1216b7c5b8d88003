"""What is typed after `run` and `create` becomes exactly this ContainerSpec."""

from __future__ import annotations

import pytest

from pyctr.cli import container_flags
from pyctr.cli.flags import Flags
from pyctr.core.errors import UsageError
from pyctr.core.spec import ContainerSpec, Health, Limits, Mount, Port


def parse(line: str) -> ContainerSpec:
    flags = Flags("pyctr run", interspersed=False)
    container_flags.configure(flags)
    return container_flags.spec(flags.parse(line.split()))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("img", ContainerSpec(image="img")),
        ("-it img sh", ContainerSpec(image="img", tty=True, stdin_open=True, command=["sh"])),
        ("img sh -c -it --rm", ContainerSpec(image="img", command=["sh", "-c", "-it", "--rm"])),
        ("--rm --init=false -- img -x", ContainerSpec(image="img", auto_remove=True, command=["-x"])),
        ("--name web -eA=1 -e=B=2 --env C=3 img", ContainerSpec(image="img", name="web", env=["A=1", "B=2", "C=3"])),
        ("-p8080:80 -p 53:53/udp img", ContainerSpec(
            image="img",
            ports=[Port(container_port=80, host_port=8080), Port(container_port=53, host_port=53, protocol="udp")],
        )),
        ("-v pg:/data:ro --tmpfs /run --mount type=bind,src=/srv,dst=/srv img", ContainerSpec(
            image="img",
            mounts=[
                Mount(kind="volume", source="pg", target="/data", readonly=True),
                Mount(kind="bind", source="/srv", target="/srv"),
                Mount(kind="tmpfs", target="/run"),
            ],
        )),
        ("-m 512m --memory-swap -1 --cpus 1.5 --cpu-shares 512 --pids-limit 64 --cpuset-cpus 0-1 img", ContainerSpec(
            image="img",
            limits=Limits(memory=512 << 20, memory_swap=-1, cpus=1.5, cpu_shares=512, pids=64, cpuset_cpus="0-1"),
        )),
        ("--blkio-weight 300 --device-read-bps /dev/sda:1mb --device-write-iops /dev/sda:10 img", ContainerSpec(
            image="img",
            limits=Limits(
                blkio_weight=300, device_read_bps={"/dev/sda": 1 << 20}, device_write_iops={"/dev/sda": 10}
            ),
        )),
        ("--cap-add NET_ADMIN --cap-drop ALL --security-opt no-new-privileges --read-only --privileged img",
         ContainerSpec(
            image="img", cap_add=["NET_ADMIN"], cap_drop=["ALL"], security_opt=["no-new-privileges"],
            readonly_rootfs=True, privileged=True,
        )),
        ("--network container:web --pid host --ipc container:web --uts host --cgroupns host img", ContainerSpec(
            image="img", network="container:web", pid="host", ipc="container:web", uts="host", cgroupns="host",
        )),
        ("-h box --add-host db:10.0.0.7 --dns 9.9.9.9 --ip 10.88.0.9 --mac-address 92:D0:c6:0a:29:33 img",
         ContainerSpec(
            image="img", hostname="box", add_hosts=["db:10.0.0.7"], dns=["9.9.9.9"], ip="10.88.0.9",
            mac="92:d0:c6:0a:29:33",
        )),
        ("-l a=1 --label b --annotation c=d --ulimit nofile=10:20 --sysctl net.core.somaxconn=9 img", ContainerSpec(
            image="img", labels={"a": "1", "b": ""}, annotations={"c": "d"}, ulimits={"nofile": [10, 20]},
            sysctls={"net.core.somaxconn": "9"},
        )),
        ("--restart on-failure:3 --stop-signal SIGINT --stop-timeout 2.5 --shm-size 1m --oom-score-adj -5 img",
         ContainerSpec(
            image="img", restart="on-failure:3", stop_signal="SIGINT", stop_timeout=2.5, shm_size=1 << 20,
            limits=Limits(oom_score_adj=-5),
        )),
        ("--entrypoint= -u 1000:1000 -w /tmp img", ContainerSpec(
            image="img", entrypoint=[], user="1000:1000", workdir="/tmp",
        )),
        ("--health-cmd true --health-interval 5s --health-retries 2 img", ContainerSpec(
            image="img", health=Health(test=["CMD-SHELL", "true"], interval=5.0, retries=2),
        )),
        ("--no-healthcheck --log-opt max-size=1m --log-opt max-file=2 img", ContainerSpec(
            image="img", health=Health(test=["NONE"]), log_max_size=1 << 20, log_max_files=2,
        )),
        ("--device /dev/fuse --device-cgroup-rule=c img", None),
    ],
)  # fmt: skip
def test_flags_become_this_spec(line: str, expected: ContainerSpec | None) -> None:
    if expected is None:
        with pytest.raises(UsageError, match="--device-cgroup-rule: 'c'"):
            parse(line)
        return
    assert parse(line) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "'pyctr run' needs an IMAGE"),
        ("--nmae x img", "'pyctr run' has no flag '--nmae'"),
        ("-itz img", "'pyctr run' has no flag '-z' in '-itz'"),
        ("--name", "--name: needs a value"),
        ("--name a/b img", "--name: 'a/b' is not a name"),
        ("-m lots img", "--memory: 'lots' is not a size"),
        ("-p 80:x img", "--publish: '80:x': 'x' is not a port"),
        ("-v x img", "--volume: 'x': the path inside the container must be an absolute path"),
        ("--rm --restart always img", "--rm: excludes --restart"),
        ("--cpus 1 --cpu-quota 5000 img", "--cpus: excludes --cpu-period and --cpu-quota"),
        ("-m 64m --memory-swap 32m img", "--memory-swap: smaller than --memory"),
        ("--memory-swap 32m img", "--memory-swap: needs --memory"),
        ("--network host -p 80:80 img", "--publish: network 'host' has no ports to publish"),
        ("-p 80:80 -p 80:81 img", "--publish: host port 80/tcp is named twice"),
        ("-v /a:/x --tmpfs /x img", "two mounts on '/x'"),
        ("--init=maybe img", "--init: 'maybe' is neither true nor false"),
        ("--blkio-weight 5 img", "--blkio-weight: '5' is out of range"),
        ("--pull sometimes img", "--pull: 'sometimes' is not a choice"),
        ("--expose http img", "--expose: 'http': 'http' is not a port"),
        ("-m 9999999999999999999 img", "--memory: '9999999999999999999' is more than a kernel counts"),
        (f"-m {'9' * 9000}.5g img", f"--memory: '{'9' * 9000}.5g' is more than a kernel counts"),
        ("--network host --ip 10.0.0.1 img", "--ip: network 'host' has no addresses to give"),
    ],
)
def test_bad_flags_give_one_line(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line)
    assert str(caught.value) == message
    assert caught.value.exit_code == 125
    assert caught.value.hint


def test_a_near_flag_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        parse("--memroy 5m img")
    assert caught.value.hint == "did you mean '--memory'?"


def test_publish_all_takes_what_is_exposed_and_not_published() -> None:
    flags = Flags("pyctr run", interspersed=False)
    container_flags.configure(flags)
    args = flags.parse(["-P", "-p", "8080:80", "--expose", "90", "img"])
    ports = container_flags.exposed(args, {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}})
    assert ports == [Port(container_port=90), Port(container_port=53, protocol="udp")]
