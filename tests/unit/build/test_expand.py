"""Variables and quotes as the Dockerfile reference has them; a POSIX shell is asked where it means the same."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core.build import expand
from pyctr.core.build.expand import BadWord

BOUNDED = settings(deadline=None, derandomize="PYCTR_FUZZ" not in os.environ, max_examples=400)
SCOPE = {"x": "one", "e": "", "path": "/a/b/c.tar.gz", "x1": "two"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$x", "one"),
        ("${x}1", "one1"),
        ("$x1", "two"),
        ("$none-", "-"),
        ("a$", "a$"),
        ("$/", "$/"),
        ("\\$x", "$x"),
        ("'$x'", "$x"),
        ('"$x \\$x \\" \\a"', 'one $x " \\a'),
        ("${none:-d}", "d"),
        ("${e:-d}", "d"),
        ("${e-d}", ""),
        ("${none-d}", "d"),
        ("${x:+y}", "y"),
        ("${e:+y}", ""),
        ("${e+y}", "y"),
        ("${none:-${x}}", "one"),
        ("${none:-'a b'}", "a b"),
        ("${path#*/}", "a/b/c.tar.gz"),
        ("${path##*/}", "c.tar.gz"),
        ("${path%.*}", "/a/b/c.tar"),
        ("${path%%.*}", "/a/b/c"),
        ("${path%?z}", "/a/b/c.tar."),
        ("${path/b/X}", "/a/X/c.tar.gz"),
        ("${path//[/]/X}", "/a/b/c.tar.gz"),
        ("${path//a/X}", "/X/b/c.tXr.gz"),
        ("${path//\\//-}", "-a-b-c.tar.gz"),
        ("${path/a}", "//b/c.tar.gz"),
        ("", ""),
    ],
)
def test_a_word(text: str, value: str) -> None:
    assert expand.word(text, SCOPE) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${x", "bad substitution"),
        ("${}", "bad substitution"),
        ("${x:-a", "no closing '}'"),
        ("${x!y}", "no substitution"),
        ("'a", "without its end"),
        ('"a', "without its end"),
        ("${none:?}", "none: is not set"),
        ("${none:?say why}", "none: say why"),
    ],
)
def test_a_word_that_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadWord, match=why.replace("?", r"\?")):
        expand.word(text, SCOPE)


def test_an_unquoted_variable_is_several_words_and_a_quoted_one_is_one() -> None:
    assert expand.words('$a "$a" b', {"a": "1 2"}) == ["1", "2", "1 2", "b"]


def test_pairs_keep_their_quotes_until_they_are_expanded() -> None:
    assert expand.pairs("a=1 b='x y' c=z\\ w") == [("a", "1"), ("b", "'x y'"), ("c", "z\\ w")]
    assert expand.pairs("a b  c") == [("a", "b  c")]
    with pytest.raises(BadWord, match="'b' is not KEY=VALUE"):
        expand.pairs("a=1 b")


def test_a_document_keeps_its_quotes_and_other_escapes() -> None:
    assert expand.raw("'$x' \"$x\" \\$x \\n", SCOPE) == "'one' \"one\" $x \\n"


TEXT = st.lists(
    st.sampled_from(
        ["$x", "${x}", "${e:-d}", "${none-", "}", "${x:+", "${path##*/}", "'", '"', "\\", "a", " ", "$", "{", "%", "#"]
    ),
    max_size=12,
).map("".join)


@BOUNDED
@given(TEXT | st.text(max_size=40))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    try:
        assert isinstance(expand.word(text, SCOPE), str)
    except BadWord:
        return


def test_a_shell_agrees() -> None:
    words = [
        f"{open_}{mark}{word}}}"
        for open_ in ("${x", "${e", "${none", "${path")
        for mark in (":-", "-", ":+", "+", "#", "##", "%", "%%")
        for word in ("", "a", "*", "*/", ".*", "?", "'a'", "$x", "${x#o}")
    ]
    script = "\n".join(f'printf "%s\\n" {word}""' for word in words)
    said = subprocess.run(
        ["sh", "-fc", f"IFS=; {script}"], env=SCOPE, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert said == [expand.word(word, SCOPE) for word in words]
