"""What may stand where the cursor is: one answer for bash, zsh and fish, from the declarations that parse the flags.

    pyctr __complete -- WORD... CURRENT

prints a candidate per line, with a tab and its help where there is one. A first line `:files` asks the shell for paths
as well. Names are those of the pyctr that the line itself speaks of (--root DIR stands on it, too). Nothing here may
fail loudly: what cannot be known is not offered.
"""

from __future__ import annotations

from pyctr.cli import main
from pyctr.cli.flags import REMAINDER, Flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from pyctr.core.engine import Engine

    Candidates = list[tuple[str, str]]

FILES = ":files"
_PATHS = ("FILE", "DIR", "PATH", "HOST[:INSIDE[:rwm]]", "[SOURCE:]TARGET[:OPTIONS]")
"""Metavars of flags and positionals that are paths of the host, or may begin with one."""
_STATES = {"rm": "remove --force", "healthcheck_run": "exec", "top": "exec"}
"""Verbs whose row in `state.ALLOWED` has another name; verbs without a row take any container."""


class Declared(Flags):
    """A verb's declaration, with the help that the parser has no use for."""

    def __init__(self, name: str) -> None:
        module, prefix = main.load(name)
        self.help: dict[str, str] = {}
        super().__init__(name, interspersed=getattr(module, "INTERSPERSED", True))
        getattr(module, f"{prefix}configure")(self)

    def add_argument(self, *names: str, **wishes: Any) -> None:
        super().add_argument(*names, **wishes)
        for name in names:
            self.help[name] = str(wishes.get("help") or "")


def answer(globals_: dict[str, str], words: Sequence[str]) -> int:
    """Print the candidates for the last of `words`, the others being before it."""
    found, files = candidates(globals_, list(words) or [""])
    if files:
        print(FILES)
    for text, help in found:
        # a name or a help with a tab or a newline would be two candidates
        if text.isprintable():
            print(f"{text}\t{help}" if help and help.isprintable() else text)
    return 0


def candidates(globals_: dict[str, str], words: Sequence[str]) -> tuple[Candidates, bool]:
    """(word, help) that begin with the last of `words`, and whether a path may stand there."""
    *before, current = words
    at = 0
    globals_ = dict(globals_)
    while at < len(before) and before[at].startswith("--"):
        name, equals, value = before[at].partition("=")
        if name not in main.GLOBAL_FLAGS:
            break
        if not equals:
            at += 1
            if at == len(before):
                return [], name in ("--root", "--runroot")
            value = before[at]
        globals_[main.GLOBAL_FLAGS[name]] = value
        at += 1
    before = before[at:]
    if not before:
        flags = [(flag, "") for flag in (*main.GLOBAL_FLAGS, "--help", "--version")] if current[:1] == "-" else []
        return _fitting(current, [*flags, *main.VERBS.items()]), False
    verb, *rest = before
    verb = main.ALIASES.get(verb, verb)
    if members := main.GROUPS.get(verb):
        if not rest:
            return _fitting(current, [(word, main.summary(name)) for word, name in members.items()]), False
        verb, rest = members.get(rest[0], ""), rest[1:]
    elif verb not in main.VERBS:
        return [], False
    return _of_verb(verb, rest, current, _Names(globals_)) if verb else ([], False)


def _of_verb(verb: str, before: list[str], current: str, names: _Names) -> tuple[Candidates, bool]:
    declared = Declared(verb)
    positionals: list[str] = []
    open_flag, only_words = "", False
    for word in before:
        if open_flag:
            open_flag = ""
        elif only_words or word[:1] != "-" or word == "-":
            positionals.append(word)
            only_words = only_words or not declared.interspersed
        elif word == "--":
            only_words = True
        else:
            open_flag = _wants_value(declared, word)
    if open_flag:
        return _value(declared, open_flag, current, names)
    if current.startswith("-") and not only_words:
        flag, equals, value = current.partition("=")
        if equals and flag in declared.options:
            found, files = _value(declared, flag, value, names)
            return [(f"{flag}={text}", help) for text, help in found], files
        return _fitting(current, [*declared.help.items(), ("--help", "show this page")], declared.options), False
    return _positional(declared, verb, positionals, current, names)


def _wants_value(declared: Declared, word: str) -> str:
    """The flag whose value is the next word, or ""."""
    if word.startswith("--"):
        argument = declared.options.get(word)
        return word if argument is not None and argument.action != "store_true" else ""
    for at, letter in enumerate(word[1:], 2):
        argument = declared.options.get(f"-{letter}")
        if argument is None:
            return ""
        if argument.action != "store_true":
            return "" if word[at:] else f"-{letter}"  # the rest of the word is its value
    return ""


