"""Variables and quotes in a Dockerfile's words, as its reference has them ("Environment replacement").

    $x ${x}  ${x:-y} ${x-y}  ${x:+y} ${x+y}  ${x:?y} ${x?y}  ${x#p} ${x##p} ${x%p} ${x%%p}  ${x/p/y} ${x//p/y}

The word after a modifier is expanded likewise. Unknown variables are empty. `'…'` keeps everything, `"…"` keeps all but
variables and escapes.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEPTH = 32


class BadWord(ValueError):
    """A word that cannot be expanded; the text says why."""


def word(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """One word with its variables replaced and its quotes removed. Raises BadWord."""
    return _Expander(text, variables, escape).run()


def raw(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Variables replaced, quotes kept: the contents of a heredoc. Raises BadWord."""
    return _Expander(text, variables, escape, quotes=False).run()


def words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """`word` for each word of a line; what an unquoted variable holds is split at blanks, too. Raises BadWord."""
    found = []
    for one in split(text, escape):
        value = word(one, variables, escape)
        quoted = any(mark in one for mark in "'\"")
        found += [value] if quoted or "$" not in one else value.split()
    return found


def split(text: str, escape: str = "\\") -> list[str]:
    """Words at blanks outside quotes, quotes and escapes kept."""
    found, current, quote, at, begun = [], "", "", 0, False
    while at < len(text):
        char = text[at]
        if char == escape and quote != "'" and at + 1 < len(text):
            current, begun = current + text[at : at + 2], True
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            if begun:
                found.append(current)
            current, begun = "", False
            at += 1
            continue
        current, begun = current + char, True
        at += 1
    return [*found, current] if begun else found


def pairs(text: str, escape: str = "\\", *, old_form: bool = True) -> list[tuple[str, str]]:
    """KEY=VALUE …, values not expanded yet; or the old form KEY VALUE. Raises BadWord."""
    parts = split(text, escape)
    first = parts[0] if parts else ""
    if "=" not in first:
        rest = text.strip()[len(first) :].strip()
        if not first or not rest or not old_form:
            raise BadWord(f"'{first or text}' has no value: it is KEY=VALUE")
        return [(first, rest)]
    found = []
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals:
            raise BadWord(f"'{part}' is not KEY=VALUE: quote blanks")
        if not key:
            raise BadWord(f"'{part}' has no name before its '='")
        found.append((key, value))
    return found


