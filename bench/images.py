"""Images and builds: what unpacks, pulls, saves, imports and builds, beside the tools for the same job.

Every turn begins with a clean page cache and ends with what it has written still there (`material` says why), so that
nobody pays for what another one has left to the kernel.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .material import Material, Turn
from .ours import Pyctr
from .peers import ULIMITS, Docker, Podman
from .timing import Command, Prepared, command, interleave

_ROW = 45.0
"""Seconds after which a row begins no further round: six rows, and one round on a busy host takes a minute."""
_ROUNDS, _ROUND = 5, 6 << 30
"""No more of them, and free bytes that each needs: all rows together keep a dozen unpacked images of it."""
_ENSURE = "from pyctr.core.engine import Engine; e = Engine(); e.layers.ensure(e.images.list()[0])"
_RECIPE = """FROM bench AS one
COPY context /context
RUN cat /context/* > /one
FROM bench AS two
RUN echo two > /two
FROM one AS three
RUN cat /one /one > /three
FROM bench AS four
COPY --from=two /two /
COPY --from=three /three /
FROM bench
COPY --from=four /two /three /
RUN cat /two /three > /five
CMD ["/bin/true"]
"""


def rows(pyctr: Pyctr, peers: Mapping[str, Podman | Docker], work: Path, rounds: int) -> Iterator[tuple[str, str]]:
    """Rows of the table."""
    rounds = max(1, min(rounds, _ROUNDS, shutil.disk_usage(work).free // _ROUND))
    tools = Tools(pyctr, peers, work)
    material = tools.material
    yield f"unpack of a gzip layer ({material.words}), both digests checked", milliseconds(tools.unpack(), rounds)
    yield "`load` of it from a docker-archive, unpacked", milliseconds(tools.load(), rounds)
    yield "`import` of the layer as a root file system", milliseconds(tools.imports(), rounds)
    yield "`save` of it as a docker-archive", milliseconds(tools.save(), rounds)
    if shutil.which("docker-registry"):
        with registry(work) as name:
            yield "`pull` of it from a registry on loopback, unpacked", milliseconds(tools.pull(name), rounds)
    yield "`build` of five stages, nothing cached", milliseconds(tools.build(cached=False), rounds)
    yield "the same, everything cached", milliseconds(tools.build(cached=True), rounds)


def milliseconds(contenders: dict[str, Command], rounds: int) -> str:
    from .__main__ import milliseconds

    # without a round to warm up: each turn unpacks megabytes into what was emptied before it
    return milliseconds(interleave(contenders, rounds, 0, _ROW))


class Tools:
    """The same job for everyone who is installed."""

    def __init__(self, pyctr: Pyctr, peers: Mapping[str, Podman | Docker], work: Path) -> None:
        self.pyctr = pyctr
        self.work = work
        self.material = Material(work)
        self.podman, self.docker = (peers[name].base if name in peers else [] for name in ("podman", "docker"))
        self.skopeo = shutil.which("skopeo")
        self._begun = 0

    def unpack(self) -> dict[str, Command]:
        def ours(turn: Turn) -> Command:
            root = self.work / f"root-{turn.name}"
            shutil.copytree(turn.layout, root / "images", copy_function=os.link)
            return command(sys.executable, "-c", _ENSURE, env={**self.pyctr.env, "PYCTR_ROOT": str(root)})

        def tar(turn: Turn) -> Command:
            place = turn.place / "tar"
            place.mkdir()
            return command("tar", "-xzf", str(turn.packed), "-C", str(place))

        found = {"pyctr": ours, "tar": tar}
        if shutil.which("umoci"):
            found["umoci"] = lambda turn: command(
                "umoci", "unpack", "--image", f"{turn.layout}:{turn.name}", f"{turn.place}/umoci"
            )
        if self.skopeo:
            found["skopeo"] = lambda turn: self.skopeo_from(f"oci:{turn.layout}:{turn.name}", turn)
        return self.turns(found)

    def load(self) -> dict[str, Command]:
        def loading(words: list[str], env: dict[str, str]) -> Callable[[Turn], Command]:
            return lambda turn: command(*words, "load", "-i", str(turn.archive), env=env)

        return self.turns({name: loading(words, env) for name, words, env in self.engines()})

    def imports(self) -> dict[str, Command]:
        def importing(words: list[str], env: dict[str, str]) -> Callable[[Turn], Command]:
            return lambda turn: command(*words, "import", str(turn.packed), f"imported-{turn.name}", env=env)

        return self.turns({name: importing(words, env) for name, words, env in self.engines()})

    def save(self) -> dict[str, Command]:
        self._begun += 1
        turn = self.material.turn(self._begun)
        for _, words, env in self.engines():
            command(*words, "load", "-i", str(turn.archive), env=env)()
        target = self.work / "saved.tar"

        def clean() -> None:
            target.unlink(missing_ok=True)
            os.sync()

        return {
            name: Prepared(command(*words, "save", "-o", str(target), turn.name, env=env), clean)
            for name, words, env in self.engines()
        }

    def pull(self, registry: str) -> dict[str, Command]:
        def pulling(who: str, words: list[str], env: dict[str, str]) -> Callable[[Turn], Command]:
            flags = () if who == "docker" else ("--tls-verify=false",)
            return lambda turn: command(*words, "pull", "-q", *flags, turn.push(registry), env=env)

        found = {who: pulling(who, words, env) for who, words, env in self.engines()}
        if self.skopeo:
            found["skopeo"] = lambda turn: self.skopeo_from(f"docker://{turn.push(registry)}", turn)
        return self.turns(found)

    def turns(self, found: dict[str, Callable[[Turn], Command]]) -> dict[str, Command]:
        """Contenders that all get the same images, a new one in every round."""
        first = self._begun + 1
        self._begun += _ROUNDS

        def contender(make: Callable[[Turn], Command]) -> Command:
            numbers = iter(range(first, first + _ROUNDS))
            ready: list[Command] = []

            def before() -> None:
                ready[:] = [make(self.material.turn(next(numbers)))]
                os.sync()

            return Prepared(lambda: ready[0](), before)

        return {name: contender(make) for name, make in found.items()}

    def skopeo_from(self, source: str, turn: Turn) -> Command:
        store = f"containers-storage:[overlay@{self.work}/skopeo+{self.work}/skopeo-run]{turn.name}"
        return command("skopeo", "copy", "-q", "--src-tls-verify=false", source, store)

    def build(self, *, cached: bool) -> dict[str, Command]:
        yard = self.work / f"yard-{cached}"
        (yard / "context").mkdir(parents=True)
        for number in range(50):
            (yard / "context" / str(number)).write_text(f"{number}\n" * 1000)
        (yard / "Dockerfile").write_text(_RECIPE)
        flags = () if cached else ("--no-cache",)
        self.pyctr.call("import", f"{self.work}/rootfs.tar", "bench")
        found: dict[str, Command] = {}
        for name, words, env in self.engines():
            more = [*flags, "--network", "none", "-t", "built"]
            if name == "docker":
                env = {**env, "DOCKER_BUILDKIT": "0"}
            elif name == "podman":
                more += [*ULIMITS, "--layers"]
            found[name] = command(*words, "build", "-q", *more, str(yard), env=env)
        if self.podman and shutil.which("buildah"):
            words = ["buildah", *self.podman[1:5], "bud", "-q", "--layers", "--runtime", "runc", *ULIMITS]
            found["buildah"] = command(*words, *flags, "--network", "none", "-t", "built2", str(yard))
        return found

    def engines(self) -> Iterator[tuple[str, list[str], dict[str, str]]]:
        """(name, how its command begins, environment)."""
        yield "pyctr", [self.pyctr.script], self.pyctr.env
        for name, words in (("podman", self.podman), ("docker", self.docker)):
            if words:
                yield name, words, dict(os.environ)


@contextlib.contextmanager
def registry(work: Path) -> Iterator[str]:
    """Debian's docker-registry; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        name = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = work / "registry.yml"
    settings.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {work}/registry}}}}\nhttp: {{addr: {name}}}\n"
    )
    process = subprocess.Popen(["docker-registry", "serve", str(settings)], stderr=subprocess.DEVNULL)
    host, _, port = name.partition(":")
    deadline = time.monotonic() + 20
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    break
            if time.monotonic() > deadline:
                raise RuntimeError("docker-registry did not come up")
            time.sleep(0.05)  # it tells nobody when it listens
        yield name
    finally:
        process.terminate()
        process.wait(10)
