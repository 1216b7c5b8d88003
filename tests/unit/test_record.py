"""Records behave like dataclasses and never lose what they do not know."""

import pytest

from pyctr.core.record import Record
from pyctr.core.spec import ContainerSpec, Limits, Port


def test_a_spec_survives_the_trip_to_json_and_back():
    spec = ContainerSpec(image="a", limits=Limits(memory=5), ports=[Port(container_port=80)])
    assert ContainerSpec.from_dict(spec.to_dict()) == spec


def test_fields_of_a_newer_version_are_written_back():
    assert Port.from_dict({"container_port": 1, "novel": 7}).to_dict()["novel"] == 7


def test_defaults_are_not_shared_between_records():
    first, second = ContainerSpec(image="a"), ContainerSpec(image="b")
    first.env.append("A=1")
    first.limits.memory = 1
    assert second.env == [] and second.limits.memory is None


def test_a_missing_field_is_named():
    with pytest.raises(TypeError, match="image"):
        ContainerSpec()
    with pytest.raises(ValueError, match="container_port"):
        Port.from_dict({})
    with pytest.raises(TypeError, match="colour"):
        Port(container_port=1, colour="red")


def test_subclasses_inherit_fields():
    class Base(Record):
        a: int = 1

    class Sub(Base):
        b: int = 2

    assert Sub(a=3).to_dict() == {"a": 3, "b": 2}
