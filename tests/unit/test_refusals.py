"""Requests that no host could carry out are refused in words that name the flag and the right range."""

from __future__ import annotations

import pytest

from pyctr.core import creation, errors, refusals
from pyctr.core.spec import ContainerSpec, Limits


def refused(**fields: object) -> errors.UsageError:
    with pytest.raises(errors.UsageError) as caught:
        creation.check(ContainerSpec(image="base", **fields))
    return caught.value


@pytest.mark.parametrize("field", ["memory", "memory_reservation", "memory_high"])
def test_memory_nothing_could_run_in_is_refused(field: str) -> None:
    error = refused(limits=Limits(**{field: 1024}))
    assert error.message == f"--{field.replace('_', '-')}: 1024 bytes are too few"
    assert error.hint == "6m is the least"
    refusals.limits(Limits(**{field: 6 << 20}))
    refusals.limits(Limits(**{field: 1 << 62}))  # never reached, and no mistake: Docker takes it, too
    refusals.limits(Limits(**{field: -1}))


@pytest.mark.parametrize("text", ["a\nb", "", "a b", "-x", ".x", "a/b", "ä", "x" * 254, "\udcff"])
def test_names_that_would_break_a_hosts_file_are_refused(text: str) -> None:
    assert "is not a host name" in refused(network_aliases=[text]).message
    assert "is not a domain" in refused(dns_search=[text]).message


def test_names_that_networks_have_are_taken() -> None:
    refusals.names(
        ContainerSpec(image="x", network_aliases=["db", "db.local", "a_b"], dns_search=[".", "example.org."])
    )
    refusals.names(ContainerSpec(image="x", dns_options=["ndots:2", "rotate"], domainname="d" * 64))


def test_an_option_for_two_lines_of_resolv_conf_and_a_domain_beyond_the_kernels_are_refused() -> None:
    assert "--dns-option" in refused(dns_options=["ndots:2\nnameserver 10.0.0.1"]).message
    assert "too long" in refused(domainname="d" * 65).message
