"""Secrets taken out of what is packed: by the names of variables and flags, by shape, and by value wherever they recur.

`learn` is given everything that could hold a secret before anything is packed, so that a password of one container's
environment is found in another one's log. What is masked is `MASK`; lengths are not kept.
"""

from __future__ import annotations

import json
import re

from pyctr.core.secretnames import USERINFO, is_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MASK = "[redacted]"
SHORTEST = 6
"""Characters of a value that is looked for everywhere; shorter ones are words, too."""
_FLAG = re.compile(r"--?([A-Za-z][\w.-]*)(=(.*))?", re.DOTALL)
_ASSIGNED = re.compile(
    r"""(?i)(?P<name>[\w.-]*(?:pass(?:word|wd|phrase)?|secret|token|api_?key|credentials?|pwd)[\w.-]*)
        (?P<between>["']?\s*(?:[=:]\s*|\s(?=\S))["']?)(?P<value>(?<=["'])[^"'\n]+|[^\s"',;&]+)""",
    re.VERBOSE,
)
_SHAPES = (
    re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    re.compile(r"()\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    re.compile(r"()\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-)[A-Za-z0-9_-]{16,}"),
    re.compile(r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)
_IDENTITIES = frozenset((
    "id", "Id", "name", "Name", "names", "image", "image_name", "image_id", "Image", "network", "bridge", "host_if",
    "container_if", "group", "digest", "mediaType", "address", "gateway", "mac", "upper", "work", "lower", "driver",
    "dataset",     "status", "action", "type", "diff_ids", "chain_id",
))  # fmt: skip
"""Keys of our documents whose values name things: they stay, or nothing could be recognised."""


class Redactor:
    """Masks texts, words of a command, and documents. One that is `off` gives everything back as it was."""

    def __init__(self, *, off: bool = False) -> None:
        self.off = off
        self.masked = 0
        """How often something was."""
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, values: Iterable[str]) -> None:
        """Values that are masked wherever they are found."""
        for value in values:
            value = value.strip()
            if len(value) >= SHORTEST and value != MASK:
                self._values.add(value)
                # as a document has it
                self._values.add(json.dumps(value)[1:-1])
                self._pattern = None

    def learn_environment(self, variables: Iterable[str]) -> None:
        """Of NAME=VALUE, those whose names tell."""
        for variable in variables:
            name, _, value = variable.partition("=")
            if is_secret(name):
                self.learn([value])
            self.learn(match[2] for match in USERINFO.finditer(value))

    def learn_document(self, document: Any) -> None:
        """The environments in a record, an OCI or an image configuration."""
        if isinstance(document, dict):
            for key, value in document.items():
                if key in ("env", "Env") and isinstance(value, list):
                    self.learn_environment(str(one) for one in value)
                else:
                    self.learn_document(value)
        elif isinstance(document, list):
            for value in document:
                self.learn_document(value)

    def text(self, text: str) -> str:
        """A line, or any number of them."""
        if self.off or not text:
            return text
        if self._pattern is None:
            known = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, known)) or r"(?!)")
        out = self._pattern.sub(self._mask, text)
        out = USERINFO.sub(lambda found: found[1] + self._mask(found), out)
        for shape in _SHAPES:
            out = shape.sub(lambda found: found[1] + self._mask(found), out)
        return _ASSIGNED.sub(self._assigned, out)

    def raw(self, content: bytes) -> bytes:
        """The same of bytes in any encoding."""
        if self.off:
            return content
        return self.text(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def words(self, words: list[str]) -> list[str]:
        """A command, or an environment."""
        if self.off:
            return words
        out: list[str] = []
        before = ""
        program = words[0].rpartition("/")[2] if words else ""
        for word in words:
            out.append(self._word(word, before, program))
            before = word
        return out

    def document(self, document: Any, key: str = "") -> Any:
        """A JSON document, by keys and by values."""
        if self.off:
            return document
        if isinstance(document, dict):
            return {name: self.document(value, name) for name, value in document.items()}
        if isinstance(document, list):
            if key in _IDENTITIES:
                return document
            if document and all(isinstance(one, str) for one in document):
                return self.words(document)
            return [self.document(one, key) for one in document]
        if isinstance(document, str) and document and key not in _IDENTITIES:
            return self._mask() if is_secret(key) else self.text(document)
        return document

    def _mask(self, found: object = None) -> str:
        self.masked += 1
        return MASK

    def _assigned(self, found: re.Match[str]) -> str:
        if not is_secret(found["name"].lstrip("-")) or found["value"].startswith(MASK):
            return found[0]
        if ":" not in found["between"] and "=" not in found["between"] and not found["name"].startswith("-"):
            return found[0]  # "password incorrect"
        return found["name"] + found["between"] + self._mask()

    def _word(self, word: str, before: str, program: str) -> str:
        flag = _FLAG.fullmatch(before)
        if flag and flag[2] is None and is_secret(flag[1]) and not word.startswith("-"):
            return self._mask()
        if before in ("-u", "--user") and ":" in word:
            return word.partition(":")[0] + ":" + self._mask()  # curl
        if program.startswith(("mysql", "mariadb")) and re.fullmatch(r"-p.+", word):
            return "-p" + self._mask()
        name, equals, value = word.partition("=")
        if equals and value and " " not in name and is_secret(name.lstrip("-")):
            return f"{name}={self._mask()}"
        return self.text(word)
