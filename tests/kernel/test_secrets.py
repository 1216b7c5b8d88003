"""Secrets: files in memory and variables inside, and nowhere else."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

from tests.support.host import Host

NONE = ("--network", "none")


def test_secrets_are_files_in_memory_or_variables(host: Host, tmp_path: Path) -> None:
    """From the store, a file or the environment; for the first process, an exec and a health check alike."""
    (tmp_path / "key").write_bytes(b"line\n\xff\0end")
    host.env["TOKEN"] = "of the caller"
    host.run("secret", "create", "-l", "a=b", "kept", "-", input="of the store\n")
    seen = "cd /run/secrets; stat -c '%n %a %u:%g' *; cat kept; od -An -c /etc/deep/key; stat -f -c %T . /etc/deep/key"
    host.run(
        *("run", "-d", "--name", "box", *NONE, "--read-only=false"),
        *("--secret", "kept", "--secret", "id=token,env=TOKEN,target=token,uid=7,gid=8,mode=0400"),
        *("--secret", f"id=key,src={tmp_path}/key,target=/etc/deep/key"),
        *("--secret", "kept,type=env,target=KEPT", "--secret", "id=token,env=TOKEN,type=env"),
        *("--health-cmd", "echo probe sees $KEPT", "--health-interval", "1h"),
        *("base", "sh", "-c", 'echo "$token/$KEPT/"; sleep 1000'),
    )
    shown = host.run("exec", "box", "sh", "-c", f"{seen}; echo $KEPT").stdout.split("\n")
    assert shown[:2] == ["kept 444 0:0", "token 400 7:8"]
    assert shown[2] == "of the store" and " ".join(shown[3].split()) == r"l i n e \n 377 \0 e n d"
    assert shown[4:7] == ["tmpfs", "tmpfs", "of the store"]
    refused = host.run("exec", "box", "sh", "-c", "echo x >/run/secrets/kept; rm /run/secrets/token", check=False)
    assert refused.stderr.count("Read-only file system") == 2
    assert host.run("logs", "box").stdout == "of the caller/of the store\n/\n"
    host.run("healthcheck", "run", "box")
    assert "probe sees of the store" in host.run("inspect", "box").stdout
    # what becomes of the store and the file afterwards changes nothing
    host.run("secret", "rm", "kept")
    (tmp_path / "key").unlink()
    host.run("restart", "-t", "0", "box")
    assert host.run("exec", "box", "cat", "/run/secrets/kept").stdout == "of the store\n"


def test_a_value_is_nowhere_but_inside(host: Host) -> None:
    """Not in an argument vector, a record, a journal, a log, a layer or an archive; after `rm` in no file at all."""
    value = "fnord-" + os.urandom(8).hex()
    host.run("secret", "create", "pass", input=value)
    flags = ("--secret", "pass", "--secret", "pass,target=/opt/pass", "--secret", "pass,type=env,target=PASS")
    assert value not in (plan := host.run("run", "--dry-run", *NONE, *flags, "base", "true").stdout)
    assert "/run/secrets/pass (tmpfs)" in plan
    host.run("run", "-d", "--name", "box", *NONE, *flags, "base", "sleep", "1000")
    for words in (("inspect", "box"), ("inspect", "--size", "box"), ("events", "--until", "0s"), ("secret", "ls")):
        assert value not in host.run(*words).stdout
    assert [secret["Name"] for secret in json.loads(host.run("inspect", "box").stdout)[0]["Config"]["Secrets"]]
    assert value not in host.run("secret", "inspect", "pass").stdout
    assert json.loads(host.run("secret", "inspect", "--showsecret", "pass").stdout)[0]["SecretData"] == value
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert value.encode() not in words.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    host.run("commit", "box", "made")
    archive = f"{host.base}/made.tar"
    host.run("save", "-o", archive, "made")
    host.run("export", "-o", f"{host.base}/box.tar", "box")
    for path in (archive, f"{host.base}/box.tar"):
        assert value.encode() not in Path(path).read_bytes()
    with tarfile.open(f"{host.base}/box.tar") as tar:
        assert not any(name.startswith("run/secrets/") for name in tar.getnames())
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                assert value.encode() not in _plain(content.read())
    assert {os.path.basename(path) for path in _with(host, value)} == {"0", "1", "2", "data"}
    for path in _with(host, value):
        assert os.stat(path).st_mode & 0o7777 == 0o600 and os.stat(os.path.dirname(path)).st_mode & 0o7777 == 0o700
    host.run("rm", "-f", "box")
    host.run("secret", "rm", "pass")
    assert _with(host, value) == []


def test_what_is_no_secret_is_refused_and_nothing_is_left(host: Host, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(512_001))
    (tmp_path / "nul").write_bytes(b"a\0b")
    run = ("run", "--rm", *NONE)
    for flag, said in (
        ("none", "no secret 'none'"),
        ("id=a,src=/none", "cannot read '/none'"),
        (f"id=a,src={tmp_path}", "is a directory"),
        (f"id=a,src={tmp_path}/large", "more than 512000 bytes"),
        ("id=a,env=NOT_SET_AT_ALL", "no variable 'NOT_SET_AT_ALL'"),
        (f"id=a,src={tmp_path}/nul,type=env", "cannot be a variable"),
        ("a,mode=8", "is not a mode"),
        ("a,type=env,uid=1", "a variable has a name"),
        ("a,b=c", "'b=c' has no place"),
        ("a,target=/proc/x", "/proc"),
    ):
        if flag.startswith("a,target"):
            host.run("secret", "create", "a", input="x")
        done = host.run(*run, "--secret", flag, "base", "true", check=False)
        assert done.returncode == 125 and said in done.stderr, (flag, done.stderr)
    assert host.run("ps", "-aq").stdout == ""
    again = host.run("secret", "create", "a", input="y", check=False)
    assert again.returncode and "secret 'a' exists" in again.stderr
    assert "1 to 512000" in host.run("secret", "create", "empty", input="", check=False).stderr
    host.run("secret", "create", "--replace", "a", input="y")
    assert host.run("secret", "ls", "--format", "{{.Name}} {{.Driver}}").stdout == "a file\n"
    assert host.run(*run, "--secret", "a", "base", "cat", "/run/secrets/a").stdout == "y"
    assert host.run("secret", "rm", "other", check=False).returncode == 1
    assert host.run("secret", "rm", "--ignore", "other").returncode == 0
    host.run("secret", "rm", "--all")
    assert os.listdir(f"{host.paths.root}/secrets") == ["lock"]


def _with(host: Host, value: str) -> list[str]:
    """Files of the engine that have the value, whatever they are."""
    found = []
    for top in (host.paths.root, host.paths.run):
        for directory, _, names in os.walk(top):
            for name in names:
                path = f"{directory}/{name}"
                if os.path.isfile(path) and not os.path.islink(path) and value.encode() in Path(path).read_bytes():
                    found.append(path)
    return found


def _plain(content: bytes) -> bytes:
    import gzip

    return gzip.GzipFile(fileobj=io.BytesIO(content)).read() if content[:2] == b"\x1f\x8b" else content
