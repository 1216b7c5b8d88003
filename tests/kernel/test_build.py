"""pyctr build on a real kernel: what a Dockerfile says is what the image holds, and nothing else stays."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.images.store import ImageStore
from tests.support.host import Host


class Yard:
    """A pyctr of its own and a build context."""

    def __init__(self) -> None:
        self.host = Host()
        self.context = Path(self.host.base) / "context"
        self.context.mkdir()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.context / name).write_text(text)

    def build(self, recipe: str, *flags: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        (self.context / "Dockerfile").write_text(recipe)
        return self.host.run("build", *flags, str(self.context), check=check, timeout=120)

    def inside(self, image: str, script: str) -> str:
        return self.host.run("run", "--rm", "--network", "none", image, "sh", "-c", script).stdout

    def config(self, image: str) -> dict[str, Any]:
        return ImageStore(self.host.paths).resolve(image).config

    def members(self, image: str, layer: int = -1) -> dict[str, tarfile.TarInfo]:
        store = ImageStore(self.host.paths)
        with tarfile.open(fileobj=store.blobs.open(store.resolve(image).layers[layer].digest), mode="r:gz") as tar:
            return {found.name: found for found in tar}

    def left(self) -> dict[str, list[str]]:
        """What builds may leave behind."""
        found = self.host.census()
        for top in (f"{self.host.paths.build}/work", f"{self.host.paths.run}/build"):
            if os.path.isdir(top) and (names := os.listdir(top)):
                found[top] = names
        return found


@pytest.fixture(scope="module")
def shared() -> Iterator[Yard]:
    yard = Yard()
    yield yard
    yard.host.close()


@pytest.fixture
def yard(shared: Yard) -> Iterator[Yard]:
    yield shared
    assert not shared.left()


RUN = "RUN --network=none"


def test_instructions_become_files_and_configuration(yard: Yard) -> None:
    yard.write(hello="hello\n")
    done = yard.build(
        f"""
        ARG NAME=base
        FROM $NAME
        ARG WHO=world
        ENV A=1 B="two words" PATH=/opt:$PATH
        WORKDIR /srv
        WORKDIR app/$A
        COPY --chmod=640 hello ./
        {RUN} echo "$WHO $A $B" > greeting && pwd >> greeting && id -u >> greeting
        USER 7:8
        {RUN} id -u > /tmp/mine
        LABEL a=b "c d"="$WHO"
        EXPOSE 80 53/udp
        VOLUME ["/data"]
        STOPSIGNAL SIGINT
        HEALTHCHECK --interval=1m30s --retries=2 CMD true
        SHELL ["/bin/sh", "-ec"]
        ENTRYPOINT cat
        CMD ["/srv/app/1/greeting"]
        """,
        "-t",
        "made:1",
        "--label",
        "given=1",
        "--build-arg",
        "WHO=you",
        "--iidfile",
        f"{yard.host.base}/id",
    )
    assert done.stdout.strip() == Path(f"{yard.host.base}/id").read_text()
    assert yard.inside("made:1", "") == ""  # its own entrypoint is cat
    said = yard.host.run(
        "run", "--rm", "--network", "none", "--entrypoint", "sh", "made:1", "-c",
        "cat greeting; stat -c '%a %u' hello /tmp/mine; id -u; pwd; echo $PATH",
    ).stdout  # fmt: skip
    assert said == "you 1 two words\n/srv/app/1\n0\n640 0\n644 7\n7\n/srv/app/1\n/opt:" + said.rpartition("/opt:")[2]
    config = yard.config("made:1")
    assert {"A=1", "B=two words"} <= set(config["Env"])
    assert {"a": "b", "c d": "you", "given": "1"}.items() <= config["Labels"].items()
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert config["Volumes"] == {"/data": {}}
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("7:8", "/srv/app/1", "SIGINT")
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 90 * 10**9, "Retries": 2}
    assert config["Entrypoint"] == ["/bin/sh", "-ec", "cat"]
    assert config["Cmd"] == ["/srv/app/1/greeting"]
    store = ImageStore(yard.host.paths)
    image = store.resolve("made:1")
    layers = [step for step in image.history if not step.get("empty_layer")]
    assert len(layers) == len(image.layers)
    assert any(step["created_by"].startswith("RUN |1 WHO=you /bin/sh -c echo") for step in layers)


def test_what_did_not_change_is_not_done_again(yard: Yard) -> None:
    recipe = f"FROM base\nARG X=1\nLABEL l=%s\nWORKDIR /w\nCOPY one /\n{RUN} echo $X > /n\nCOPY two /\n"
    recipe += f"{RUN} true $X\n"
    yard.write(one="1", two="2")
    first = yard.build(recipe % "a", "-t", "cached")
    again = yard.build(recipe % "a", "-t", "cached")
    assert again.stdout == first.stdout
    assert again.stderr.count("CACHED") == 5
    # what only the configuration says does not matter to files
    assert yard.build(recipe % "b").stderr.count("CACHED") == 5
    os.utime(yard.context / "one", (1, 1))
    assert yard.build(recipe % "a").stderr.count("CACHED") == 5
    yard.write(two="3")
    assert yard.build(recipe % "a").stderr.count("CACHED") == 3
    os.chmod(yard.context / "one", 0o600)
    assert yard.build(recipe % "a").stderr.count("CACHED") == 1
    assert yard.build(recipe % "a", "--build-arg", "X=2").stderr.count("CACHED") == 2  # RUN sees the ARG
    fresh = yard.build(recipe % "a", "--no-cache")
    assert "CACHED" not in fresh.stderr
    # the cache survives its images, and damage to it
    yard.host.run("rmi", "-f", "cached")
    for record in Path(yard.host.paths.build_cache).iterdir():
        record.write_text("{")
    assert "CACHED" not in yard.build(recipe % "a").stderr


def test_some_arguments_are_there_without_being_given(yard: Yard) -> None:
    """The platform's for who asks for them; proxies for RUN, and for nobody afterwards."""
    recipe = "FROM base\nARG TARGETOS TARGETARCH\nARG TARGETPLATFORM\nENV FOR=$TARGETOS/$TARGETARCH=$TARGETPLATFORM\n"
    recipe += f'{RUN} echo "$HTTPS_PROXY $no_proxy [$BUILDPLATFORM]" > /seen\n'
    proxies = ("--build-arg", "HTTPS_PROXY=http://proxy.example:1", "--build-arg", "no_proxy=none.example")
    yard.build(recipe, *proxies, "-t", "given")
    assert yard.inside("given", "cat /seen; echo $HTTPS_PROXY$no_proxy") == (
        "http://proxy.example:1 none.example []\n\n"
    )
    config = yard.config("given")
    [platform] = [value for value in config["Env"] if value.startswith("FOR=")]
    assert re.fullmatch(r"FOR=(linux/\w+)=\1", platform)
    image = ImageStore(yard.host.paths).resolve("given")
    assert "proxy.example" not in json.dumps([config, image.history])
    other = yard.build(recipe, "--build-arg", "HTTPS_PROXY=http://other.example:2")
    assert other.stderr.count("CACHED") == 1


