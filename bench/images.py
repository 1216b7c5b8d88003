"""Images and builds: what unpacks, pulls, saves, imports and builds, beside the tools for the same job.

The layer is made of this host's own files: about 8,200 of them, 77 MB packed with gzip.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from .ours import Pyctr
from .peers import ULIMITS, Docker, Podman
from .timing import Command, Prepared, command, interleave

FILES, PACKED = 8_200, 77 << 20
_MIDDLE, _LARGEST, _SLACK = 16 << 10, 2 << 20, 1 << 20
_ROOTS = ("/usr/lib", "/usr/share", "/usr/bin", "/usr/sbin")
_ROW = 45.0
"""Seconds after which a row begins no further round: six rows, and one round on a busy host takes a minute."""
_ENSURE = (
    "import sys; from pyctr.core.engine import Engine; e = Engine(); e.layers.ensure(e.images.resolve(sys.argv[1]))"
)
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


class Material:
    """One layer as file, as OCI layout, and as docker-archive."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.packed = work / "layer.tar.gz"
        self.files = 0
        plain = sha256()
        with self.packed.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packer:

            class Both:
                def write(self, data: bytes) -> int:
                    plain.update(data)
                    return packer.write(data)

            with tarfile.open(fileobj=Both(), mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
                for path in _sources():
                    size = path.stat().st_size
                    # small ones while there is too much already, large ones while there is too little
                    ahead = raw.tell() - PACKED * self.files // FILES
                    if (ahead > _SLACK and size > _MIDDLE) or (ahead < -_SLACK and size < _MIDDLE):
                        continue
                    tar.add(path, arcname=str(path)[1:], recursive=False)
                    self.files += 1
                    if self.files >= FILES:
                        break
        self.size = self.packed.stat().st_size
        self.layout = work / "layout"
        self._layout(f"sha256:{plain.hexdigest()}")
        self.archive = work / "layer-docker.tar"

    @property
    def words(self) -> str:
        return f"{self.size / 1e6:.0f} MB, {self.files:,} files"

    def _layout(self, diff_id: str) -> None:
        blobs = self.layout / "blobs/sha256"
        blobs.mkdir(parents=True)

        def add(content: bytes, kind: str) -> dict[str, object]:
            digest = sha256(content).hexdigest()
            (blobs / digest).write_bytes(content)
            return {
                "mediaType": f"application/vnd.oci.image.{kind}",
                "digest": f"sha256:{digest}",
                "size": len(content),
            }

        layer = add(self.packed.read_bytes(), "layer.v1.tar+gzip")
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        config = {
            "architecture": machine,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": add(json.dumps(config).encode(), "config.v1+json"),
            "layers": [layer],
        }
        manifest = add(json.dumps(document).encode(), "manifest.v1+json")
        manifest["annotations"] = {"org.opencontainers.image.ref.name": "big"}
        (self.layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
        (self.layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def _sources() -> Iterator[Path]:
    """Files of the host, not the largest, always in the same order."""
    for top in _ROOTS:
        for directory, names, files in os.walk(top):
            names.sort()
            for name in sorted(files):
                path = Path(directory, name)
                if path.is_file() and path.stat().st_size <= _LARGEST:
                    yield path


def rows(pyctr: Pyctr, peers: Mapping[str, Podman | Docker], work: Path, rounds: int) -> Iterator[tuple[str, str]]:
    """Rows of the table."""
    tools = Tools(pyctr, peers, work)
    material = tools.material
    yield f"unpack of a gzip layer ({material.words}), both digests checked", milliseconds(tools.unpack(), rounds)
    yield "`load` of it from a docker-archive, unpacked", milliseconds(tools.load(), rounds)
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
        pyctr.call("load", "-i", str(self.material.layout), "big")
        pyctr.call("save", "-o", str(self.material.archive), "big")
        self.podman, self.docker = (peers[name].base if name in peers else [] for name in ("podman", "docker"))
        self.skopeo = shutil.which("skopeo")
        self.storage = f"containers-storage:[overlay@{work}/skopeo+{work}/skopeo-run]big"

    def unpack(self) -> dict[str, Command]:
        layers = f"{self.pyctr.env['PYCTR_ROOT']}/layers"
        ensure = command(sys.executable, "-c", _ENSURE, "big", env=self.pyctr.env)
        found: dict[str, Command] = {"pyctr": Prepared(ensure, lambda: shutil.rmtree(layers, ignore_errors=True))}
        place = self.work / "unpacked"

        def fresh() -> None:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()

        found["tar"] = Prepared(command("tar", "-xzf", str(self.material.packed), "-C", str(place)), fresh)
        if shutil.which("umoci"):
            words = ("umoci", "unpack", "--image", f"{self.material.layout}:big", f"{place}/bundle")
            found["umoci"] = Prepared(command(*words), fresh)
        if self.skopeo:
            words = ("skopeo", "copy", "-q", f"oci:{self.material.layout}:big", self.storage)
            found["skopeo"] = Prepared(command(*words), self.forget_skopeo)
        return found

    def load(self) -> dict[str, Command]:
        return {
            name: Prepared(command(*words, "load", "-i", str(self.material.archive), env=env), self.removing(name))
            for name, words, env in self.engines()
        }

    def save(self) -> dict[str, Command]:
        for name, words, env in self.engines():
            if name != "pyctr":
                command(*words, "load", "-i", str(self.material.archive), env=env)()
        target = self.work / "saved.tar"
        return {
            name: Prepared(
                command(*words, "save", "-o", str(target), "big", env=env), lambda: target.unlink(missing_ok=True)
            )
            for name, words, env in self.engines()
        }

    def pull(self, registry: str) -> dict[str, Command]:
        name = f"{registry}/big:1"
        self.pyctr.call("push", "--tls-verify=false", "big", name)
        found: dict[str, Command] = {}
        for who, words, env in self.engines():
            flags = () if who == "docker" else ("--tls-verify=false",)
            found[who] = Prepared(command(*words, "pull", "-q", *flags, name, env=env), self.removing(who, name))
        if self.skopeo:
            words = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", self.storage]
            found["skopeo"] = Prepared(command(*words), self.forget_skopeo)
        return found

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

    def removing(self, name: str, image: str = "big") -> Command:
        words, env = next((words, env) for who, words, env in self.engines() if who == name)

        def run() -> None:
            # every name of it: those that pulls and loads before have given
            for one in {image, "big"}:
                subprocess.run([*words, "rmi", "-f", one], env=env, capture_output=True)

        return run

    def forget_skopeo(self) -> None:
        delete = ["skopeo", "delete", self.storage]
        subprocess.run(delete, capture_output=True)


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
