"""Go templates, the part that people put behind `--format`.

    {{.State.Status}}  {{json .}}  {{upper .Names}}  {{join .Args " "}}  {{.Label "a"}}
    {{index .Labels "a.b"}}  {{if eq .State.Status "running"}}up{{else}}down{{end}}  {{range .Args}}{{.}}{{end}}
    {{range $port, $to := .Ports}}{{$port}}{{end}}  {{with .Config}}{{.Image}}{{end}}  {{.Name | upper}}
    {{- trimmed -}}

Data are dicts, lists, strings, numbers, booleans, None; a callable field takes the arguments that follow it.
"""

from __future__ import annotations

import json

from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Node = tuple[Any, ...]

_SPACE = " \t\r\n"
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"'}


class Template:
    """A parsed template. Raises UsageError when it cannot be parsed, or names a field that is not there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = _split(text)
        self._at = 0
        self._body = self._block(frozenset())

    def render(self, data: Any) -> str:
        out: list[str] = []
        _Run(data, out).block(self._body, data)
        return "".join(out)

    def fields(self) -> set[str]:
        """The first names of all fields that are used, so that expensive ones are computed only when asked for."""
        found: set[str] = set()
        _collect(self._body, found)
        return found

    def _block(self, until: frozenset[str]) -> list[Node]:
        body: list[Node] = []
        while self._at < len(self._tokens):
            kind, content = self._tokens[self._at]
            self._at += 1
            if kind == "text":
                body.append(("text", content))
                continue
            words = _lex(content)
            word = words[0][1] if words and words[0][0] == "word" else ""
            if word in ("end", "else"):
                if word not in until:
                    raise _bad(f"'{word}' without a beginning")
                self._at -= 1
                return body
            if word == "if":
                body.append(self._if(words[1:]))
            elif word in ("range", "with"):
                body.append(self._scope(word, words[1:]))
            elif words:
                names, rest = _assignment(words)
                body.append(("set", names[0], _pipeline(rest)) if names else ("print", _pipeline(words)))
        if until:
            raise _bad("an 'end' is missing")
        return body

    def _if(self, words: list[tuple[str, str]]) -> Node:
        condition = _pipeline(words)
        then = self._block(frozenset({"end", "else"}))
        return ("if", condition, then, self._else())

    def _scope(self, word: str, words: list[tuple[str, str]]) -> Node:
        names, rest = _assignment(words)
        body = self._block(frozenset({"end", "else"}))
        return (word, names, _pipeline(rest), body, self._else())

    def _else(self) -> list[Node]:
        words = [word for word in _lex(self._tokens[self._at][1]) if word[0] != "space"]
        self._at += 1
        if words[0][1] == "end":
            return []
        if len(words) > 1 and words[1][1] == "if":
            return [self._if(_lex(self._tokens[self._at - 1][1].partition("if")[2]))]
        body = self._block(frozenset({"end"}))
        self._at += 1
        return body


class _Run:
    """One rendering: the output and the variables."""

    def __init__(self, root: Any, out: list[str]) -> None:
        self.root = root
        self.out = out
        self.variables: dict[str, Any] = {"$": root}

    def block(self, body: list[Node], dot: Any) -> None:
        for node in body:
            kind = node[0]
            if kind == "text":
                self.out.append(node[1])
            elif kind == "print":
                self.out.append(text_of(self.value(node[1], dot)))
            elif kind == "set":
                self.variables[node[1]] = self.value(node[2], dot)
            elif kind == "if":
                self.block(node[2] if self.value(node[1], dot) else node[3], dot)
            elif kind == "with":
                value = self.value(node[2], dot)
                if node[1]:
                    self.variables[node[1][0]] = value
                self.block(node[3] if value else node[4], value if value else dot)
            else:
                self._range(node, dot)

    def _range(self, node: Node, dot: Any) -> None:
        _, names, pipeline, body, otherwise = node
        over = self.value(pipeline, dot)
        pairs = sorted(over.items()) if isinstance(over, dict) else list(enumerate(over or ()))
        for key, value in pairs:
            if names:
                self.variables[names[-1]] = value
                if len(names) > 1:
                    self.variables[names[0]] = key
            self.block(body, value)
        if not pairs:
            self.block(otherwise, dot)

    def value(self, pipeline: Node, dot: Any) -> Any:
        last: list[Any] = []
        for command in pipeline:
            last = [self._command(command, dot, last)]
        return last[0] if last else None

    def _command(self, command: Node, dot: Any, piped: list[Any]) -> Any:
        head, *rest = command
        arguments = [self._operand(operand, dot) for operand in rest] + piped
        if head[0] == "function":
            function = FUNCTIONS.get(head[1])
            if function is None:
                raise _bad(f"there is no function '{head[1]}'", f"known are {', '.join(FUNCTIONS)}")
            try:
                return function(*arguments)
            except (TypeError, KeyError, IndexError, ValueError, AttributeError):
                raise _bad(f"'{head[1]}' cannot be applied to this") from None
        value = self._operand(head, dot)
        if callable(value):
            return value(*arguments)
        if arguments:
            raise _bad("a field takes no arguments")
        return value

    def _operand(self, operand: Node, dot: Any) -> Any:
        kind, start, chain = operand
        if kind == "literal":
            return start
        if kind == "function":
            return self._command((operand,), dot, [])
        if kind == "dot":
            value = dot
        elif kind == "variable":
            if start not in self.variables:
                raise _bad(f"there is no variable '{start}'")
            value = self.variables[start]
        else:
            value = self.value(start, dot)
        for name in chain:
            value = self._field(value, name)
        return value

    def _field(self, value: Any, name: str) -> Any:
        if isinstance(value, dict):
            if name in value:
                return value[name]
            if value is not self.root:
                return None
            from pyctr.core.near import nearest

            close = nearest(name, [key for key in value if isinstance(key, str)])
            raise _bad(
                f"there is no field '.{name}'",
                f"did you mean '.{close}'?" if close else f"known are {', '.join(value)}",
            )
        if value is None:
            return None
        raise _bad(f"'.{name}': the value before it has no fields")


def text_of(value: Any) -> str:
    """A value as a template prints it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<no value>"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{text_of(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(text_of, value)) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def to_json(value: Any) -> str:
    """Compact JSON; callable fields are left out."""
    return json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if not callable(item)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else value[key]
    return value