def test_a_linked_copy_does_not_care_what_it_lies_on(yard: Yard) -> None:
    recipe = "FROM base\nCOPY two /\nCOPY --link one /l/\nCOPY one /o/\n"
    yard.write(one="1", two="2")
    yard.build(recipe, "-t", "linked")
    assert set(yard.members("linked", -2)) == {"l", "l/one"}
    yard.write(two="3")
    again = yard.build(recipe, "-t", "linked")
    assert [line.rpartition(" ")[2] for line in again.stderr.splitlines() if "CACHED" in line] == ["CACHED"]
    assert yard.inside("linked", "cat /two /l/one /o/one") == "311"


def test_independent_stages_run_at_once_and_unneeded_ones_never(yard: Yard) -> None:
    meet = "for i in $(seq 600); do [ -e /c/%s ] && exit 0; sleep 0.1; done; exit 1"
    yard.build(
        f"""
        FROM base AS one
        {RUN} --mount=type=cache,target=/c,id=meet touch /c/one /one; {meet % "two"}
        FROM base AS two
        {RUN} --mount=type=cache,target=/c,id=meet touch /c/two /two; {meet % "one"}
        FROM base AS never
        {RUN} false
        FROM scratch AS both
        COPY --from=one /one /
        COPY --from=1 /two /
        FROM never
        """,
        "--target",
        "both",
        "-t",
        "both",
    )
    names = {name for layer in range(2) for name in yard.members("both", layer)}
    assert names == {"one", "two"}


