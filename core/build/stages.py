"""The stages of a Dockerfile as a graph: which are needed for the target, and what each one needs first."""

from __future__ import annotations

import dataclasses
import re

from pyctr.core.build import expand
from pyctr.core.build.source import Place, failure
from pyctr.core.errors import UsageError
from pyctr.core.images import platforms
from pyctr.core.images.model import platform_architecture
from pyctr.core.near import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyctr.core.build.dockerfile import Dockerfile, Instruction

SCRATCH = "scratch"
PREDEFINED = frozenset(
    name
    for lower in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
    for name in (lower, lower.upper())
)
"""Build arguments that RUN sees without an ARG, and that are no part of a cache key."""
_NAME = re.compile(r"[a-z][a-z0-9_.-]*$")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*$")


@dataclasses.dataclass
class Stage:
    """One FROM and what follows it. `base` is an image's name, "scratch", or "" when it is another stage."""

    index: int
    name: str
    place: Place
    base: str
    platform: str
    instructions: list[Instruction]
    parent: int = -1
    """Index of the stage it begins with."""
    needs: set[int] = dataclasses.field(default_factory=set)

    @property
    def title(self) -> str:
        return self.name or f"stage-{self.index}"


@dataclasses.dataclass
class Graph:
    """All stages, and those that the target needs in an order that can be built."""

    stages: list[Stage]
    target: int
    order: list[int]
    globals: dict[str, str]
    """ARGs before the first FROM, and the platform's."""
    declared: set[str]
    """Names of every ARG in the file."""

    def find(self, name: str) -> int:
        """The index of a stage by name or number; -1 when it is none."""
        return _find(self.stages, name)


def graph(
    file: Dockerfile,
    arguments: Mapping[str, str],
    *,
    target: str = "",
    platform: str = "",
    contexts: tuple[str, ...] = (),
) -> Graph:
    """`arguments` are --build-arg, `contexts` the names of --build-context, which hide stages and images.

    Raises BuildFailure for a wrong FROM, a stage that needs itself; UsageError for an unknown target.
    """
    globals_ = platform_arguments(platform)
    declared = set()
    stages: list[Stage] = []
    for one in file.instructions:
        if one.name == "ARG":
            declared |= {name for name, _ in argument_words(one, file.escape)}
        if one.name == "FROM":
            stages.append(_stage(file, one, globals_, stages, contexts))
        elif stages:
            stages[-1].instructions.append(one)
        elif one.name == "ARG":
            declare(globals_, one, arguments, globals_, file.escape)
        else:
            raise failure(one.place, f"{one.name} before the first FROM", hint="only ARG may come before it")
    if not stages:
        raise failure(Place(file.name, 1), "no FROM: there is nothing to build on")
    for stage in stages:
        if stage.parent >= 0:
            stage.needs.add(stage.parent)
        for one in stage.instructions:
            _needs(stage, one, stages, contexts, file, globals_)
    wanted = _target(stages, target)
    return Graph(stages, wanted, _order(stages, wanted), globals_, declared)


def platform_arguments(platform: str = "") -> dict[str, str]:
    """BUILDPLATFORM, TARGETPLATFORM and their parts."""
    found = {}
    own = platforms.normal("linux", platform_architecture(), "")
    for prefix, (system, architecture, variant) in (
        ("BUILD", own),
        ("TARGET", platforms.parse(platform) if platform else own),
    ):
        found[f"{prefix}PLATFORM"] = platforms.words((system, architecture, variant))
        found[f"{prefix}OS"], found[f"{prefix}ARCH"], found[f"{prefix}VARIANT"] = system, architecture, variant
    return found


def argument_words(one: Instruction, escape: str) -> list[tuple[str, str | None]]:
    """(name, default not expanded yet or None) of an ARG. Raises BuildFailure."""
    found: list[tuple[str, str | None]] = []
    for part in expand.split(one.text, escape):
        name, equals, value = part.partition("=")
        if not _VARIABLE.match(name):
            raise failure(one.place, f"'{name}' is no name for a build argument")
        found.append((name, value if equals else None))
    return found