def _printf(form: str, *arguments: Any) -> str:
    return form.replace("%v", "%s").replace("%q", '"%s"') % tuple(
        text_of(argument) if isinstance(argument, (dict, list, bool)) or argument is None else argument
        for argument in arguments
    )


def _first_true(*values: Any) -> Any:
    return next((value for value in values if value), values[-1])


def _first_false(*values: Any) -> Any:
    return next((value for value in values if not value), values[-1])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": to_json,
    "upper": lambda text: text_of(text).upper(),
    "lower": lambda text: text_of(text).lower(),
    "title": lambda text: text_of(text).title(),
    "join": lambda items, separator="": str(separator).join(map(text_of, items or ())),
    "split": lambda text, separator: text.split(separator),
    "truncate": lambda text, length: text[:length],
    "pad": lambda text, before, after: " " * before + text + " " * after,
    "println": lambda *items: " ".join(map(text_of, items)) + "\n",
    "print": lambda *items: "".join(map(text_of, items)),
    "printf": _printf,
    "len": lambda value: len(value or ()),
    "index": _index,
    "slice": lambda value, start=0, end=None: value[start:end],
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": lambda first, second: first != second,
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
    "and": _first_false,
    "or": _first_true,
    "not": lambda value: not value,
}


def _bad(message: str, hint: str = "a field is {{.Name}}, everything is {{json .}}") -> UsageError:
    return UsageError(f"--format: {message}", hint=hint)


def _split(text: str) -> list[tuple[str, str]]:
    """Text and actions in turn; `{{-` and `-}}` trim the text beside them."""
    tokens: list[tuple[str, str]] = []
    trim = False
    at = 0
    while at < len(text):
        start = text.find("{{", at)
        piece = text[at:] if start < 0 else text[at:start]
        if trim:
            piece = piece.lstrip(_SPACE)
        end = text.find("}}", start)
        if start >= 0 and end < 0:
            raise _bad("'{{' without '}}'")
        content = text[start + 2 : end] if start >= 0 else ""
        if content.startswith("-") and content[1:2] in tuple(_SPACE):
            content, piece = content[1:], piece.rstrip(_SPACE)
        trim = content.endswith("-") and content[-2:-1] in tuple(_SPACE)
        if piece:
            tokens.append(("text", piece))
        if start < 0:
            break
        content = content[:-1] if trim else content
        if not content.strip().startswith("/*"):
            tokens.append(("action", content.strip()))
        at = end + 2
    return tokens


