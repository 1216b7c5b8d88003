import pytest

from pyctr.core.errors import UsageError
from pyctr.core.images.reference import parse


@pytest.mark.parametrize(
    ("text", "normal", "familiar"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("acme/api:2.4", "docker.io/acme/api:2.4", "acme/api:2.4"),
        ("index.docker.io/acme/api", "docker.io/acme/api:latest", "acme/api:latest"),
        ("localhost/base", "localhost/base:latest", "localhost/base:latest"),
        ("localhost:5000/a/b_c/d__e--f:T.x-1", "localhost:5000/a/b_c/d__e--f:T.x-1", None),
        ("[::1]:5000/a", "[::1]:5000/a:latest", None),
        ("ghcr.io/a@sha256:" + "0" * 64, "ghcr.io/a@sha256:" + "0" * 64, None),
        ("a:1@sha256:" + "0" * 64, "docker.io/library/a:1@sha256:" + "0" * 64, "a:1@sha256:" + "0" * 64),
        ("base", "docker.io/library/base:latest", "base:latest"),
    ],
)
def test_what_people_write_has_one_normal_form(text: str, normal: str, familiar: str | None) -> None:
    reference = parse(text)
    assert str(reference) == normal
    assert reference.familiar == (familiar or normal)
    assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "a:", "/a", "a/", "a//b", "a b", "Alpine", "a..b", "a___b", "-a", "a-", "a:-x", "a:" + "t" * 129),
        *("a@sha256:1", "a@md5:" + "0" * 32, "../etc", "a/../b", "ex ample.com/a", "-x.com/a", "host:port/a"),
        *("x" * 256, "a\nb", "ä"),
    ],
)
def test_nonsense_is_refused_with_the_text_quoted(text: str) -> None:
    with pytest.raises(UsageError, match="invalid image reference") as caught:
        parse(text)
    assert caught.value.hint


def test_capital_letters_get_the_right_spelling_as_hint() -> None:
    with pytest.raises(UsageError) as caught:
        parse("acme/Api:2")
    assert "acme/api:2" in caught.value.hint
