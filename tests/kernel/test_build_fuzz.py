"""Dockerfiles of any nonsense through the whole builder: an image comes out, or one line that says where it is wrong.

The builder runs in this process, on a store of its own, so that hundreds of files take seconds. PYCTR_FUZZ=1 tries
others each time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyctr.core.build.build import Build, Request
from pyctr.core.build.context import Context
from pyctr.core.build.dockerfile import parse
from pyctr.core.engine import Engine
from pyctr.core.errors import BuildFailure, ImageNotFound
from pyctr.core.images.model import Image
from pyctr.core.paths import Paths

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: COPY writes into an overlay")

WORD = st.sampled_from(
    ["a", "b", "/", "dir", "./dir/", "*", "d*r", "..", "../a", "/etc/passwd", "$X", "${X:-a}", "${", "${X/a/b}",
     '"a b"', "'", '"', "\\", "a=b", "a=", "=", "X=$X", "--", "--from=one", "--from=0", "--from=9", "--chown=1:2",
     "--chmod=9", "--chmod=u+x", "--link", "--parents", "--exclude=*", "--checksum=x", "--mount=type=bind",
     "--interval=1s", "NONE", "CMD", "80/tcp", "99999", "1-2", '["a", "b"]', '["a"', "[]", "SIGTERM", "root", "9",
     "as", "AS", "one", "<<E", "http://localhost:1/x", "\x1b[2J", "é", "\t", "`", "#", "%s", "{}", "a" * 300]
)  # fmt: skip
NAME = st.sampled_from(
    ["ARG", "ENV", "LABEL", "COPY", "ADD", "WORKDIR", "USER", "EXPOSE", "VOLUME", "STOPSIGNAL", "CMD", "ENTRYPOINT",
     "SHELL", "HEALTHCHECK", "ONBUILD", "ONBUILD COPY", "MAINTAINER", "env", "FROM scratch AS", "FROM one AS", "FROM",
     "COPY --from=one", "COPY a", "COPY dir", "ADD b", "ENV X", "ARG X=", "COPY <<E /to\nin $X\nE\n", "NOTHING", "#"]
)  # fmt: skip
LINE = st.tuples(NAME, st.lists(WORD, min_size=1, max_size=3)).map(lambda parts: " ".join([parts[0], *parts[1]]))
GLUE = st.sampled_from(["\n", "\n", "\n", "\n", "\n\n", "\r\n", "\\\n"])
RECIPE = st.lists(st.tuples(LINE, GLUE).map("".join), max_size=6).map("".join)
WHERE = re.compile(r"Dockerfile:(\d+): ")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Context]]:
    top = tmp_path_factory.mktemp("fuzz")
    place = top / "context"
    (place / "dir/sub").mkdir(parents=True)
    for name in ("a", "b", "dir/c", "dir/sub/d"):
        (place / name).write_text(name)
    (place / "dir/out").symlink_to("/etc/passwd")
    yield Engine(Paths(root=str(top / "root"), run=str(top / "run"))), Context.directory(str(place))


def nowhere(name: str, platform: str) -> Image:
    raise ImageNotFound(f"no image '{name}'")


@settings(
    deadline=None,
    derandomize="PYCTR_FUZZ" not in os.environ,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(recipe=RECIPE)
def test_a_dockerfile_becomes_an_image_or_one_line(engine: tuple[Engine, Context], recipe: str) -> None:
    machine, context = engine
    text = f"FROM scratch AS one\nCOPY a /\nFROM one\n{recipe}"
    try:
        made = Build(machine, Request(parse(text), context, nowhere), lambda event: None).run()
    except BuildFailure as error:
        found = WHERE.match(str(error))
        assert found and 1 <= int(found[1]) <= text.count("\n") + 1, str(error)
        assert "\n" not in str(error) and str(error).isprintable(), repr(str(error))
    else:
        assert machine.images.resolve(made.id).id == made.id
        machine.images.remove(made.id)
    work = Path(machine.paths.build, "work")
    assert not work.exists() or not list(work.iterdir())
    assert not Path("/").joinpath("a").exists()