def _lex(content: str) -> list[tuple[str, str]]:
    """The tokens of an action: word, field (".A"), variable ("$a"), string, number, sign."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(content):
        c = content[at]
        if c in _SPACE:
            found.append(("space", ""))
            at += 1
        elif c in '"`':
            at += 1
            piece = []
            while at < len(content) and content[at] != c:
                if content[at] == "\\" and c == '"':
                    at += 1
                    piece.append(_ESCAPES.get(content[at : at + 1], content[at : at + 1]))
                else:
                    piece.append(content[at])
                at += 1
            if at >= len(content):
                raise _bad("a string does not end")
            found.append(("string", "".join(piece)))
            at += 1
        elif content.startswith(":=", at):
            found.append(("sign", ":="))
            at += 2
        elif c in "|()=,":
            found.append(("sign", c))
            at += 1
        elif c in ".$-" or c in _WORD:
            end = at + 1
            while end < len(content) and content[end] in _WORD:
                end += 1
            piece_ = content[at:end]
            kind = "field" if c == "." else "variable" if c == "$" else "word"
            if kind == "word" and piece_.lstrip("-").isdecimal():
                kind = "number"
            found.append((kind, piece_))
            at = end
        else:
            raise _bad(f"'{c}' is not understood")
    return found


def _assignment(words: list[tuple[str, str]]) -> tuple[list[str], list[tuple[str, str]]]:
    """Names before `:=`, and what follows."""
    for index, (kind, word) in enumerate(words):
        if kind == "sign" and word in (":=", "="):
            return [name for sort, name in words[:index] if sort == "variable"], words[index + 1 :]
        if kind not in ("variable", "space") and word != ",":
            break
    return [], words


def _pipeline(words: list[tuple[str, str]]) -> Node:
    pipeline, at = _commands(words, 0)
    if at < len(words):
        raise _bad(f"'{words[at][1]}' is out of place")
    return pipeline


def _commands(words: list[tuple[str, str]], at: int) -> tuple[Node, int]:
    commands: list[Node] = []
    command: list[Node] = []
    while at < len(words) and words[at] != ("sign", ")"):
        if words[at] == ("sign", "|"):
            if not command:
                raise _bad("nothing stands before '|'")
            commands.append(tuple(command))
            command = []
            at += 1
        elif words[at][0] == "space":
            at += 1
        else:
            operand, at = _operand(words, at, first=not command)
            command.append(operand)
    if not command:
        raise _bad("a value is missing")
    return (*commands, tuple(command)), at


def _operand(words: list[tuple[str, str]], at: int, *, first: bool) -> tuple[Node, int]:
    kind, word = words[at]
    at += 1
    chain: list[str] = []
    start: Any = None
    if (kind, word) == ("sign", "("):
        start, at = _commands(words, at)
        if at >= len(words):
            raise _bad("')' is missing")
        sort = "pipeline"
        at += 1
    elif kind == "string":
        return ("literal", word, ()), at
    elif kind == "number":
        return ("literal", int(word), ()), at
    elif kind == "word" and word in ("true", "false", "nil"):
        return ("literal", {"true": True, "false": False, "nil": None}[word], ()), at
    elif kind == "word":
        return ("function", word, ()), at
    elif kind == "field":
        sort = "dot"
        if len(word) > 1:
            chain.append(word[1:])
    elif kind == "variable":
        sort, start = "variable", word
    else:
        raise _bad(f"'{word}' is out of place")
    while at < len(words) and words[at][0] == "field" and len(words[at][1]) > 1:
        chain.append(words[at][1][1:])
        at += 1
    return (sort, start, tuple(chain)), at


def _collect(node: Any, found: set[str]) -> None:
    if isinstance(node, tuple) and len(node) == 3 and node[0] == "dot":
        found.add(node[2][0] if node[2] else "")
    elif isinstance(node, (list, tuple)):
        for item in node:
            _collect(item, found)