def test_mounts_are_there_for_one_run_and_in_no_layer(yard: Yard) -> None:
    yard.write(secret="geheim", source="from the context")
    os.symlink("/etc/shadow", yard.context / "link")
    recipe = f"""
        FROM base AS other
        {RUN} mkdir /o && echo from-a-stage > /o/f
        FROM base
        {RUN} --mount=type=secret,id=s,target=/run/s,mode=0440,uid=5 --mount=type=secret,id=e,env=TOKEN \\
          --mount=type=bind,target=/ctx --mount=type=bind,from=other,source=/o,target=/new/deep,rw \\
          --mount=type=tmpfs,target=/t,size=1m --mount=type=cache,target=/c,id=k,mode=0711,uid=3 \\
          set -e; exec > /out; cat /run/s; stat -c ' %a %u' /run/s; echo $TOKEN; cat /ctx/source; echo; \\
          ! echo x 2>/dev/null > /ctx/source; cat /new/deep/f; echo changed > /new/deep/f; \\
          ! dd if=/dev/zero of=/t/big bs=1k count=2000 2>/dev/null; \\
          stat -c '%a %u' /c; cat /c/* 2>/dev/null || true; echo kept > /c/f
        {RUN} cat /out; ls /run /new /ctx /t /c 2>/dev/null; true
        """
    flags = ("--secret", f"id=s,src={yard.context}/secret", "--secret", "id=e,env=HOME", "-t", "mounted")
    yard.build(recipe, *flags)
    assert yard.inside("mounted", "cat /out").splitlines()[:2] == ["geheim 440 5", os.environ["HOME"]]
    assert yard.inside("mounted", "cat /out").splitlines()[2:] == ["from the context", "from-a-stage", "711 3"]
    changed = set(yard.members("mounted", -2))
    assert changed == {"out"}, "mount points, or what was mounted, came into the layer"
    yard.build(recipe + "\n", "--no-cache", *flags)
    assert yard.inside("mounted", "cat /out").splitlines()[-1] == "kept"
    assert (yard.context / "source").read_text() == "from the context"
    for blob in Path(yard.host.paths.images, "blobs", "sha256").iterdir():
        assert b"geheim" not in blob.read_bytes()


def test_an_agent_is_a_socket_for_one_run(yard: Yard) -> None:
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(f"{yard.host.base}/agent")
        agent.listen()
        look = "test -S $SSH_AUTH_SOCK && stat -c '%a %u' $SSH_AUTH_SOCK > /seen"
        recipe = f"FROM base\n{RUN} --mount=type=ssh,mode=0620,uid=5 {look}\n"
        yard.build(recipe, "--ssh", f"default={yard.host.base}/agent", "-t", "agent")
    assert yard.inside("agent", "cat /seen; ls /run") == "620 5\n"
    assert set(yard.members("agent")) == {"seen"}


def test_run_is_isolated_like_a_container(yard: Yard) -> None:
    script = (
        "grep -E '^(Cap|Seccomp|NoNewPrivs)' /proc/self/status; ls /dev; ls -l /proc/kcore /proc/keys; "
        "find /proc/self/ns | wc -l; cat /proc/1/comm; mount -t tmpfs x /mnt; echo x > /proc/sysrq-trigger"
    )
    done = yard.build(
        f"FROM base\n{RUN} ({script}) > /seen 2>/dev/null; ip -o link | wc -l >> /seen\n", "-t", "isolated"
    )
    assert done.returncode == 0
    built = yard.inside("isolated", "cat /seen")
    assert built == yard.inside("base", f"({script}) 2>/dev/null; ip -o link | wc -l")
    assert "Seccomp:\t2" in built


def test_the_same_epoch_gives_the_same_image(yard: Yard) -> None:
    yard.write(file="x")
    recipe = (
        f"FROM base\nWORKDIR /new/dir\nCOPY file .\n{RUN} mkdir -p /a/b && echo 1 > /a/b/c && rm /etc/group\nCMD a\n"
    )
    flags = ("--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1700000000")
    first = yard.build(recipe, *flags, "-t", "same").stdout
    os.utime(yard.context / "file")
    assert yard.build(recipe, *flags).stdout == first
    image = ImageStore(yard.host.paths).resolve("same")
    assert image.created == 1700000000
    assert all(member.mtime <= 1700000000 for layer in (-1, -2, -3) for member in yard.members("same", layer).values())


def test_heredocs_triggers_and_shells(yard: Yard) -> None:
    yard.build(
        """
FROM base
ENV V=x
COPY <<one <<"two" /docs/
$V
one
$V
two
RUN --network=none <<EOF
set -e
false || echo script > /script
EOF
RUN --network=none <<EOF
#!/bin/sh -u
echo "by $0" > /direct
EOF
RUN --network=none cat > /fed <<A; cat >> /fed <<'B'
$V
A
$V
B
RUN --network=none ["/bin/sh", "-c", "echo [$0] > /exec", "zero"]
SHELL ["/bin/sh", "-c", "echo \\"$0\\" > /shell"]
RUN --network=none the words
ONBUILD RUN --network=none echo by the trigger of $V > /triggered
""",
        "-t",
        "trigger",
    )
    said = yard.inside("trigger", "cd /; cat docs/one docs/two script direct fed exec shell; ls triggered 2>&1 || true")
    assert said.splitlines()[:-1] == ["x", "$V", "script", "by /dev/pipes/EOF", "x", "$V", "[zero]", "the words"]
    yard.build('FROM trigger\nSHELL ["/bin/sh", "-c"]\n', "-t", "child", check=False)
    assert yard.config("trigger")["OnBuild"]
    assert "OnBuild" not in yard.config("child")