def _value(declared: Declared, flag: str, current: str, names: _Names) -> tuple[Candidates, bool]:
    argument = declared.options[flag]
    if argument.action == "store_true":
        return _fitting(current, [("true", ""), ("false", "")]), False
    if argument.choices:
        return _fitting(current, [(str(choice), "") for choice in argument.choices]), False
    known: Callable[[], Candidates] = {
        "network": lambda: [*names.networks(), ("host", ""), ("none", ""), *names.shared()],
        "pid": lambda: [("host", ""), *names.shared()],
        "ipc": lambda: [*((word, "") for word in ("host", "private", "shareable", "none")), *names.shared()],
        "uts": lambda: [("host", "")],
        "restart": lambda: [(word, "") for word in ("no", "on-failure", "always", "unless-stopped")],
        "signal": _signals,
        "stop_signal": _signals,
        "cap_add": _capabilities,
        "cap_drop": _capabilities,
        "volume": names.volumes,
        "secret": names.secrets,
        "engine": _engines,
    }.get(argument.dest, list)
    return _fitting(
        current, known()
    ), argument.metavar in _PATHS or argument.metavar == argument.dest.upper() == "CIDFILE"


def _engines() -> Candidates:
    from pyctr.core.engines.lookup import OURS
    from pyctr.core.engines.model import ENGINES

    return [(word, "") for word in ("all", OURS, *ENGINES)]


def _positional(
    declared: Declared, verb: str, given: list[str], current: str, names: _Names
) -> tuple[Candidates, bool]:
    argument = None
    for number, candidate in enumerate(declared.positionals):
        if number == len(given) or candidate.nargs in ("*", "+", REMAINDER):
            argument = candidate
            break
    if argument is None or argument.nargs == REMAINDER:
        return [], False
    if argument.choices:
        return _fitting(current, [(str(choice), "") for choice in argument.choices]), False
    kinds: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
        "container": lambda: names.containers(verb),
        "image": names.images,
        "volume": names.volumes,
        "network": names.networks,
        "secret": names.secrets,
    }
    if verb == "inspect":
        known = [found for kind, offer in kinds.items() if kind != "secret" for found in offer()]
    else:
        known = [
            found
            for kind, offer in kinds.items()
            if kind in (argument.dest, argument.metavar.lower())
            for found in offer()
        ]
    return _fitting(current, [pair for pair in known if pair[0] not in given]), argument.metavar in _PATHS


class _Names:
    """What there is in the pyctr that the line speaks of; nothing when it cannot be read."""

    def __init__(self, globals_: dict[str, str]) -> None:
        self._globals = globals_

    def _from(self, read: Callable[[Engine], Candidates]) -> Candidates:
        from pyctr.core.errors import PyctrError

        try:
            return read(main.Call(self._globals, "").engine)
        except (PyctrError, OSError, ValueError):
            return []  # somebody pressed Tab: a message would tear the line

    def containers(self, verb: str) -> Candidates:
        """Those that a verb may be asked of."""
        from pyctr.core import containers
        from pyctr.core.state import ALLOWED

        allowed = ALLOWED.get(_STATES.get(verb, verb))

        def read(engine: Engine) -> Candidates:
            return [
                (container.name, f"{container.status}, {container.state.image_name}")
                for container in containers.all(engine)
                if allowed is None or container.status in allowed
            ]

        return self._from(read)

    def shared(self) -> Candidates:
        return [(f"container:{name}", help) for name, help in self.containers("exec")]

    def images(self) -> Candidates:
        def read(engine: Engine) -> Candidates:
            return [(name, "") for image in engine.images.list() for name in image.names]

        return self._from(read)

    def secrets(self) -> Candidates:
        return self._from(lambda engine: [(kept.name, "") for kept in engine.secrets.list()])

    def volumes(self) -> Candidates:
        return self._from(
            lambda engine: [(volume.name, "") for volume in engine.volumes.list() if not volume.anonymous]
        )

    def networks(self) -> Candidates:
        return self._from(lambda engine: [(network.name, network.subnet) for network in engine.networks.list()])


def _signals() -> Candidates:
    from pyctr.core import signals

    return [(signals.name(number), "") for number in range(1, 32)]


def _capabilities() -> Candidates:
    from pyctr.core.linux.capnames import NAMES

    return [("ALL", ""), *((name.removeprefix("CAP_"), "") for name in NAMES)]


def _fitting(current: str, known: Iterable[tuple[str, str]], among: Any = None) -> Candidates:
    """Those that begin with `current`, once each; of flags only what is one (`among`, and --help)."""
    found = {text: help for text, help in known if text.startswith(current)}
    if among is not None:
        found = {text: help for text, help in found.items() if text in among or text == "--help"}
    return list(found.items())
