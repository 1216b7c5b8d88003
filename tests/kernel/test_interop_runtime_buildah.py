"""Buildah builds images and runs commands in its working containers by `pyctr-runtime`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import manager as managers
from tests.support.manager import Done, Manager

pytestmark = managers.needs("buildah", "unshare", "nsenter", "ip", "busybox")

RECIPE = """
FROM scratch
ADD rootfs.tar /
ENV A=b
WORKDIR /work
RUN id -u >made && test -d /proc/1 && echo "$A $(pwd)" >>made
RUN --mount=type=tmpfs,target=/t touch /t/x && echo "$(stat -f -c %T /t)" >>made
USER sam
RUN id -u >/tmp/by-sam && cat /work/made /tmp/by-sam
"""


class Buildah(Manager):
    name = "buildah"

    def __init__(self) -> None:
        super().__init__()
        storage = f'[storage]\ndriver = "overlay"\nrunroot = "{self.base}/br"\ngraphroot = "{self.base}/b"\n'
        Path(f"{self.base}/storage.conf").write_text(storage)
        Path(f"{self.base}/containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]\n'
        )
        self.base_words = ("--root", f"{self.base}/b", "--runroot", f"{self.base}/br")
        self.isolated = ("--runtime", self.runtime, "--isolation", "oci", "--network", "none")
        self.limited = ("--cgroup-parent", self.group, "--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000")

    own_mounts = ("b/overlay",)

    @property
    def env(self) -> Mapping[str, str]:
        files = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_STORAGE_CONF": "storage.conf"}
        own = {name: f"{self.base}/{file}" for name, file in files.items()}
        return {**super().env, **own, "XDG_RUNTIME_DIR": f"{self.base}/home"}

    def build(self, recipe: str, name: str, *flags: str, check: bool = True) -> Done:
        context = Path(self.base) / name
        context.mkdir()
        shutil.copy(self.rootfs, context)
        (context / "Containerfile").write_text(recipe)
        return self("bud", *self.isolated, *self.limited, *flags, "-t", name, str(context), check=check)


@pytest.fixture(scope="module")
def buildah() -> Iterator[Buildah]:
    manager = Buildah()
    try:
        yield manager
    finally:
        manager.close()


def test_an_image_is_built_by_commands_in_containers(buildah: Buildah) -> None:
    done = buildah.build(RECIPE, "built")
    said = [line for line in done.stdout.splitlines() if not line.startswith(("STEP", "COMMIT", "-->", "Success"))]
    assert said[:4] == ["0", "b /work", "tmpfs", "1000"], done.stdout + done.stderr
    assert "warning" not in done.stderr
    buildah.clear()


def test_a_failing_command_ends_the_build_with_its_code(buildah: Buildah) -> None:
    done = buildah.build("FROM scratch\nADD rootfs.tar /\nRUN exit 3\n", "failing", check=False)
    assert done.returncode == 3 and "exit status 3" in done.stderr
    buildah.clear()


def test_a_working_container_runs_commands(buildah: Buildah) -> None:
    buildah.build("FROM scratch\nADD rootfs.tar /\n", "plain")
    name = buildah("from", *buildah.limited, "plain").stdout.strip()
    try:
        run = ("run", *buildah.isolated, "--user", "sam", "--workingdir", "/tmp", "--env", "A=b", name)
        done = buildah(*run, "--", "sh", "-c", "id -u; pwd; echo $A; exit 4", check=False)
        assert (done.returncode, done.stdout.split()) == (4, ["1000", "/tmp", "b"]), done.stderr
        code, said = buildah.with_terminal("run", *buildah.isolated, "-t", name, "--", "sh", "-c", "tty; exit 5")
        assert code == 5 and said.splitlines()[0] == "/dev/pts/0", said
    finally:
        buildah("rm", name)
    buildah.clear()