class _Expander:
    """A position in a text."""

    def __init__(
        self, text: str, variables: Mapping[str, str], escape: str, *, quotes: bool = True, depth: int = 0
    ) -> None:
        self.text = text
        self.variables = variables
        self.escape = escape
        self.quotes = quotes
        self.depth = depth
        self.at = 0
        if depth > _DEPTH:
            raise BadWord("variables are nested too deeply")

    def run(self) -> str:
        return self._until("")

    def _until(self, stops: str, *, keep_escapes: bool = False) -> str:
        """What comes up to one of the unquoted characters `stops`, which is left there."""
        out: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in stops:
                return "".join(out)
            if char == "'" and self.quotes:
                out.append(self._single())
            elif char == '"' and self.quotes:
                out.append(self._double())
            elif char == "$":
                out.append(self._dollar())
            elif char == self.escape:
                out.append(self._escaped(keep_escapes))
            else:
                out.append(char)
                self.at += 1
        if stops:
            raise BadWord(f"'{self.text}' has no closing '}}'")
        return "".join(out)

    def _escaped(self, keep: bool) -> str:
        following = self.text[self.at + 1 : self.at + 2]
        self.at += 2
        if not self.quotes:
            # in a document only what would mean something is escaped
            return following if following in ("$", self.escape) else self.escape + following
        return self.escape + following if keep else following

    def _single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise BadWord(f"'{self.text}' has a ' without its end")
        found = self.text[self.at + 1 : end]
        self.at = end + 1
        return found

    def _double(self) -> str:
        out: list[str] = []
        self.at += 1
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                return "".join(out)
            if char == "$":
                out.append(self._dollar())
                continue
            if char == self.escape and self.text[self.at + 1 : self.at + 2] in ('"', "$", self.escape):
                self.at += 1
                char = self.text[self.at]
            out.append(char)
            self.at += 1
        raise BadWord(f"'{self.text}' has a \" without its end")

    def _dollar(self) -> str:
        self.at += 1
        if self.text[self.at : self.at + 1] == "{":
            self.at += 1
            return self._braces()
        name = self._name()
        return self.variables.get(name, "") if name else "$"

    def _name(self) -> str:
        match = _NAME.match(self.text, self.at)
        if match:
            self.at = match.end()
            return match[0]
        if self.text[self.at : self.at + 1] in tuple("0123456789@*#?-!$"):
            # a shell's own parameters: nothing here
            self.at += 1
            return self.text[self.at - 1]
        return ""

    def _braces(self) -> str:
        begin = self.at
        name = self._name()
        value = self.variables.get(name)
        rest = self.text[self.at :]
        if not name or not rest:
            raise BadWord(f"bad substitution '${{{self.text[begin:]}'")
        if rest[0] == "}":
            self.at += 1
            return value or ""
        for mark in (":-", ":+", ":?", "-", "+", "?"):
            if rest.startswith(mark):
                self.at += len(mark)
                set_ = value is not None and (value != "" or mark[0] != ":")
                return self._default(name, mark[-1], value or "", set_)
        for mark in ("##", "#", "%%", "%"):
            if rest.startswith(mark):
                self.at += len(mark)
                pattern = self._until("}", keep_escapes=True)
                self.at += 1
                return _trim(value or "", pattern, mark, self.escape)
        if rest[0] == "/":
            self.at += 2 if rest.startswith("//") else 1
            return self._replace(value or "", every=rest.startswith("//"))
        raise BadWord(f"'${{{name}{rest[:2]}…' is no substitution this knows")

    def _default(self, name: str, kind: str, value: str, is_set: bool) -> str:
        inner = self._nested()
        if kind == "-":
            return value if is_set else inner
        if kind == "+":
            return inner if is_set else ""
        if not is_set:
            raise BadWord(f"{name}: {inner or 'is not set'}")
        return value

    def _nested(self) -> str:
        """The word up to the brace that closes it."""
        self.depth += 1
        if self.depth > _DEPTH:
            raise BadWord("variables are nested too deeply")
        found = self._until("}")
        self.at += 1
        self.depth -= 1
        return found

    def _replace(self, value: str, *, every: bool) -> str:
        pattern = self._until("/}", keep_escapes=True)
        new = ""
        if self.text[self.at] == "/":
            self.at += 1
            new = self._until("}")
        self.at += 1
        if not pattern:
            return value
        return re.sub(_glob(pattern, self.escape), lambda _: new, value, count=0 if every else 1)


def _trim(value: str, pattern: str, mark: str, escape: str) -> str:
    """# and % take the shortest match off the front or the end, ## and %% the longest."""
    expression = re.compile(_glob(pattern, escape), re.DOTALL)
    lengths = range(len(value) + 1)
    for length in reversed(lengths) if len(mark) == 2 else lengths:
        part = value[:length] if mark[0] == "#" else value[len(value) - length :]
        if expression.fullmatch(part):
            return value[length:] if mark[0] == "#" else value[: len(value) - length]
    return value


def _glob(pattern: str, escape: str) -> str:
    """A shell pattern of `*`, `?` and escapes as a regular expression."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            if not out or out[-1] != "(?s:.*)":  # one says as much as many, in less time
                out.append("(?s:.*)")
        elif char == "?":
            out.append("(?s:.)")
        elif char == escape and at + 1 < len(pattern):
            at += 1
            out.append(re.escape(pattern[at]))
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)
