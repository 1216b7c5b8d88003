"""The bytecode that a process of ours runs, kept for the interpreter that goes on in its place (`runtime.doze`).

What has been on disk since does not matter: a module whose source is another one by now is taken from what this process
has itself been made of, or there is no snapshot. It has the form of a file of `bytecode`, and mostly is one.
"""

from __future__ import annotations

import errno
import os
import sys

from pyctr.core import bytecode
from pyctr.core.linux import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    from pyctr.core.bytecode import Facts, Finder

FIRST = ("pyctr", "pyctr.core", "pyctr.core.bytecode")
"""What has to be there before anything can come from a snapshot, which has none of them."""
First = list[tuple[str, str, bool, "CodeType"]]
"""(module, file, whether it is a package, code) of those."""

carried: First = []
"""Of FIRST, in an interpreter that goes on in another one's place."""


def take(name: str) -> int:
    """A descriptor of what `bytecode.resume` takes: the file `name` if that has all that runs here, else it is written,
    else one in memory. Raises OSError: ESTALE when sources have changed since they were imported; SyntaxError."""
    pinned = bytecode.current()
    wanted: dict[str, Facts | None] = {}
    if pinned is not None and pinned.pinned:
        # what nobody has needed since may be needed where there are no sources: inside a container
        wanted |= {module: found[2] for module, found in pinned.index.items()}
    wanted |= {module: facts for module, facts in bytecode.running().items() if module not in FIRST}
    path, root = bytecode.place(name), bytecode.ROOT
    known = [pinned] if pinned is not None else []
    stages: list[list[str]] = []
    if (fd := bytecode.opened(path, root)) >= 0:
        try:
            kept = bytecode.Finder(path, root, os.pread(fd, os.fstat(fd).st_size, 0))
            if all(_has(kept, module, facts) for module, facts in wanted.items()):
                return os.dup(fd)
        finally:
            os.close(fd)
        stages = [names for names, _, _ in kept.stages]
        known.append(kept)
        # who comes with other modules wants the file to have them, too
        wanted |= {
            module: facts
            for module, (source, _, facts, _, _) in kept.index.items()
            if module not in wanted and bytecode.facts_of(source) == facts
        }
    content = _content(wanted, known, stages)
    if not sys.dont_write_bytecode and all(bytecode.settled(facts) for facts in wanted.values()):
        try:
            bytecode.write(path, lambda: content)
            fd = bytecode.opened(path, root)
            if fd >= 0:
                if os.pread(fd, len(content) + 1, 0) == content:
                    return fd
                os.close(fd)  # somebody has written another one meanwhile
        except OSError:
            pass  # a place that we may not write to
    return machine.sealed(name, content)


def _has(finder: Finder, module: str, facts: Facts | None) -> bool:
    return module in finder.index and finder.index[module][2] == facts


def _content(wanted: dict[str, Facts | None], known: list[Finder], stages: list[list[str]]) -> bytes:
    codes, about = {}, {}
    for module, facts in wanted.items():
        finder = next((each for each in known if _has(each, module, facts)), None)
        if finder is not None:
            codes[module], about[module] = finder.code(module), finder.index[module][:3]
            continue
        source = sys.modules[module].__file__ or ""
        codes[module] = bytecode.compiled(module, _true(source, facts), source)
        assert facts is not None
        about[module] = source, os.path.basename(source) == "__init__.py", facts
    return bytecode.packed(bytecode.ROOT, stages, codes, about)


def _true(source: str, known: Facts | None) -> bytes:
    with open(source, "rb") as file:
        content = file.read()
    if known is None or bytecode.facts_of(source) != known:
        raise OSError(errno.ESTALE, "changed since it was imported", source)
    return content


def first() -> First:
    """Raises OSError as `take` does."""
    if carried:
        return carried
    found: First = []
    for name in FIRST:
        module = sys.modules[name]
        source = module.__file__ or ""
        # compiled anew: a .pyc says only seconds and size of its source
        code = compile(_true(source, bytecode.running().get(name)), source, "exec", dont_inherit=True)
        found.append((name, source, hasattr(module, "__path__"), code))
    return found
