"""The same Dockerfile by pyctr, by docker's own builder and by buildah: the same files, the same configuration."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.images.store import ImageStore
from tests.kernel.test_interop_runtime_buildah import Buildah
from tests.kernel.test_interop_runtime_docker import Docker
from tests.support import manager as managers

RECIPE = r"""
ARG FIRST=scratch
FROM $FIRST AS start
ADD rootfs.tar /
ARG WHO=world
ARG UNSET
ENV A=1 B="two words" C=${A}x$A D=${none:-d} E='$A' F=\$A
ENV old form  of it
LABEL "a b"=c d='e f' g=h\ i
WORKDIR /srv
WORKDIR app/../app2
COPY one two.txt ./
COPY dir /copied
COPY dir/ /copied2/
COPY --chown=1000:1001 o* dir/../one /owned/
COPY ["with blank", "/"]
ADD inner.tar /unpacked/
ADD one /deep/er/renamed
RUN echo "$WHO $A $B [$UNSET]" > said && chown 7:8 said && ln -s said link && ln said hard
RUN mkdir sticky && chmod 1777 sticky; chmod 4755 one # not in the shell's way
RUN ["/bin/sh", "-c", "echo $0 $A > exec", "zero"]
RUN rm /bin/sleep && mkdir /var && echo x > /var/x && rm -r /copied2 && mkdir /copied2 && echo new > /copied2/new
USER sam
RUN id -u > /tmp/by-sam; \
    # a comment
    pwd >> /tmp/by-sam
EXPOSE 80 53/udp 8000-8002
VOLUME /data /more
STOPSIGNAL SIGINT
HEALTHCHECK --interval=1m30s --timeout=5s --retries=2 CMD test -e /
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT cat
CMD ["x"]
ONBUILD RUN echo "by the trigger" >> /tmp/by-sam

FROM start
COPY --from=start /srv/app2/said /again
COPY --from=0 /copied /from/number/
USER 0
RUN false || echo in another shell > /shell
CMD tail $A
"""
MEMBERS = (
    *("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "Labels", "ExposedPorts", "Volumes", "StopSignal"),
    *("Healthcheck", "Shell"),
)
"""What docker's inspect shows of an image's configuration and runs by."""
MADE = {".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "dev", "proc", "sys", "run"}
"""Mount points, which each tool makes in its own way."""
VOLUMES = {"data", "more"}
"""Mounted during RUN by theirs, which leaves mount points; here, as in BuildKit, only in containers."""


def context(base: str, rootfs: str) -> Path:
    place = Path(base) / "context"
    (place / "dir" / "sub").mkdir(parents=True)
    shutil.copy(rootfs, place)
    for name in ("one", "two.txt", "other", "with blank", "dir/a", "dir/sub/b"):
        (place / name).write_text(f"{name}\n")
    (place / "other").chmod(0o640)
    (place / "dir/sub").chmod(0o2750)
    (place / "dir" / "link").symlink_to("sub/b")
    with tarfile.open(place / "inner.tar", "w") as tar:
        tar.add(place / "dir", arcname="inner")
    (place / "Dockerfile").write_text(RECIPE)
    return place


def files(image: str, manager: Docker | Buildah) -> dict[str, tuple[Any, ...]]:
    """Everything in an image by name: kind, mode, owner, where links lead, contents."""
    host = manager.host
    host.run("create", "--name", "look", "--network", "none", image)
    host.run("export", "-o", f"{host.base}/look.tar", "look")
    host.run("rm", "-v", "look")
    found: dict[str, tuple[Any, ...]] = {}
    with tarfile.open(f"{host.base}/look.tar") as tar:
        for member in tar:
            name = member.name.rstrip("/")
            if name in MADE or name.split("/")[0] in ("dev", "proc", "sys"):
                continue
            data = tar.extractfile(member) if member.isfile() or member.islnk() else None
            digest = hashlib.sha256(data.read()).hexdigest() if data else ""
            kind = "file" if data else member.type
            link = member.linkname if member.issym() else ""
            found[name] = (kind, oct(member.mode), member.uid, member.gid, link, digest)
    return found


def config(image: str, manager: Docker | Buildah) -> dict[str, Any]:
    whole = ImageStore(manager.host.paths).resolve(image).config
    found = {name: whole.get(name) or None for name in MEMBERS}
    found["Env"] = sorted(found["Env"] or [])
    found["Labels"] = {key: value for key, value in (found["Labels"] or {}).items() if not key.startswith("io.buildah")}
    return found


def same(manager: Docker | Buildah, place: Path) -> None:
    manager.host.run("build", "--network", "none", "-t", "ours", str(place), timeout=200)
    manager.host.run("load", "-i", f"{manager.base}/theirs.tar")
    assert config("ours", manager) == config("theirs", manager)
    ours, theirs = files("ours", manager), files("theirs", manager)
    assert ours.keys() ^ theirs.keys() <= VOLUMES
    differing = {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs.get(name)}
    assert not differing, "\n".join(f"{name}: {ours} != {theirs}" for name, (ours, theirs) in differing.items())


@pytest.fixture
def docker() -> Iterator[Docker]:
    manager = Docker()
    try:
        manager.prepare()
        yield manager
    finally:
        manager.close()


@managers.needs("dockerd", "docker", "containerd", "runc", "iptables", "unshare", "nsenter", "ip", "busybox")
@pytest.mark.timeout(300)
def test_docker_builds_the_same(docker: Docker) -> None:
    place = context(docker.base, docker.rootfs)
    done = subprocess.run(
        docker.command("build", "--network", "none", "-t", "theirs", str(place)),
        env={**docker.env, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    docker("save", "-o", f"{docker.base}/theirs.tar", "theirs")
    same(docker, place)


@pytest.fixture
def buildah() -> Iterator[Buildah]:
    manager = Buildah()
    try:
        yield manager
        manager("rmi", "-a", "-f")
    finally:
        manager.close()


@managers.needs("buildah", "unshare", "nsenter", "ip", "busybox")
@pytest.mark.timeout(300)
def test_buildah_builds_the_same(buildah: Buildah) -> None:
    place = context(buildah.base, buildah.rootfs)
    # it keeps a range of ports as it is, and its CMD goes by the default shell whatever SHELL says
    recipe = RECIPE.replace(" 8000-8002", "").replace('SHELL ["/bin/sh", "-ec"]', "")
    (place / "Dockerfile").write_text(recipe)
    (place / "dir/sub").chmod(0o750)  # and it loses a directory's set-group-id
    words = ("--isolation", "chroot", "--format", "docker")
    buildah("bud", *words, "-t", "theirs", str(place))
    buildah("push", "-q", "theirs", f"docker-archive:{buildah.base}/theirs.tar:theirs")
    same(buildah, place)
