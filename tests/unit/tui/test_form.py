"""What is typed into the create form becomes the spec the command line would make of the same words."""

from __future__ import annotations

import pytest

from pyctr.cli import container_flags
from pyctr.cli.flags import Flags
from pyctr.core.spec import ContainerSpec, Limits, Mount, Port
from pyctr.tui import form, preview
from pyctr.tui import format as f
from pyctr.tui.form import Draft

EVERYTHING = Draft(
    {
        "image": "acme/api:2.4",
        "name": "web",
        "command": """sh -c "trap 'exit 3' TERM; sleep 9" """,
        "memory": "512m",
        "cpus": "1.5",
        "pids": "100",
        "network": "bridge",
        "ports": "8080:80 127.0.0.1::53/udp",
        "mounts": "/srv:/data:ro 'vol:/var/lib'",
        "env": "A=1 B='two words' A=3",
        "restart": "on-failure:3",
    },
    {"tty", "stdin_open", "init", "readonly_rootfs"},
)


def test_every_field_reaches_the_spec() -> None:
    reading = form.read(EVERYTHING)
    assert reading.complaints == {}
    assert reading.spec == ContainerSpec(
        image="acme/api:2.4",
        name="web",
        command=["sh", "-c", "trap 'exit 3' TERM; sleep 9"],
        limits=Limits(memory=512 << 20, cpus=1.5, pids=100),
        ports=[
            Port(container_port=80, host_port=8080),
            Port(container_port=53, host_ip="127.0.0.1", protocol="udp"),
        ],
        mounts=[
            Mount(kind="bind", source="/srv", target="/data", readonly=True),
            Mount(kind="volume", source="vol", target="/var/lib"),
        ],
        env=["A=3", "B=two words"],
        restart="on-failure:3",
        tty=True,
        stdin_open=True,
        init=True,
        readonly_rootfs=True,
    )


def test_the_command_line_reads_the_same_words_to_the_same_spec() -> None:
    flags = Flags("pyctr create", interspersed=False)
    container_flags.configure(flags)
    words = [
        *("--name", "web", "-m", "512m", "--cpus", "1.5", "--pids-limit", "100", "-p", "8080:80"),
        *("-p", "127.0.0.1::53/udp", "-v", "/srv:/data:ro", "-v", "vol:/var/lib", "-e", "A=1", "-e", "B=two words"),
        *("-e", "A=3", "--restart", "on-failure:3", "-it", "--init", "--read-only", "acme/api:2.4"),
        *("sh", "-c", "trap 'exit 3' TERM; sleep 9"),
    ]
    assert form.read(EVERYTHING).spec == container_flags.spec(flags.parse(words))


def test_an_untouched_form_asks_for_the_base_image_and_nothing_else() -> None:
    assert form.read(Draft()).spec == ContainerSpec(image="localhost/base")


@pytest.mark.parametrize(
    ("field", "text", "reason"),
    [
        ("image", " ", "an image is needed"),
        ("name", "-x", "'-x' is not a name"),
        ("name", "db", "'db' is taken"),
        ("command", "sh -c 'x", "no closing quotation"),
        ("memory", "12q", "'12q' is not a size"),
        ("memory", "0", "no limit at all"),
        ("cpus", "-1", "'-1' is not a number of cpus"),
        ("pids", "many", "'many' is not a number of processes"),
        ("network", "container:", "'container:' is not a network"),
        ("ports", "80:80 80:81", "80/tcp is named twice"),
        ("ports", "80:80 x", "'x' is not a port"),
        ("mounts", "/a:b", "'/a:b': the path inside"),
        ("mounts", "/a:/x /b:/x", "two mounts on '/x'"),
        ("env", "=x", "'=x' is not a variable"),
        ("restart", "sometimes", "'sometimes' is not a restart policy"),
    ],
)
def test_what_does_not_fit_is_said_at_its_field(field: str, text: str, reason: str) -> None:
    reading = form.read(Draft({field: text}), taken={"db"})
    assert reading.spec is None
    assert list(reading.complaints) == [field]
    assert reason in reading.complaints[field][0]
    assert reading.complaints[field][1]


def test_fields_that_exclude_each_other_are_said_at_one_of_them() -> None:
    assert list(form.read(Draft({"restart": "always"}, {"auto_remove"})).complaints) == ["restart"]
    for network in ("none", "host", "container:db"):
        assert list(form.read(Draft({"network": network, "ports": "80:80"})).complaints) == ["ports"]
    assert form.read(Draft({"network": "back", "ports": "80:80"})).complaints == {}


def test_the_preview_names_each_step_once_and_limits_without_their_directory() -> None:
    steps = [
        ("cgroup + limits", "/sys/fs/cgroup/memory/pyctr/<id>/memory.limit_in_bytes = 67108864"),
        ("cgroup + limits", "/sys/fs/cgroup/devices/pyctr/<id>/devices.deny = a"),
        ("cgroup + limits", "/sys/fs/cgroup/devices/pyctr/<id>/devices.allow = c 1:3 rwm"),
        ("network", "eth0"),
        ("cgroup + limits", "enter /pyctr/<id>"),
    ]
    text = [f.plain(line) for line in preview.lines(steps, 60)]
    assert text == [
        "cgroup + limits",
        "  memory.limit_in_bytes = 67108864",
        "  enter /pyctr/<id>",
        "  devices: 2 rules, all others refused",
        "",
        "network",
        "  eth0",
    ]


@pytest.mark.parametrize("width", [16, 21, 40])
def test_the_preview_never_leaves_its_pane_and_loses_nothing(width: int) -> None:
    words = "bind /tmp/a/rather/long/path/without/any/blank on /目录/目录/目录/目录 (rbind,rprivate) " + "x" * 90
    pieces = preview.wrap(words, width)
    assert all(f.width(piece) <= width for piece in pieces)
    assert "".join(pieces).replace(" ", "") == words.replace(" ", "")


def test_the_preview_shows_no_control_characters() -> None:
    drawn = "".join(f.plain(line) for line in preview.lines([("exec", "sh -c '\x1b]52;c;AAAA\x07'")], 40))
    assert drawn.isprintable()
