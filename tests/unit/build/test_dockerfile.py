"""The text of a Dockerfile: what is one instruction, on which line, with which flags and documents."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core.build.dockerfile import Instruction, parse
from pyctr.core.errors import BuildFailure

BOUNDED = settings(deadline=None, derandomize="PYCTR_FUZZ" not in os.environ, max_examples=300)


def one(text: str) -> Instruction:
    [found] = parse(text).instructions
    return found


def refused(text: str) -> str:
    with pytest.raises(BuildFailure) as caught:
        parse(text)
    return str(caught.value)


def test_a_continued_line_is_one_instruction_and_knows_its_first_line() -> None:
    file = parse("FROM a\n\n# said\nRUN one \\\n  # in between\n\n  two \\  \n  three\nCMD x\n")
    assert [(each.name, each.place.line, each.place.end) for each in file.instructions] == [
        ("FROM", 1, 1),
        ("RUN", 4, 8),
        ("CMD", 9, 9),
    ]
    assert file.instructions[1].text.split() == ["one", "two", "three"]


def test_an_escaped_escape_does_not_continue_a_line() -> None:
    assert len(parse("RUN a \\\\\nRUN b").instructions) == 2


def test_the_escape_directive_frees_the_backslash() -> None:
    file = parse("# escape=`\nRUN dir c:\\\nRUN a `\n b")
    assert [each.text for each in file.instructions] == ["dir c:\\", "a  b"]


def test_directives_end_with_the_first_line_that_is_none() -> None:
    assert parse("# syntax=docker/dockerfile:1\n# check=skip=all\n#escape=`\nFROM a").directives == {
        "syntax": "docker/dockerfile:1",
        "check": "skip=all",
        "escape": "`",
    }
    assert parse("# a comment\n# escape=`\nFROM a").escape == "\\"
    assert "Dockerfile:2: the directive 'escape' is there twice" in refused("#escape=`\n#escape=\\\nFROM a")
    assert "bad escape character 'x'" in refused("#escape=x\nFROM a")


def test_a_heredoc_is_taken_as_it_stands() -> None:
    found = one("RUN <<EOF\n# no comment \\\n\n  $x\nEOF\n")
    [document] = found.heredocs
    assert (document.name, document.content, document.expand) == ("EOF", "# no comment \\\n\n  $x\n", True)
    assert found.place.end == 5


def test_several_heredocs_follow_each_other_and_quotes_keep_variables() -> None:
    found = one('COPY <<"A" <<-B /to/\n$a\nA\n\t\tb\n\tB\n')
    assert [(each.name, each.text, each.expand, each.chomp) for each in found.heredocs] == [
        ("A", "$a\n", False, False),
        ("B", "b\n", True, True),
    ]


def test_what_only_looks_like_a_heredoc_is_none() -> None:
    assert one("RUN echo '<<EOF' $((1<<2))").heredocs == ()
    assert one("CMD cat <<EOF").heredocs == ()


def test_a_heredoc_without_its_end_names_the_line_it_begins_on() -> None:
    assert "Dockerfile:2: RUN <<EOF: the heredoc 'EOF' has no end" in refused("FROM a\nRUN <<EOF\nx\n")


def test_json_is_the_exec_form_and_bad_json_the_shell_form() -> None:
    assert one('CMD ["a", "b c"]').words == ("a", "b c")
    assert one("CMD ['a']").words is None
    assert one('CMD ["a", 1]').words is None


def test_flags_come_before_everything_else_and_may_be_quoted() -> None:
    found = one('COPY --from=build --chown="a b" --link x --from=y z')
    assert found.flags == (("from", "build"), ("chown", "a b"), ("link", ""))
    assert found.text == "x --from=y z"
    assert found.switch("link")
    assert one("RUN --mount=type=tmpfs,target=/a --mount=target=/b x").all("mount") == [
        "type=tmpfs,target=/a",
        "target=/b",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM a\nRUNN x", "Dockerfile:2: unknown instruction 'RUNN'"),
        ("FROM a\n\nRUN", "Dockerfile:3: RUN: RUN needs at least one argument"),
        ("COPY --form=x a b", "COPY has no flag '--form'"),
        ("COPY --from x a", "--from needs a value"),
        ("COPY --chown=a --chown=b x y", "--chown is there twice"),
        ("ONBUILD FROM x", "FROM is not allowed as an ONBUILD trigger"),
        ("FROM a\n\0", "Dockerfile:2: a NUL character"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    assert message in refused(text)


def test_a_mistyped_instruction_is_recognised() -> None:
    with pytest.raises(BuildFailure) as caught:
        parse("FORM alpine")
    assert caught.value.hint == "did you mean FROM?"


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_anything() -> None:
    assert [each.text for each in parse("\ufeffFROM a\r\nRUN x \\\r\n y\r\n").instructions] == ["a", "x  y"]


def test_onbuild_keeps_the_documents_of_its_trigger() -> None:
    assert one("ONBUILD RUN <<EOF\nx\nEOF").text == "RUN <<EOF\nx\nEOF"


PIECES = st.sampled_from(
    [
        "FROM a",
        "RUN x",
        "COPY",
        " --from=b",
        " <<EOF",
        "\nEOF",
        "\\",
        "\n",
        "#",
        " escape=`",
        "`",
        '"',
        "'",
        '["a"]',
        "$x",
        "\t",
    ]
)


@BOUNDED
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=80))
def test_any_text_is_read_or_refused_with_a_line_of_it(text: str) -> None:
    try:
        file = parse(text)
    except BuildFailure as error:
        assert 1 <= error.line <= text.count("\n") + 1
        assert "\n" not in str(error)
        return
    last = 0
    for each in file.instructions:
        assert last < each.place.line <= each.place.end <= len(file.lines)
        last = each.place.end
        assert each.text


WORDS = (
    st.text(alphabet="abc $=/.'-", min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda word: bool(word) and not word.startswith("--"))
)


@BOUNDED
@given(st.lists(WORDS, min_size=1, max_size=6))
def test_where_lines_are_broken_does_not_change_what_is_said(words: list[str]) -> None:
    whole = one("RUN " + " ".join(words))
    broken = one("RUN " + " \\\n".join(words))
    assert broken.text.split() == whole.text.split()
