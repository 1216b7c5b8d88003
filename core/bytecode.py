"""The modules of one verb from one file of bytecode, because every module found by itself costs a start 0.2 ms.

    <package>/__pycache__/NAME.TAG.modules      header, two lengths, what marshal makes of
                                                {module: (path, package, facts, offset, length)} and
                                                [(modules, offset, length)], the bytecode

`guess` and `use` put a finder before the interpreter's own, `keep` writes the file at the end of a run that missed
something. What a run imports after a call of `at_once`, until the next one, is a stage: once a run has missed nothing,
later ones make all modules of a stage when it begins, for two thirds of the time that one by one takes.

A module comes from the file only while its source is what was compiled: inode, size, mtime and ctime to the nanosecond
(more than a .pyc checks), and only if nobody but root and the package's owner can have written the file. Whatever is
not as it should be is imported as ever. See docs/decisions/0014.
"""

# no `from __future__ import annotations`: that module is one of those which should come from the file
import marshal
import os
import sys
import time
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, ModuleType

    Facts = tuple[int, int, int, int]
    Index = dict[str, tuple[str, bool, Facts, int, int]]
    Stages = list[tuple[list[str], int, int]]

_SETTLED = 2 * 10**9
"""Nanoseconds after which a file that changes again has another ctime, whatever the clock's and file system's grain."""

_PACKAGE = "pyctr."
_CORE = "pyctr.core."
_PYTHON = ("__future__", "struct")
"""Modules of the standard library that every verb needs."""
_FORMAT = 3
_WORDS = 16
"""Where a verb stands at the latest, as a rule."""
_BEFORE = frozenset(sys.modules)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Finder:
    """Finds the modules of one file; `served` is who came from it."""

    def __init__(self, path: str, root: str, content: "bytes | None" = None) -> None:
        """With `content` it is that of a `snapshot`, true or not."""
        self.path = path
        self.root = root
        self.pinned = content is not None
        self.served: set[str] = set()
        self.index: "Index" = {}
        self.stages: "Stages" = []
        self.codes: dict[str, CodeType] = {}
        """Of the stages that were read, as far as nobody has asked for them."""
        self.singles: list[list[str]] = []
        """What was imported one by one since each call of `at_once`, in the order in which it was ready."""
        self.bytecode = memoryview(b"")
        if content is None:
            content = _read(path, root)
        header = _header(root)
        at = len(header) + 16
        head, rest = (int.from_bytes(content[to - 8 : to], "little") for to in (at - 8, at))
        if content.startswith(header) and len(content) == at + head + rest:
            self.index, self.stages = marshal.loads(content[at : at + head])
            self.bytecode = memoryview(content)[at + head :]

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> ModuleSpec | None:
        found = self.index.get(name)
        if found is None:
            return None
        source, package, facts, _, _ = found
        try:
            if not self.pinned and _facts(os.stat(source)) != facts:
                return None
        except OSError:
            return None
        self.served.add(name)
        spec = ModuleSpec(name, _Loader(name, source, self), origin=source, is_package=package)
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [os.path.dirname(source)]
        return spec

    def code(self, name: str) -> "CodeType":
        """A module's, which is given away."""
        _, _, _, offset, length = self.index[name]
        if length:
            code: "CodeType" = marshal.loads(self.bytecode[offset : offset + length])
            return code
        if name not in self.codes:
            for names, offset, length in self.stages:
                if name in names:
                    self.codes |= zip(names, marshal.loads(self.bytecode[offset : offset + length]), strict=True)
        return self.codes.pop(name)

    def make(self, names: list[str]) -> None:
        """Import modules without all that an import statement does. One that fails is left to such a statement."""
        for name in names:
            parent, _, last = name.rpartition(".")
            if name in sys.modules or (parent and parent not in sys.modules):
                continue
            if (spec := self.find_spec(name)) is None:
                continue
            module = sys.modules[name] = self._module(spec)
            try:
                exec(self.code(name), module.__dict__)
            except Exception:
                del sys.modules[name]
                self.served.discard(name)
                return
            if parent:
                setattr(sys.modules[parent], last, module)

    def _module(self, spec: ModuleSpec) -> "ModuleType":
        """What `importlib.util.module_from_spec` makes of it, in a third of the time."""
        module = type(sys)(spec.name)
        # a __cached__ of its own is nothing that it has; to derive its name takes as long as all the rest
        values: "dict[str, object]" = {
            "__spec__": spec,
            "__loader__": spec.loader,
            "__package__": spec.parent,
            "__file__": spec.origin,
            "__cached__": self.path,
        }
        if spec.submodule_search_locations is not None:
            values["__path__"] = spec.submodule_search_locations
        module.__dict__.update(values)
        return module

    def untypical(self) -> bool:
        """Whether this run has imported twice as much one by one as by stages, which makes it the model for later ones:
        they begin with all that it has needed, so once with a rare flag must not be enough."""
        return sum(map(len, self.singles)) > 2 * sum(len(names) for names, _, _ in self.stages)

    def missed(self) -> dict[str, str]:
        """Modules that were imported in the ordinary way since this one, and their sources: ours and Python's own."""
        missed = {}
        for name, module in list(sys.modules.items()):
            if name not in _BEFORE and name not in self.served:
                source = getattr(module, "__file__", None) or ""
                ours = name.startswith(_PACKAGE) and source.startswith(f"{self.root}/")
                if source.endswith(".py") and (ours or name in _PYTHON):
                    missed[name] = source
        return missed