def declare(
    scope: dict[str, str], one: Instruction, arguments: Mapping[str, str], globals_: Mapping[str, str], escape: str
) -> list[str]:
    """Put an ARG into a scope: --build-arg, else its default, else the value before the first FROM. Returns names."""
    names = []
    for name, default in argument_words(one, escape):
        names.append(name)
        if name in arguments:
            scope[name] = arguments[name]
        elif default is not None:
            scope[name] = replaced(one, default, scope, escape)
        elif name in globals_:
            scope[name] = globals_[name]
    return names


def replaced(one: Instruction, text: str, variables: Mapping[str, str], escape: str) -> str:
    """A word of an instruction with its variables. Raises BuildFailure."""
    try:
        return expand.word(text, variables, escape)
    except expand.BadWord as error:
        raise failure(one.place, str(error)) from None


def _stage(
    file: Dockerfile, one: Instruction, variables: Mapping[str, str], before: list[Stage], contexts: tuple[str, ...]
) -> Stage:
    parts = one.text.split()
    if len(parts) not in (1, 3) or (len(parts) == 3 and parts[1].upper() != "AS"):
        raise failure(one.place, "FROM takes an image, or an image AS a name", hint="FROM alpine AS build")
    name = parts[2].lower() if len(parts) == 3 else ""
    if name and not _NAME.match(name):
        raise failure(one.place, f"'{parts[2]}' is no name for a stage", hint="letters, digits, '_', '-', '.'")
    if name and any(stage.name == name for stage in before):
        raise failure(one.place, f"a second stage '{name}'", hint="every stage needs a name of its own")
    base = replaced(one, parts[0], variables, file.escape)
    if not base:
        raise failure(one.place, f"the image's name '{parts[0]}' is empty", hint="give the ARG a default before FROM")
    platform = replaced(one, one.flag("platform"), variables, file.escape)
    if platform:
        try:
            platforms.parse(platform)
        except UsageError as error:
            raise failure(one.place, error.message, hint=error.hint) from None
    stage = Stage(len(before), name, one.place, base, platform, [])
    if base not in contexts and (parent := _find(before, base, numbers=False)) >= 0:
        stage.parent, stage.base = parent, ""
    return stage


def _needs(
    stage: Stage,
    one: Instruction,
    stages: list[Stage],
    contexts: tuple[str, ...],
    file: Dockerfile,
    variables: Mapping[str, str],
) -> None:
    names = [one.flag("from")] if one.name == "COPY" else []
    if one.name == "RUN":
        for value in one.all("mount"):
            names += [field[5:] for field in value.split(",") if field.startswith("from=")]
    for name in names:
        name = replaced(one, name, variables, file.escape)
        if not name or name in contexts:
            continue
        other = _find(stages, name)
        if other == stage.index:
            raise failure(one.place, f"stage '{name}' needs itself")
        if other >= 0:
            stage.needs.add(other)
        elif name.isdigit():
            raise failure(one.place, f"no stage {name}: they are numbered from 0 to {len(stages) - 1}")


def _find(stages: list[Stage], name: str, *, numbers: bool = True) -> int:
    for stage in stages:
        if stage.name and stage.name == name.lower():
            return stage.index
    if numbers and name.isascii() and name.isdigit() and int(name) < len(stages):
        return int(name)
    return -1


def _target(stages: list[Stage], target: str) -> int:
    if not target:
        return len(stages) - 1
    found = _find(stages, target)
    if found < 0:
        names = [stage.name for stage in stages if stage.name]
        close = nearest(target, names)
        raise UsageError(
            f"--target: no stage '{target}'",
            hint=f"did you mean '{close}'?" if close else f"there is {', '.join(names) or 'none with a name'}",
        )
    return found


def _order(stages: list[Stage], target: int) -> list[int]:
    """Depth first from the target; what is not reached is not built. Raises BuildFailure on a circle."""
    done: list[int] = []
    entered: set[int] = set()
    todo = [(target, False)]
    while todo:
        index, through = todo.pop()
        if through:
            done.append(index)
            continue
        if index in done:
            continue
        if index in entered:
            raise failure(stages[index].place, f"stage '{stages[index].title}' needs itself")
        entered.add(index)
        todo.append((index, True))
        for other in sorted(stages[index].needs, reverse=True):
            if other in done:
                continue
            if other in entered:
                raise failure(
                    stages[index].place, f"stages '{stages[index].title}' and '{stages[other].title}' need each other"
                )
            todo.append((other, False))
    return done
