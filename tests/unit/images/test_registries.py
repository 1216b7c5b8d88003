"""registries.conf as its other readers understand it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pyctr.core.errors import NetworkError, UsageError
from pyctr.core.images import registries
from pyctr.core.images.reference import parse
from pyctr.core.images.registries import Registries

DIGEST = "sha256:" + "a" * 64


def read(text: str) -> Registries:
    return Registries([("registries.conf", tomllib.loads(text))])


def places(configuration: Registries, name: str) -> list[str]:
    return [one.name for one in configuration.endpoints(parse(name))]


def test_without_a_file_a_name_is_where_it_says() -> None:
    assert places(Registries(), "alpine") == ["docker.io/library/alpine"]
    assert [str(one) for one in Registries().candidates("alpine:3")] == ["docker.io/library/alpine:3"]


def test_mirrors_come_first_and_the_longest_prefix_counts() -> None:
    configuration = read("""
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.example:5000/hub"
        insecure = true
        [[registry]]
        prefix = "docker.io/library"
        location = "other.example/lib"
    """)
    assert places(configuration, "acme/app") == ["mirror.example:5000/hub/acme/app", "docker.io/acme/app"]
    assert configuration.endpoints(parse("acme/app"))[0].insecure
    assert not configuration.endpoints(parse("acme/app"))[1].insecure
    assert places(configuration, "alpine") == ["other.example/lib/alpine"]
    assert places(configuration, "quay.io/a/b") == ["quay.io/a/b"]


def test_a_prefix_ends_at_a_component() -> None:
    configuration = read('[[registry]]\nprefix = "quay.io/ac"\nlocation = "x.example"\n')
    assert places(configuration, "quay.io/acme/app") == ["quay.io/acme/app"]
    assert places(configuration, "quay.io/ac/app") == ["x.example/app"]


def test_a_wildcard_covers_subdomains() -> None:
    configuration = read('[[registry]]\nprefix = "*.example.com"\nlocation = "other.example"\n')
    assert places(configuration, "a.example.com/x/y") == ["other.example/x/y"]
    assert places(configuration, "example.com/x/y") == ["example.com/x/y"]


def test_a_mirror_may_be_for_digests_only() -> None:
    configuration = read("""
        [[registry]]
        prefix = "quay.io"
        [[registry.mirror]]
        location = "tags.example"
        pull-from-mirror = "tag-only"
        [[registry.mirror]]
        location = "digests.example"
        pull-from-mirror = "digest-only"
    """)
    assert places(configuration, "quay.io/a/b:1") == ["tags.example/a/b", "quay.io/a/b"]
    assert places(configuration, f"quay.io/a/b@{DIGEST}") == ["digests.example/a/b", "quay.io/a/b"]


def test_a_blocked_registry_is_refused() -> None:
    configuration = read('[[registry]]\nlocation = "evil.example"\nblocked = true\n')
    with pytest.raises(NetworkError, match=r"'evil\.example/a/b' is blocked"):
        configuration.endpoints(parse("evil.example/a/b"))


def test_a_push_goes_where_the_name_says() -> None:
    configuration = read("""
        [[registry]]
        prefix = "quay.io/team"
        location = "cache.example/team"
        insecure = true
        [[registry.mirror]]
        location = "mirror.example"
        [[registry]]
        location = "evil.example"
        blocked = true
    """)
    endpoint = configuration.destination(parse("quay.io/team/app:1"))
    assert (endpoint.name, endpoint.insecure, endpoint.mirror) == ("quay.io/team/app", True, False)
    assert not configuration.destination(parse("quay.io/other/app")).insecure
    with pytest.raises(NetworkError, match="blocked"):
        configuration.destination(parse("evil.example/app"))


def test_short_names_follow_aliases_then_the_search_list() -> None:
    configuration = read("""
        unqualified-search-registries = ["quay.io"]
        [aliases]
        "fedora" = "registry.fedoraproject.org/fedora"
    """)
    assert [str(one) for one in configuration.candidates("fedora:40")] == ["registry.fedoraproject.org/fedora:40"]
    assert [str(one) for one in configuration.candidates("acme/app")] == ["quay.io/acme/app:latest"]
    assert [str(one) for one in configuration.candidates("docker.io/alpine")] == ["docker.io/library/alpine:latest"]


def test_nobody_guesses_between_two_registries_when_told_not_to() -> None:
    text = 'unqualified-search-registries = ["quay.io", "docker.io"]\n'
    with pytest.raises(UsageError, match=r"could be quay\.io/app or app"):
        read(text + 'short-name-mode = "enforcing"\n').candidates("app")
    for mode in ("", 'short-name-mode = ""\n', 'short-name-mode = "disabled"\n'):
        names = [one.name for one in read(text + mode).candidates("app")]
        assert names == ["quay.io/app", "docker.io/library/app"]


def test_the_first_format_of_the_file_is_read() -> None:
    configuration = read(
        '[registries.search]\nregistries = ["quay.io"]\n[registries.insecure]\nregistries = ["a.example"]\n'
    )
    assert [one.name for one in configuration.candidates("x")] == ["quay.io/x"]
    assert configuration.endpoints(parse("a.example/x"))[0].insecure


def test_drop_ins_are_merged_in_name_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = tmp_path / "registries.conf"
    main.write_text('unqualified-search-registries = ["one.example"]\n[aliases]\na = "x.example/a"\n')
    (tmp_path / "registries.conf.d").mkdir()
    (tmp_path / "registries.conf.d/10.conf").write_text('[aliases]\na = "y.example/a"\n')
    (tmp_path / "registries.conf.d/05.conf").write_text('unqualified-search-registries = ["two.example"]\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(main))
    configuration = registries.load()
    assert configuration.search == ["two.example"] and configuration.aliases == {"a": "y.example/a"}


@pytest.mark.parametrize("text", ["unqualified", "registry = 5", "[[registry]]\nblocked = true\n"])
def test_a_broken_file_is_named(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.conf").write_text(text)
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "r.conf"))
    with pytest.raises(UsageError, match=r"r\.conf"):
        registries.load()
