"""`--format` understands what people type from Docker's documentation."""

from __future__ import annotations

import pytest

from pyctr.cli.template import Template
from pyctr.core.errors import UsageError

DATA = {
    "Name": "web",
    "Args": ["-c", "x"],
    "State": {"Status": "running", "Pid": 7, "Running": True, "Code": 0},
    "Labels": {"a.b": "1", "c": "2"},
    "Mounts": [{"Source": "/a"}, {"Source": "/b"}],
    "Nothing": None,
    "Label": lambda key: {"a.b": "1"}.get(key, ""),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "web"),
        ("{{ .Name }}!", "web!"),
        ("{{.State.Status}} {{.State.Pid}} {{.State.Running}}", "running 7 true"),
        ("{{json .State.Status}}", '"running"'),
        ("{{json .Mounts}}", '[{"Source":"/a"},{"Source":"/b"}]'),
        ("{{upper .Name}} {{.Name | upper | lower}}", "WEB web"),
        ('{{join .Args ","}}', "-c,x"),
        ("{{len .Mounts}}", "2"),
        ('{{index .Labels "a.b"}}', "1"),
        ("{{(index .Mounts 1).Source}}", "/b"),
        ('{{.Label "a.b"}}', "1"),
        ("{{.Labels}}", "map[a.b:1 c:2]"),
        ("{{.Args}}", "[-c x]"),
        ("{{.State.Missing}}", "<no value>"),
        ("{{range .Mounts}}{{.Source}};{{end}}", "/a;/b;"),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", "a.b=1 c=2 "),
        ("{{range $m := .Mounts}}{{$m.Source}}{{$.Name}}{{end}}", "/aweb/bweb"),
        ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .Nothing}}a{{else if .State.Code}}b{{else}}c{{end}}", "c"),
        ('{{if and .State.Running (eq .Name "web")}}yes{{end}}', "yes"),
        ("{{with .State}}{{.Pid}}{{end}}", "7"),
        ("a {{- .Name -}} b", "awebb"),
        ('{{printf "%s-%d" .Name 3}}', "web-3"),
        ("{{/* a comment */}}x", "x"),
        ('{{$n := .Name}}{{$n}}{{"\\t"}}', "web\t"),
        ("{{not .State.Running}}", "false"),
    ],
)
def test_rendering(text: str, expected: str) -> None:
    assert Template(text).render(DATA) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{.Nmae}}", "--format: there is no field '.Nmae'"),
        ("{{.Name", "--format: '{{' without '}}'"),
        ("{{shout .Name}}", "--format: there is no function 'shout'"),
        ("{{if .Name}}x", "--format: an 'end' is missing"),
        ("{{end}}", "--format: 'end' without a beginning"),
        ("{{.Name.First}}", "--format: '.First': the value before it has no fields"),
        ("{{$x}}", "--format: there is no variable '$x'"),
        ("{{(.Name}}", "--format: ')' is missing"),
        ("{{len .State .State}}", "--format: 'len' cannot be applied to this"),
        ("{{.Name | }}", "--format: a value is missing"),
        ('{{"x}}', "--format: a string does not end"),
    ],
)
def test_mistakes_give_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Template(text).render(DATA)
    assert str(caught.value) == message


def test_a_near_field_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        Template("{{.Stat}}").render(DATA)
    assert caught.value.hint == "did you mean '.State'?"


def test_used_fields_are_known_before_rendering() -> None:
    assert Template("{{.Name}} {{range .Mounts}}{{.Source}}{{end}}").fields() == {"Name", "Mounts", "Source"}