class _Loader(SourceFileLoader):
    """That of the interpreter, for tracebacks and whoever asks for sources, but for where bytecode comes from."""

    def __init__(self, name: str, path: str, finder: Finder) -> None:
        super().__init__(name, path)
        self._finder: Finder | None = finder

    def get_code(self, fullname: str) -> "CodeType | None":
        if self._finder is None or fullname not in self._finder.index:
            return super().get_code(fullname)
        return self._finder.code(fullname)

    def exec_module(self, module: "ModuleType") -> None:
        super().exec_module(module)
        if self._finder is not None and self._finder.singles:
            self._finder.singles[-1].append(module.__name__)


class _Noter:
    """Finds nothing; notes what the interpreter's own finders are about to import."""

    def find_spec(self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None) -> None:
        if name.startswith(_PACKAGE) and path:
            start = f"{path[0]}/{name.rpartition('.')[2]}"
            _ran[name] = facts_of(f"{start}.py") or facts_of(f"{start}/__init__.py")


_finder: Finder | None = None
_ran: "dict[str, Facts | None]" = {}
"""Of modules that have not come from `_finder`, since `done`: the source they were made of."""


def guess(program: str) -> None:
    """`use` for the first word of the command line that there is a file for, before anybody can say what it means."""
    for word in sys.argv[1:_WORDS]:
        if word.isalpha() and os.path.exists(place(f"{program}-{word}")):
            use(f"{program}-{word}")
            return


def use(name: str) -> None:
    """From now on import from the file `name`, a word of ours, as far as it is there and true."""
    global _finder
    path = place(name)
    if sys.pycache_prefix is not None or (_finder is not None and _finder.path == path):
        return
    if _finder is not None:
        sys.meta_path.remove(_finder)
    _finder = Finder(path, ROOT)
    sys.meta_path.insert(0, _finder)


def resume(content: bytes, name: str) -> None:
    """Import from a `snapshot` from now on, whatever has become of the sources."""
    global _finder
    _finder = Finder(place(name), ROOT, content)
    sys.meta_path[:0] = _finder, _Noter()


def current() -> Finder | None:
    """Where modules come from just now."""
    return _finder


def running() -> "dict[str, Facts | None]":
    """Of every module of ours that was imported until `done`, or since `resume`, and later: the source it was made of,
    None for one that nobody can tell."""
    found = dict(_ran)
    if _finder is not None:
        found |= {name: _finder.index[name][2] for name in _finder.served}
    return {name: facts for name, facts in found.items() if name in sys.modules}


def place(name: str) -> str:
    """Of the file of that name."""
    return f"{ROOT}/__pycache__/{name}.{sys.implementation.cache_tag}-{sys.flags.optimize}.modules"


def at_once(stage: int) -> None:
    """A stage begins, by number: make the modules that it had in earlier runs."""
    if _finder is None:
        return
    _finder.singles += [[] for _ in range(len(_finder.singles), stage + 1)]
    if stage < len(_finder.stages):
        _finder.make(_finder.stages[stage][0])


def done() -> None:
    """Nothing that matters is imported any more: let go of the memory."""
    global _finder
    if _ran:
        return  # in a copy of who has said so
    for name, module in sys.modules.items():
        if (name + ".").startswith(_PACKAGE) and not (_finder is not None and name in _finder.served):
            _ran[name] = facts_of(module.__file__ or "")
    _ran.update(running())
    sys.meta_path.insert(0, _Noter())
    if _finder is not None:
        sys.meta_path.remove(_finder)
        for name in _finder.served:
            loader = getattr(sys.modules.get(name), "__loader__", None)
            if isinstance(loader, _Loader):
                loader._finder = None
        _finder = None


def pending() -> bool:
    """Whether `keep` has something to do."""
    if _finder is None or sys.dont_write_bytecode:
        return False
    return bool(_finder.missed()) or _finder.untypical()


def keep() -> None:
    """Write what this process has imported, if the file lacked any of it and we may. Nothing depends on it."""
    if _finder is None or not pending():
        return
    try:
        finder = _finder
        write(finder.path, lambda: _content(finder))
    except (OSError, SyntaxError, ValueError):
        pass  # a place we may not write to, or a source being edited: as slow as before


