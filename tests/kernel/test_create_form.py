"""What the create form makes of a spec: a container, or an explanation and nothing."""

from __future__ import annotations

from pyctr.core.engine import Engine
from pyctr.core.spec import ContainerSpec
from pyctr.tui import making
from tests.support.host import Host


def test_a_container_that_cannot_start_is_taken_back(host: Host) -> None:
    spec = ContainerSpec(image="localhost/base", name="lost", command=["no-such-program"], network="none")
    made = making.make(Engine(host.paths), spec, start=True)
    assert made.problem == "cannot start lost"
    assert "no-such-program" in made.hint
    assert host.run("ps", "-aq").stdout == ""
    assert host.census() == {}
    spec.command = ["true"]
    assert making.make(Engine(host.paths), spec, start=False).name == "lost"


def test_looking_at_the_plan_makes_nothing(host: Host) -> None:
    before = host.census()
    planned = making.describe(Engine(host.paths), ContainerSpec(image="localhost/base", name="idea"))
    assert not planned.problem
    assert ("exec", "/bin/sh") in planned.steps
    assert host.run("ps", "-aq").stdout == ""
    assert host.census() == before


def test_an_image_or_network_that_is_not_there_is_said_at_its_field(host: Host) -> None:
    engine = Engine(host.paths)
    assert making.describe(engine, ContainerSpec(image="acme/none:1")).field == "image"
    assert making.describe(engine, ContainerSpec(image="localhost/base", network="nowhere")).field == "network"
