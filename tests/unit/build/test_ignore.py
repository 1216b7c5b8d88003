"""The meaning of .dockerignore, by the cases of Docker's documentation and of its matcher's known corners."""

import pytest

from pyctr.core.build.ignore import Ignore, match
from pyctr.core.errors import UsageError


@pytest.mark.parametrize(
    ("lines", "path", "ignored"),
    [
        ("*/temp*", "somedir/temporary.txt", True),
        ("*/temp*", "somedir/sub/temporary.txt", False),
        ("*/*/temp*", "somedir/sub/temporary.txt", True),
        ("temp?", "tempa", True),
        ("temp?", "temp", False),
        ("**/*.go", "main.go", True),
        ("**/*.go", "a/b/main.go", True),
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
        ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", False),
        ("dir", "dir/below/file", True),
        ("dir/", "dir/file", True),
        ("/dir", "dir/file", True),
        ("./dir", "dir/file", True),
        ("a/../b", "b", True),
        ("# comment\n\n  spaced  ", "spaced", True),
        ("#x", "#x", False),
        ("\\#x", "#x", True),
        ("**", "anything/at/all", True),
        ("**\n!keep", "keep/it", False),
        ("dir/**", "dir", False),
        ("dir/**", "dir/x", True),
        ("**/dir", "dir", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a**b", "a/x/b", True),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("a[^b]c", "a/c", False),
        ("a\\*", "a*", True),
        ("a\\*", "ab", False),
        ("a.b", "axb", False),
        (".", "x", False),
        ("\ufeffbom", "bom", True),
        ("! keep\nkeep", "keep", True),
        ("line\nbreak", "line\nbreak", False),
    ],
)
def test_patterns_mean_what_docker_means(lines: str, path: str, ignored: bool) -> None:
    assert Ignore.read(lines).ignores(path) is ignored


@pytest.mark.parametrize("line", ["!", "[a", "a\\", "[z-a]"])
def test_a_pattern_that_is_none_is_named(line: str) -> None:
    with pytest.raises(UsageError, match=r"\.dockerignore: "):
        Ignore.read(f"fine\n{line}\n")


def test_a_directory_is_looked_into_only_when_something_may_be_taken_back() -> None:
    assert Ignore.read("dir").filter("dir", True) == (False, False)
    assert Ignore.read("dir\n!dir/keep").filter("dir", True) == (False, True)
    assert Ignore.read("*.o").filter("src", True) == (True, True)


def test_source_wildcards_stay_within_a_component() -> None:
    assert match("a/*.c", "a/x.c") and not match("a/*.c", "a/b/x.c")