def test_a_failure_points_at_its_line_and_leaves_nothing(yard: Yard) -> None:
    done = yard.build(
        f"FROM base\n\n{RUN} true\n{RUN} seq 100; \\\n  echo last words >&2; \\\n  exit 7\n",
        "-t",
        "broken",
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("pyctr: Dockerfile:4: RUN --network=none seq 100; echo last")
    assert done.stderr.splitlines()[-1].endswith("exit code 7")
    shown = done.stderr.partition("------\n")[2]
    assert "100\nlast words\n" in shown
    assert ">>> RUN --network=none seq" in shown
    assert yard.host.run("inspect", "broken", check=False).returncode != 0


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("", "Dockerfile:1: no FROM"),
        ("FROM base\nFORM x\n", "Dockerfile:2: unknown instruction 'FORM'"),
        ("FROM base\nCOPY absent /\n", "Dockerfile:2: COPY absent /: 'absent' is not in the build context"),
        ("FROM base\nCOPY ../../../etc/shadow /\n", "is not in the build context"),
        ("FROM base\nCOPY --from=nowhere/image:1 /x /\n", "Dockerfile:2: COPY --from=nowhere/image:1 /x /: "),
        (
            "FROM base\nRUN --mount=type=bond,target=/x y\n",
            "Dockerfile:2: RUN --mount=type=bond,target=/x y: --mount: no type",
        ),
        ("FROM base\nRUN --mount=type=secret,id=x,required=true y\n", "no secret 'x'"),
        ("FROM base\nRUN --mount=type=cache,target=/c,from=base,source=/../../absent y\n", "Dockerfile:2: "),
        ("FROM base\nRUN --security=insecure x\n", "no more rights than a container"),
        ('FROM base\nRUN ["/absent"]\n', "Dockerfile:2: "),
        ("FROM base\nRUN <<E\n", "the heredoc 'E' has no end"),
        ("FROM base\nUSER ${x\n", "Dockerfile:2: USER ${x: "),
        ("FROM base\nEXPOSE 99999\n", "'99999' is no port"),
        ("FROM base\nSTOPSIGNAL SIGNONE\n", "unknown signal"),
        ("FROM base\nHEALTHCHECK --interval=1y CMD x\n", "'1y' is no time"),
        ("FROM base\nENV a\n", "Dockerfile:2: ENV a: "),
        ("FROM base\nADD --checksum=md5:1 https://localhost:1/x /\n", "Dockerfile:2: ADD"),
        ("FROM base:none\n", "Dockerfile:1: FROM base:none: "),
        ("FROM base\nSHELL /bin/sh\n", "SHELL takes the JSON form"),
        ("FROM base\nCOPY --chown=nobody-here:x Dockerfile /\n", "Dockerfile:2: COPY"),
        ("FROM base\nWORKDIR /etc/passwd/x\n", "Dockerfile:2: WORKDIR /etc/passwd/x: "),
        ("FROM scratch\nRUN true\n", "Dockerfile:2: RUN true: "),
    ],
)
def test_bad_input_ends_in_one_clear_line(yard: Yard, recipe: str, message: str) -> None:
    done = yard.build(recipe, "-q", "-t", "bad", check=False)
    assert done.returncode not in (0, 2)
    said = [line for line in done.stderr.splitlines() if line.startswith("pyctr: ")]
    assert len(said) == 1, done.stderr
    assert message in said[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def start(yard: Yard, recipe: str, *flags: str) -> subprocess.Popen[str]:
    """A build that has come to the line `ready` of its output."""
    (yard.context / "Dockerfile").write_text(recipe)
    build = subprocess.Popen(
        yard.host.command("build", *flags, str(yard.context)),
        env=yard.host.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert build.stderr is not None
    for line in build.stderr:
        if line.endswith(" ready\n"):
            return build
    raise AssertionError("the build ended")


ENDLESS = f"FROM base\n{RUN} --mount=type=secret,id=s echo ready; sleep 1000\n"


def test_a_stopped_build_leaves_nothing(yard: Yard) -> None:
    yard.write(secret="geheim")
    build = start(yard, ENDLESS, "--secret", f"id=s,src={yard.context}/secret")
    build.send_signal(signal.SIGINT)
    build.communicate(timeout=60)
    assert build.returncode == 130
    assert not yard.left()


def test_the_container_of_a_killed_build_ends_with_it(yard: Yard) -> None:
    yard.write(secret="geheim")
    build = start(yard, ENDLESS, "--secret", f"id=s,src={yard.context}/secret")
    names = yard.host.run("ps", "--format", "{{.Names}}").stdout
    assert re.fullmatch(r"build-[0-9a-f]{8}\n", names)
    build.kill()
    build.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while yard.host.run("ps", "-a", "--format", "{{.Names}}").stdout:
        assert time.monotonic() < deadline
    for place in (yard.host.paths.run, yard.host.paths.build):
        for directory, _, files in os.walk(place):
            for name in files:
                if Path(directory, name).is_file():
                    assert b"geheim" not in Path(directory, name).read_bytes()
    # its directory goes with the next build
    yard.build("FROM base\n")


def test_a_context_comes_from_stdin_as_an_archive_or_as_a_dockerfile_alone(yard: Yard) -> None:
    yard.write(Dockerfile="FROM base\nCOPY kept left* /\n", kept="k", left_out="l")
    (yard.context / ".dockerignore").write_text("left_out\n")
    archive = f"{yard.host.base}/context.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(yard.context, arcname=".")
    words = yard.host.command("build", "-q", "-t", "piped", "-")
    with open(archive, "rb") as stdin:
        done = subprocess.run(words, env=yard.host.env, stdin=stdin, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert set(yard.members("piped")) == {"kept"}
    (yard.context / ".dockerignore").unlink()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(yard.context, arcname=".")
    with open(archive, "rb") as stdin:
        subprocess.run(words, env=yard.host.env, stdin=stdin, check=True, capture_output=True, timeout=120)
    assert set(yard.members("piped")) == {"kept", "left_out"}
    yard.host.run("build", "-q", "-t", "alone", "-", input="FROM base\nLABEL alone=1\n")
    assert yard.config("alone")["Labels"]["alone"] == "1"
    yard.host.run("build", "-q", "-t", "mixed", "-f", "-", str(yard.context), input="FROM scratch\nCOPY kept /\n")
    assert set(yard.members("mixed")) == {"kept"}
    for context in ("https://example.org/x.git", "git@example.org:x"):
        done = yard.host.run("build", context, check=False)
        assert done.returncode == 125 and "remote context" in done.stderr


def test_a_cache_mount_cannot_lead_out_of_itself(yard: Yard) -> None:
    plant = f"FROM base\n{RUN} --mount=type=cache,target=/c,id=trap ln -s / /c/out; ln -s /etc /c/etc; true\n"
    yard.build(plant)
    done = yard.build(
        f"FROM base\n{RUN} --mount=type=cache,target=/c,id=trap ls /c/etc/; ls /c/out/ > /seen\n", "-t", "trapped"
    )
    assert done.returncode == 0
    # a link in it means a place in the container, and its mount points are no way to the host's
    assert "pyctr" not in yard.inside("trapped", "cat /seen")
    evil = f"FROM base\n{RUN} ln -s {yard.host.base} /evil\n"
    yard.build(f"{evil}{RUN} --mount=type=tmpfs,target=/evil/x true\n")
    assert not Path(yard.host.base, "x").exists()


def test_the_cache_is_kept_by_what_collects_garbage(yard: Yard) -> None:
    recipe = f"FROM base\n{RUN} date +%s%N > /once\n"
    yard.build(recipe, "-t", "once")
    yard.host.run("rmi", "-f", "once")
    assert "CACHED" in yard.build(recipe, "-t", "once").stderr
    assert json.loads(yard.host.run("inspect", "once").stdout)
    assert yard.host.run("builder", "prune", "-f", "--filter", "until=1h").stdout == "Total reclaimed space: 0B\n"
    assert "CACHED" in yard.build(recipe, "-t", "once").stderr
    yard.host.run("rmi", "-f", "once")
    blobs = Path(yard.host.paths.images, "blobs", "sha256")
    before = len(list(blobs.iterdir()))
    told = yard.host.run("builder", "prune", input="n\n", check=False).stderr
    assert " 1 step" in told or " steps" in told
    amount = told.split("and frees ")[1].split(". ")[0]
    freed = yard.host.run("builder", "prune", "-f").stdout
    assert freed == f"Total reclaimed space: {amount}\n" and amount != "0B"
    assert len(list(blobs.iterdir())) < before
    assert not any(Path(yard.host.paths.build_cache).iterdir())
    assert "CACHED" not in yard.build(recipe, "-t", "once").stderr