def write(path: str, make: "Callable[[], bytes]") -> None:
    """What it makes, in the place of what is there; nothing where others may write. Raises OSError."""
    directory = os.path.dirname(path)
    if not _ours(os.stat(directory), os.stat(ROOT)):
        return
    temporary = f"{path}.{os.getpid()}"
    # before the work, which takes some 0.2 s: without permission it were done every time
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(make())
            file.flush()
            os.fchmod(fd, os.stat(__file__).st_mode & 0o644 | 0o600)
            os.fsync(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _content(finder: Finder) -> bytes:
    """Of a file, which must never be behind its sources."""
    missed = finder.missed()
    stages = [list(names) for names, _, _ in finder.stages]
    if not missed:
        # nothing out of the ordinary in this run: what it has imported one by one belongs to its stages
        stages += [[] for _ in finder.singles[len(stages) :]]
        for names, singles in zip(stages, finder.singles, strict=False):
            names += [name for name in singles if not any(name in stage for stage in stages)]
    codes: "dict[str, CodeType]" = {}
    facts: "dict[str, tuple[str, bool, Facts]]" = {}
    for name, (source, package, known, _, _) in finder.index.items():
        if os.path.exists(source) and _facts(os.stat(source)) == known:
            codes[name], facts[name] = finder.code(name), (source, package, known)
    for name, source in missed.items():
        status = os.stat(source)
        if not settled(_facts(status)):
            continue
        with open(source, "rb") as file:
            codes[name] = compiled(name, file.read(), source)
        facts[name] = source, os.path.basename(source) == "__init__.py", _facts(status)
    return packed(finder.root, stages, codes, facts)


def packed(
    root: str, stages: list[list[str]], codes: "dict[str, CodeType]", facts: "dict[str, tuple[str, bool, Facts]]"
) -> bytes:
    """A file's content. `codes` and `facts` have the same keys, `stages` are some of those."""
    pieces: list[bytes] = []
    index: "Index" = {}
    placed: "Stages" = []
    end = 0
    for names in stages:
        names = [name for name in names if name in codes]
        pieces.append(marshal.dumps([codes[name] for name in names]))
        placed.append((names, end, len(pieces[-1])))
        end += len(pieces[-1])
        index |= {name: (*facts[name], 0, 0) for name in names}
    for name, code in codes.items():
        if name not in index:
            pieces.append(marshal.dumps(code))
            index[name] = (*facts[name], end, len(pieces[-1]))
            end += len(pieces[-1])
    head = marshal.dumps((index, placed))
    lengths = (length.to_bytes(8, "little") for length in (len(head), end))
    return b"".join((_header(root), *lengths, head, *pieces))


def compiled(name: str, content: bytes, source: str) -> "CodeType":
    """Without what takes a seventh of the room and nobody asks for: the columns of each instruction (lines are kept,
    for tracebacks) and the docstrings of the core (those of the commands are their help)."""
    import ast

    tree = ast.parse(content, source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.expr)):
            node.col_offset = node.end_col_offset = -1
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if name.startswith(_CORE) and ast.get_docstring(node, clean=False) is not None:
            said = node.body.pop(0)
            if not node.body:
                node.body.append(ast.copy_location(ast.Pass(), said))
    return compile(tree, source, "exec", dont_inherit=True)


def settled(facts: "Facts | None") -> bool:
    """Whether a source of these cannot change once more without a trace."""
    return facts is not None and time.time_ns() - max(facts[2:]) >= _SETTLED


def facts_of(source: str) -> "Facts | None":
    try:
        return _facts(os.stat(source))
    except OSError:
        return None


def _facts(status: os.stat_result) -> "Facts":
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _header(root: str) -> bytes:
    """Of another interpreter, or of a package that was moved since, is no file for us."""
    return MAGIC_NUMBER + marshal.dumps((sys.version, root, _FORMAT))


def _read(path: str, root: str) -> bytes:
    if (fd := opened(path, root)) < 0:
        return b""
    try:
        return os.read(fd, os.fstat(fd).st_size)
    except OSError:
        return b""
    finally:
        os.close(fd)


def opened(path: str, root: str) -> int:
    """The file, if it is there and nobody can have written it who could not have written the package; else -1."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return -1
    try:
        package = os.stat(root)
        if _ours(os.fstat(fd), package) and _ours(os.stat(os.path.dirname(path)), package):
            return fd
    except OSError:
        pass  # the package is being replaced
    os.close(fd)
    return -1


def _ours(status: os.stat_result, package: os.stat_result) -> bool:
    return status.st_uid in (0, package.st_uid) and not status.st_mode & 0o022
