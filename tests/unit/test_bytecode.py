"""The file of bytecode: faster, and never believed when it should not be. Each run is an interpreter of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pyctr.core.bytecode

PROGRAM = """
import sys
sys.path.insert(0, {top!r})
from pyctr.core import bytecode
bytecode._SETTLED = {settled}
bytecode.use("verb")
from pyctr.core import answer
print(answer.value(), type(answer.__spec__.loader).__name__, answer.__file__)
bytecode.keep()
"""


class Package:
    """A small `pyctr` with the real `core/bytecode.py` and a module to be imported."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.core = top / "pyctr/core"
        self.core.mkdir(parents=True)
        for directory in (top / "pyctr", self.core):
            (directory / "__init__.py").touch()
        shutil.copy(pyctr.core.bytecode.__file__, self.core / "bytecode.py")
        self.answer = self.core / "answer.py"
        self.says("one")

    def says(self, word: str) -> None:
        with self.answer.open("w") as file:
            file.write(f"def value():\n    return '{word}'\n")

    def run(self, *, settled: int = 0, flags: tuple[str, ...] = ()) -> tuple[str, bool]:
        """What the module said, and whether it came from the file."""
        program = PROGRAM.format(top=str(self.top), settled=settled)
        done = subprocess.run([sys.executable, "-I", *flags, "-c", program], capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr
        word, loader, path = done.stdout.split()
        assert path == str(self.answer)
        return word, loader == "_Loader"

    @property
    def files(self) -> list[Path]:
        return list((self.top / "pyctr/__pycache__").glob("verb*"))


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return Package(tmp_path)


@pytest.fixture
def kept(package: Package) -> Package:
    assert package.run() == ("one", False)
    assert package.run() == ("one", True)
    return package


def test_a_source_edited_in_place_with_the_same_size_is_what_runs(kept: Package):
    before = kept.answer.stat()
    kept.says("two")
    os.utime(kept.answer, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = kept.answer.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    # without .pyc files, which such an edit deceives
    shutil.rmtree(kept.core / "__pycache__")
    assert kept.run() == ("two", False)
    assert kept.run() == ("two", True)


def test_a_source_that_changed_just_now_may_change_again_and_is_not_kept(package: Package):
    hour = 3600 * 10**9
    assert [package.run(settled=hour) for _ in range(2)] == [("one", False)] * 2


def test_a_source_that_is_gone_is_not_imported(kept: Package):
    kept.answer.unlink()
    with pytest.raises(AssertionError, match="cannot import name 'answer'"):
        kept.run()


def test_a_package_that_moved_runs_its_own_sources(kept: Package, tmp_path: Path):
    there = Package(tmp_path / "there")
    there.says("new")
    shutil.copytree(kept.top / "pyctr/__pycache__", there.top / "pyctr/__pycache__")
    assert there.run() == ("new", False)


@pytest.mark.parametrize("what", ["file", "directory"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_what_others_can_write_to_is_not_believed(kept: Package, what: str, mode: int):
    (file,) = kept.files
    path = file if what == "file" else file.parent
    path.chmod(path.stat().st_mode | mode)
    assert kept.run() == ("one", False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_belongs_to_somebody_else_is_not_believed(kept: Package, what: str):
    (file,) = kept.files
    os.chown(file if what == "file" else file.parent, 54321, 0)
    assert kept.run() == ("one", False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_package_of_a_user_may_bring_the_users_file(kept: Package):
    (file,) = kept.files
    os.chown(file, 54321, 0)
    os.chown(kept.top / "pyctr", 54321, 0)
    assert kept.run() == ("one", True)


def test_nobody_is_led_elsewhere_by_a_link(kept: Package):
    (file,) = kept.files
    file.rename(file.with_suffix(".there"))
    file.symlink_to(file.with_suffix(".there"))
    assert kept.run() == ("one", False)


@pytest.mark.parametrize("cut", [0, 3, 30, 200, -1])
def test_half_a_file_is_none_and_is_replaced(kept: Package, cut: int):
    (file,) = kept.files
    file.write_bytes(file.read_bytes()[:cut])
    assert kept.run() == ("one", False)
    assert kept.run() == ("one", True)


def test_another_interpreters_file_is_none(kept: Package):
    (file,) = kept.files
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    assert kept.run() == ("one", False)


def test_who_wants_no_bytecode_written_gets_none(package: Package):
    assert package.run(flags=("-B",)) == ("one", False)
    assert not package.files


def test_where_nothing_can_be_written_everything_works(package: Package):
    (package.top / "pyctr/__pycache__").touch()
    assert [package.run() for _ in range(2)] == [("one", False)] * 2


def test_a_verb_is_known_by_the_file_there_is_for_it(package: Package):
    program = PROGRAM.format(top=str(package.top), settled=0).replace('use("verb")', 'guess("pyctr")')
    words = ["--root", "/there", "json", "../run", "run", "verb"]

    def run(program: str) -> str:
        done = subprocess.run([sys.executable, "-I", "-c", program, *words], capture_output=True, text=True, check=True)
        return done.stdout.split()[1]

    assert run(program) == "SourceFileLoader"
    assert run(program.replace("keep()", "use('pyctr-run');bytecode.keep()")) == "SourceFileLoader"
    assert run(program) == "_Loader"


STAGED = """
import sys
sys.path.insert(0, {top!r})
from pyctr.core import bytecode
bytecode._SETTLED = 0
bytecode.use("verb")
bytecode.at_once(0)
first = [name for name in sys.modules if name.startswith("pyctr.core.")]
import pyctr.core.one
bytecode.at_once(1)
then = [name for name in sys.modules if name.startswith("pyctr.core.")]
import pyctr.core.two
print(*[" ".join(name[11:] for name in names if name[11:] != "bytecode") for names in (first, then)], sep=";")
print(pyctr.core.two.answer.value(), pyctr.core.answer is pyctr.core.two.answer, pyctr.core.two.__spec__.origin)
bytecode.keep()
"""


class Staged(Package):
    """`one` is wanted in a first stage; `two`, which imports `answer`, in a second."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        (self.core / "one.py").touch()
        (self.core / "two.py").write_text("from pyctr.core import answer\n")

    def stages(self, program: str = STAGED) -> tuple[str, str, str]:
        """The modules there are when each stage has begun; what the answer is."""
        words = [sys.executable, "-I", "-c", program.format(top=str(self.top))]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr
        stages, said = done.stdout.splitlines()
        word, same, origin = said.split()
        assert (same, origin) == ("True", str(self.core / "two.py"))
        return (*stages.split(";"), word)  # type: ignore[return-value]


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    """After a run that compiled, and one that missed nothing."""
    package = Staged(tmp_path)
    assert [package.stages() for _ in range(2)] == [("", "one", "one")] * 2
    return package


def test_a_stage_begins_with_the_modules_it_had(staged: Staged):
    assert [staged.stages() for _ in range(2)] == [("one", "one answer two", "one")] * 2


def test_a_run_that_needs_a_little_more_changes_nothing_and_one_that_needs_much_more_does(staged: Staged):
    names = ("three", "four", "five", "six", "seven", "eight", "nine")
    for name in names:
        (staged.core / f"{name}.py").touch()
    some, all = (", ".join(f"pyctr.core.{name}" for name in names[:count]) for count in (6, 7))
    little, much = (STAGED.replace("import pyctr.core.two", f"import pyctr.core.two, {more}") for more in (some, all))
    for program in (much, little, little):
        staged.stages(program)
    assert staged.stages()[1] == "one answer two"
    staged.stages(much)
    assert staged.stages()[1] == f"one answer two {' '.join(names)}"


def test_a_module_of_a_stage_that_was_edited_is_what_runs(staged: Staged):
    staged.says("other")
    assert staged.stages()[2] == "other"
    assert staged.stages()[2] == "other"


def test_a_stage_that_is_left_out_does_no_harm(staged: Staged):
    """A process that begins in the middle, as one that was started anew does."""
    assert staged.stages(STAGED.replace("bytecode.at_once(0)\n", "")) == ("", "one answer two", "one")
    assert staged.stages() == ("one", "one answer two", "one")


def test_a_module_that_fails_does_so_where_it_is_imported(staged: Staged):
    (staged.core / "answer.py").unlink()
    done = subprocess.run(
        [sys.executable, "-I", "-c", STAGED.format(top=str(staged.top))], capture_output=True, text=True
    )
    assert "cannot import name 'answer'" in done.stderr
    at = 1 + STAGED.splitlines().index("import pyctr.core.two")
    assert f'File "<string>", line {at}, in <module>' in done.stderr


def test_a_traceback_shows_the_source(kept: Package):
    program = PROGRAM.format(top=str(kept.top), settled=0).replace("answer.value()", "answer.value(1)")
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True)
    assert "value() takes 0 positional arguments" in done.stderr
    inspect = "import inspect\nprint(inspect.getsource(answer.value), answer.value.__code__.co_filename)"
    program = PROGRAM.format(top=str(kept.top), settled=0) + inspect
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["def value():", "    return 'one'", f" {kept.answer}"]


def test_nothing_temporary_stays_and_nobody_may_read_more_than_the_sources(kept: Package):
    (file,) = kept.files
    assert file.stat().st_mode & 0o777 == (kept.core / "bytecode.py").stat().st_mode & 0o644


def test_a_module_of_a_stage_is_a_module_like_any_other(staged: Staged):
    program = STAGED.rpartition("print(*[")[0] + (
        "import importlib, importlib.util\n"
        "for module in (pyctr.core.one, pyctr.core.two):\n"
        "    ordinary = vars(importlib.util.module_from_spec(module.__spec__))\n"
        "    for name in ordinary.keys() - {{'__cached__'}}:\n"
        "        assert vars(module)[name] == ordinary[name], name\n"
        "    assert '__cached__' in vars(module)\n"
        "    assert importlib.reload(module) is module\n"
        "print(then)\n"
    )
    staged.stages()  # from here on modules are made by stages
    words = [sys.executable, "-I", "-c", program.format(top=str(staged.top))]
    done = subprocess.run(words, capture_output=True, text=True)
    assert not done.stderr and "pyctr.core.two" in done.stdout


def test_what_is_left_out_is_not_missed(package: Package):
    """Lines are kept and docstrings are not, but for those of commands, which are their help."""
    cli = package.top / "pyctr/cli"
    cli.mkdir()
    described = 'class Kind:\n    """What."""\n\n\ndef value():\n    """Why."""\n    return 1 / nothing\n'
    for directory in (cli, package.core):
        (directory / "__init__.py").touch()
        (directory / "told.py").write_text(f'"""Module."""\n\n{described}')
    program = PROGRAM.format(top=str(package.top), settled=0).partition("from pyctr.core import answer")[0] + (
        "from pyctr.core import told as one\nfrom pyctr.cli import told as other\nbytecode.keep()\n"
        "print([(m.__doc__, m.Kind.__doc__, m.value.__doc__) for m in (one, other)], flush=True)\n"
        "print(type(one.__spec__.loader).__name__, flush=True)\none.value()\n"
    )
    words = [sys.executable, "-I", "-c", program]
    first, then = (subprocess.run(words, capture_output=True, text=True) for _ in range(2))
    assert first.stdout.splitlines() == [repr([("Module.", "What.", "Why.")] * 2), "SourceFileLoader"]
    assert then.stdout.splitlines() == [repr([(None, None, None), ("Module.", "What.", "Why.")]), "_Loader"]
    for done in (first, then):
        assert f'File "{package.core}/told.py", line 9, in value\n    return 1 / nothing\n' in done.stderr
