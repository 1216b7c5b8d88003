"""Every command and flag as documents: docs/cli.md and the manual pages, held to the declarations by a test.

python -m pyctr.cli.reference    writes them below docs/
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyctr.cli import runtime
from pyctr.cli.main import GLOBAL_FLAGS, GROUPS, VERBS, load, summary

if TYPE_CHECKING:
    from collections.abc import Iterator

GLOBAL = {
    "--root": "images, containers, volumes; survives a reboot (PYCTR_ROOT)",
    "--runroot": "sockets and locks; gone after a reboot (PYCTR_RUNROOT)",
    "--cgroup-parent": "our subtree in every cgroup hierarchy (PYCTR_CGROUP_PARENT)",
    "--bridge": "the default network's bridge (PYCTR_BRIDGE)",
}


@dataclass
class Command:
    """One verb: its name with the program, one sentence, the words after the flags, flags as (spelling, meaning)."""

    name: str
    sentence: str
    words: str = ""
    flags: list[tuple[str, str]] = field(default_factory=list)

    @property
    def synopsis(self) -> str:
        return " ".join(filter(None, (self.name, "[FLAGS]" if self.flags else "", self.words)))


def engine() -> Iterator[Command]:
    """The commands of `pyctr`; those of a group follow it."""
    for verb in VERBS:
        if verb not in GROUPS:
            yield _declared(f"pyctr {verb}", summary(verb), *load(verb))
            continue
        members = {name: module for name, module in GROUPS[verb].items() if module not in VERBS}
        same = [name for name in GROUPS[verb] if name not in members]
        also = f" As the commands of that name: {', '.join(same)}." if same else ""
        yield Command(f"pyctr {verb}", _sentence(VERBS[verb]) + also, "COMMAND")
        for name, module in members.items():
            yield _declared(f"pyctr {verb} {name}", summary(module), *load(module))


def low_level() -> Iterator[Command]:
    """The commands of `pyctr-runtime`."""
    for verb, (file, line) in runtime.VERBS.items():
        module: Any = __import__(f"pyctr.cli.runtime.{file}", fromlist=["run"])
        yield _declared(f"pyctr-runtime {verb}", line, module, "" if verb == file else f"{verb}_")


def _declared(name: str, line: str, module: Any, prefix: str) -> Command:
    parser = argparse.ArgumentParser(prog=name, add_help=False)
    getattr(module, f"{prefix}configure")(parser)
    command = Command(name, _sentence(line))
    command.words = " ".join(_positional(action) for action in parser._actions if not action.option_strings)
    for action in parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            value = "" if action.nargs == 0 else f" {_value(action)}"
            command.flags.append((", ".join(action.option_strings) + value, (action.help or "").replace("%%", "%")))
    return command


def _positional(action: argparse.Action) -> str:
    name = _value(action)
    several = {"?": f"[{name}]", "*": f"[{name}...]", "+": f"{name}...", "...": f"[{name}...]"}
    return several.get(str(action.nargs or ""), name)


def _value(action: argparse.Action) -> str:
    if action.choices:
        return "|".join(str(choice) for choice in action.choices)
    return str(action.metavar or action.dest.upper())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _global_flags() -> list[tuple[str, str]]:
    return [
        (f"{name} {'NAME' if name in ('--bridge', '--cgroup-parent') else 'DIR'}", GLOBAL[name])
        for name in GLOBAL_FLAGS
    ]


def markdown() -> str:
    """docs/cli.md."""
    lines = ["# Commands", "", "Made from the declarations by `python -m pyctr.cli.reference`.", ""]
    lines += ["Flags between `pyctr` and the command hold for all commands:", ""]
    lines += [f"* `{spelling}`: {meaning}" for spelling, meaning in _global_flags()]
    for command in engine():
        lines += _section(command)
    lines += ["", "# Commands of pyctr-runtime", "", "runc's, for callers that drive an OCI runtime."]
    for command in low_level():
        lines += _section(command)
    return "\n".join(lines) + "\n"


def _section(command: Command) -> Iterator[str]:
    yield from ("", f"## {command.name}", "", command.sentence, "", f"    {command.synopsis}")
    if command.flags:
        yield from ("", "| Flag | |", "|---|---|")
    for spelling, meaning in command.flags:
        yield f"| `{_cell(spelling)}` | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def manual(program: str, section: int) -> str:
    """A page for man(1) in roff, see groff_man(7)."""
    about = {"pyctr": "containers without a daemon", "pyctr-runtime": "OCI runtime"}[program]
    lines = [f'.TH {program.upper()} {section} "" "pyctr" "Containers"', ".SH NAME", rf"{_roff(program)} \- {about}"]
    lines += [".SH SYNOPSIS", f".B {_roff(program)}", "[FLAGS] COMMAND [ARGUMENTS]"]
    if program == "pyctr":
        lines += [".SH FLAGS OF ALL COMMANDS", *_terms(_global_flags())]
    lines += [".SH COMMANDS"]
    for command in engine() if program == "pyctr" else low_level():
        lines += [f".SS {_roff(command.name)}", _roff(command.sentence), ".PP", f".B {_roff(command.synopsis)}"]
        lines += _terms(command.flags)
    if program == "pyctr":
        lines += [".SH EXIT STATUS", "That of the container's command where one was run in the foreground, else:"]
        codes = {"0": "done", "1": "refused", "125": "pyctr itself failed"}
        codes |= {"126": "a command that cannot be executed", "127": "a command that is not there"}
        lines += _terms(list((codes | {"128+n": "the end by signal n"}).items()))
    others = {"pyctr": "pyctr-runtime(8)", "pyctr-runtime": "pyctr(1)"}
    return "\n".join([*lines, ".SH SEE ALSO", f".BR {_roff(others[program])}", ""])


def _terms(flags: list[tuple[str, str]]) -> Iterator[str]:
    for spelling, meaning in flags:
        yield from (".TP", f".B {_roff(spelling)}", _roff(meaning))


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in escaped)
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def documents() -> dict[str, str]:
    """Path below docs/ -> content."""
    return {"cli.md": markdown(), "man/pyctr.1": manual("pyctr", 1), "man/pyctr-runtime.8": manual("pyctr-runtime", 8)}


if __name__ == "__main__":
    from pathlib import Path

    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for name, content in documents().items():
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text(content)
