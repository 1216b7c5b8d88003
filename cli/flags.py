"""Flags as Docker reads them, declared with argparse's own `add_argument` calls.

Every verb declares its flags once, in `configure(parser)`. Two readers understand the declaration: `Flags` here,
which parses, and `argparse.ArgumentParser`, which is imported only to print `--help`. Parsing is ours for two
reasons: importing argparse costs as much as a third of a whole `pyctr run`, and it does not read flags the way
Docker users type them (`-it`, `-eA=b`, `--init=false`, flags that end at the image's name).
"""

from __future__ import annotations

from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    class Declares(Protocol):
        """What `configure(parser)` may ask of either reader."""

        def add_argument(self, *names: str, **wishes: Any) -> Any: ...


REMAINDER = "..."
"""argparse.REMAINDER without its import."""

_TRUE = frozenset({"1", "t", "true", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "no", "off"})


class HelpAsked(Exception):
    """`--help` was met; the caller prints the page."""


class Arguments:
    """The parsed values, as attributes."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class _Argument:
    __slots__ = ("action", "choices", "default", "dest", "label", "metavar", "nargs", "type")

    def __init__(self, names: Sequence[str], wishes: dict[str, Any]) -> None:
        long = next((name for name in names if name.startswith("--")), names[0])
        self.dest: str = wishes.get("dest") or long.lstrip("-").replace("-", "_")
        self.action: str = wishes.get("action", "store")
        self.nargs: str | None = wishes.get("nargs")
        self.type: Callable[[str], Any] | None = wishes.get("type")
        self.choices: Sequence[str] | None = wishes.get("choices")
        self.metavar: str = wishes.get("metavar") or self.dest.upper()
        self.label = long if long.startswith("-") else self.metavar
        self.default: Any = wishes.get("default")
        if self.default is None:
            if self.action == "store_true":
                self.default = False
            elif self.action == "append" or self.nargs in ("*", "+", REMAINDER):
                self.default = []

    def read(self, text: str, given: str) -> Any:
        """The value of `text`, given for the flag spelled `given`."""
        if self.choices is not None and text not in self.choices:
            raise UsageError(
                f"{given}: '{text}' is not a choice", hint=f"choose one of {', '.join(map(str, self.choices))}"
            )
        if self.type is None:
            return text
        try:
            return self.type(text)
        except ValueError as error:
            from pyctr.core.parse import BadValue

            if isinstance(error, BadValue):
                raise UsageError(f"{given}: {error}", hint=error.hint) from None
            word = {"int": "a whole number", "float": "a number"}.get(self.type.__name__, "a valid value")
            raise UsageError(f"{given}: '{text}' is not {word}") from None


class Flags:
    """Reads words into `Arguments`. With `interspersed` false the first positional ends the flags (run, exec)."""

    def __init__(self, prog: str, *, interspersed: bool = True) -> None:
        self.prog = prog
        self.interspersed = interspersed
        self.options: dict[str, _Argument] = {}
        self.positionals: list[_Argument] = []

    def add_argument(self, *names: str, **wishes: Any) -> None:
        argument = _Argument(names, wishes)
        if names[0].startswith("-"):
            for name in names:
                self.options[name] = argument
        else:
            self.positionals.append(argument)

    def parse(self, words: Sequence[str]) -> Arguments:
        """Raises UsageError for anything that does not fit, HelpAsked for --help (or -h where it is free)."""
        args = Arguments()
        values = args.__dict__
        for argument in (*self.options.values(), *self.positionals):
            default = argument.default
            values[argument.dest] = default.copy() if isinstance(default, list) else default
        rest: list[str] = []
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if word == "--":
                rest.extend(words[at:])
                break
            if len(word) < 2 or word[0] != "-":
                rest.append(word)
                if not self.interspersed:
                    rest.extend(words[at:])
                    break
                continue
            if word[1] == "-":
                at = self._long(word, words, at, values)
            else:
                at = self._short(word, words, at, values)
        self._place(rest, values)
        return args

    def _long(self, word: str, words: Sequence[str], at: int, values: dict[str, Any]) -> int:
        name, equals, text = word.partition("=")
        argument = self.options.get(name)
        if argument is None:
            if name == "--help":
                raise HelpAsked
            raise self._unknown(name)
        if argument.action == "store_true":
            values[argument.dest] = _truth(name, text) if equals else True
            return at
        if not equals:
            if at >= len(words):
                raise UsageError(f"{name}: needs a value", hint=self._usage())
            text = words[at]
            at += 1
        self._store(argument, text, name, values)
        return at

    def _short(self, word: str, words: Sequence[str], at: int, values: dict[str, Any]) -> int:
        for index in range(1, len(word)):
            name = "-" + word[index]
            argument = self.options.get(name)
            if argument is None:
                if name == "-h":
                    raise HelpAsked
                raise self._unknown(name, word)
            following = word[index + 1 :]
            if argument.action == "store_true":
                if following.startswith("="):
                    values[argument.dest] = _truth(name, following[1:])
                    return at
                values[argument.dest] = True
                continue
            if following:
                text = following[1:] if following[0] == "=" else following
            elif at < len(words):
                text = words[at]
                at += 1
            else:
                raise UsageError(f"{argument.label}: needs a value", hint=self._usage())
            self._store(argument, text, argument.label, values)
            return at
        return at

    @staticmethod
    def _store(argument: _Argument, text: str, given: str, values: dict[str, Any]) -> None:
        value = argument.read(text, given)
        if argument.action == "append":
            values[argument.dest].append(value)
        else:
            values[argument.dest] = value

    def _place(self, rest: list[str], values: dict[str, Any]) -> None:
        for index, argument in enumerate(self.positionals):
            if argument.nargs == REMAINDER:
                values[argument.dest] = rest
                return
            if argument.nargs in ("*", "+"):
                after = sum(1 for later in self.positionals[index + 1 :] if later.nargs is None)
                taken = rest[: len(rest) - after] if after else rest
                if argument.nargs == "+" and not taken:
                    raise UsageError(f"'{self.prog}' needs at least one {argument.metavar}", hint=self._usage())
                values[argument.dest] = [argument.read(text, argument.metavar) for text in taken]
                rest = rest[len(taken) :]
            elif rest:
                values[argument.dest] = argument.read(rest[0], argument.metavar)
                rest = rest[1:]
            elif argument.nargs != "?":
                raise UsageError(f"'{self.prog}' needs {_article(argument.metavar)}", hint=self._usage())
        if rest:
            raise UsageError(f"'{self.prog}' does not know what to do with '{rest[0]}'", hint=self._usage())

    def _unknown(self, name: str, word: str = "") -> UsageError:
        from pyctr.core.near import nearest

        where = f" in '{word}'" if word and word != name else ""
        close = nearest(name, self.options) if name.startswith("--") else ""
        return UsageError(
            f"'{self.prog}' has no flag '{name}'{where}", hint=f"did you mean '{close}'?" if close else self._usage()
        )

    def _usage(self) -> str:
        return f"'{self.prog} --help' shows how"


def _truth(name: str, text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise UsageError(f"{name}: '{text}' is neither true nor false", hint=f"{name} alone means true")


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].upper() in 'AEIOU' else 'a'} {noun}"
