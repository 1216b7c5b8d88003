"""Patterns of .dockerignore and of COPY --exclude.

The meaning is Docker's (docs: "build context", .dockerignore files): one pattern a line, `#` comments, paths cleaned
and relative to the context's root whether or not they begin with a slash, `*` `?` `[a-z]` within one component, `**`
across any number of them, `!` takes back; the last pattern that fits a path or one of its parents decides.
"""

from __future__ import annotations

import posixpath
import re

from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Ignore:
    """Compiled patterns."""

    def __init__(self, patterns: Iterable[str] = (), where: str = "") -> None:
        """Raises UsageError, naming `where`, for a pattern that cannot be one."""
        self.patterns: list[str] = []
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for text in patterns:
            wanted = text[:1] == "!"
            pattern = _clean(text[1:] if wanted else text)
            if pattern == ".":
                continue  # as in Docker: the root itself cannot be left out
            if not pattern:
                raise UsageError(f"{where or 'pattern'}: '{text}' excludes nothing", hint="write a path after '!'")
            self.patterns.append(text)
            try:
                self._rules.append((wanted, re.compile(translate(pattern))))
            except ValueError as error:
                raise UsageError(f"{where or 'pattern'}: '{text}': {error}", hint="escape it with '\\'") from None
        self._takes_back = any(wanted for wanted, _ in self._rules)

    @classmethod
    def read(cls, text: str, where: str = ".dockerignore") -> Ignore:
        """The content of a file."""
        lines = text.removeprefix("\ufeff").splitlines()
        kept = []
        for line in lines:
            if line.startswith("#"):
                continue
            line = line.strip()
            if line.startswith("!"):
                line = "!" + line[1:].strip()
            if line:
                kept.append(line)
        return cls(kept, where)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def ignores(self, path: str) -> bool:
        """Is a path (relative to the root, cleaned, "" for the root) left out?"""
        if not self._rules or not path:
            return False
        parts = path.split("/")
        parents = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        ignored = False
        for wanted, rule in self._rules:
            # a pattern that agrees with what is decided already need not be tried
            if wanted == ignored and any(rule.match(parent) for parent in parents):
                ignored = not wanted
        return ignored

    def filter(self, path: str, directory: bool) -> tuple[bool, bool]:
        """(take it, look below it), for `walking.walk`."""
        ignored = self.ignores(path)
        return not ignored, not ignored or (directory and self._takes_back)


def _clean(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    return posixpath.normpath("/" + text).lstrip("/") or "."


def match(pattern: str, name: str) -> bool:
    """Does a pattern of COPY's sources fit a whole relative path?"""
    return re.match(translate(pattern), name) is not None


def is_pattern(text: str) -> bool:
    return any(mark in text for mark in "*?[\\")


def unescape(text: str) -> str:
    """A pattern without wildcards as the name it means."""
    return re.sub(r"\\(.)", r"\1", text)


def translate(pattern: str) -> str:
    """The regular expression, for `re.match`, of a pattern. Raises ValueError for one that is malformed."""
    out = []
    at = 0
    while at < len(pattern):
        mark = pattern[at]
        at += 1
        if mark == "*":
            if pattern[at : at + 1] == "*":
                while pattern[at : at + 1] == "*":
                    at += 1
                if pattern[at : at + 1] == "/":
                    at += 1
                out.append(".*" if at >= len(pattern) else "(?:.*/)?")
            else:
                out.append("[^/]*")
        elif mark == "?":
            out.append("[^/]")
        elif mark == "[":
            group, at = _group(pattern, at)
            out.append(group)
        elif mark == "\\":
            if at >= len(pattern):
                raise ValueError("nothing follows the backslash")
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(mark))
    return "(?s:" + "".join(out) + r")\Z"


def _group(pattern: str, at: int) -> tuple[str, int]:
    """A [...] of Go's filepath.Match: ranges, `^` negates, a backslash escapes, `/` is never meant."""
    out = []
    negated = pattern[at : at + 1] == "^"
    at += negated
    first = True
    while True:
        if at >= len(pattern):
            raise ValueError("'[' without ']'")
        if pattern[at] == "]" and not first:
            break
        low, at = _one(pattern, at)
        high = low
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("]", ""):
            high, at = _one(pattern, at + 1)
        if high < low:
            raise ValueError(f"the range '{low}-{high}' is empty")
        out.append(re.escape(low) + ("-" + re.escape(high) if high != low else ""))
        first = False
    return f"(?!/)[{'^' if negated else ''}{''.join(out)}]", at + 1


def _one(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at] == "\\" and at + 1 < len(pattern):
        return pattern[at + 1], at + 2
    return pattern[at], at + 1
