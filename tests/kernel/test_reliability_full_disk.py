"""A full disk: what runs goes on, how it ended is known, and what takes the room can be removed."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyctr.core import logreading, logs, networks
from tests.support.host import Host


@pytest.fixture
def small(host: Host) -> Iterator[Host]:
    """A host whose root is a filesystem of 1 MiB."""
    links = {name: os.readlink(f"{host.paths.root}/{name}") for name in ("images", "layers")}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", host.paths.root], check=True)
    try:
        for name, target in links.items():
            os.symlink(target, f"{host.paths.root}/{name}")
        yield host
    finally:
        Path(f"{host.paths.root}/fill").unlink(missing_ok=True)
        host.run("rm", "-f", *host.run("ps", "-aq").stdout.split(), check=False)
        networks.remove_all(host.paths)
        subprocess.run(["umount", host.paths.root], check=True)


def fill(directory: str) -> None:
    with open(f"{directory}/fill", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_an_exit_code_is_known_although_the_disk_is_full(small: Host) -> None:
    script = "while [ ! -e /dev/shm/go ]; do sleep 0.1; done; seq 9000; exit 9"
    small.run("run", "-d", "--name", "full", "localhost/base", "sh", "-c", script)
    fill(small.paths.root)
    waiting = subprocess.Popen(small.command("wait", "full"), env=small.env, stdout=subprocess.PIPE, text=True)
    small.run("exec", "full", "touch", "/dev/shm/go")
    assert waiting.communicate(timeout=30)[0] == "9\n"
    assert small.run("ps", "-a", "--format", "{{.Status}}").stdout.startswith("Exited (9)")


def test_stop_and_rm_work_on_a_full_disk(small: Host) -> None:
    for name in ("one", "two"):
        small.run("run", "-d", "--name", name, "localhost/base", "sleep", "1000")
    fill(small.paths.root)
    assert small.run("run", "-d", "localhost/base", "sleep", "1000", check=False).returncode == 125
    small.run("stop", "-t", "0", "one")
    small.run("rm", "-f", "one", "two")
    assert small.run("ps", "-aq").stdout == ""
    assert not small.processes()


def test_a_log_on_a_full_disk_keeps_whole_entries_and_goes_on_later(small: Host) -> None:
    path = f"{small.paths.root}/ctr.log"
    writer = logs.LogWriter(path, 1 << 30, 2)
    writer.write("stdout", b"first\n")
    fill(small.paths.root)
    with pytest.raises(OSError):
        writer.write("stdout", b"x" * 20000 + b"\n")
    os.unlink(f"{small.paths.root}/fill")
    writer.write("stdout", b"later\n")
    writer.close()
    assert [line for _, _, line in logreading.read(path)] == [b"first\n", b"later\n"]


def test_a_log_that_cannot_rotate_never_writes_into_another_file(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    directory.mkdir()
    writer = logs.LogWriter(str(directory / "ctr.log"), 50, 2)
    os.rename(directory, tmp_path / "away")
    writer.write("stdout", b"y" * 60 + b"\n")
    # takes the lowest free descriptor, which was the log's
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    with pytest.raises(FileNotFoundError):
        writer.write("stdout", b"lost\n")
    assert os.fstat(other).st_size == 0
    os.close(other)
    directory.mkdir()
    writer.write("stdout", b"again\n")
    writer.close()
    assert [line for _, _, line in logreading.read(str(directory / "ctr.log"))] == [b"again\n"]


def test_a_start_whose_record_cannot_be_written_leaves_nothing_running(small: Host) -> None:
    small.run("create", "--name", "never", "localhost/base", "sleep", "1000")
    fill(small.paths.root)
    small.run("start", "never", check=False)
    assert bool(small.processes()) == (small.run("ps", "-q").stdout != "")


def test_output_of_a_background_process_does_not_hold_up_the_end_of_an_exec(host: Host) -> None:
    host.run("run", "-d", "--name", "busy", "localhost/base", "sleep", "1000")
    script = "for i in 1 2 3; do (while :; do cat /proc/self/maps /proc/self/mounts; done) & done; exit 3"
    with open(os.devnull, "w") as nowhere:
        done = subprocess.run(
            host.command("exec", "busy", "sh", "-c", script), env=host.env, stdout=nowhere, timeout=30
        )
    assert done.returncode == 3
    assert host.run("exec", "busy", "echo", "alive", timeout=30).stdout == "alive\n"


def test_an_image_that_does_not_fit_leaves_nothing(bare_host: Host, tmp_path: Path) -> None:
    """Built, imported or copied in: one clear line, and as much room as before."""
    root = bare_host.paths.root
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", root], check=True)
    try:
        bare_host.run("create", "--name", "box", "--network", "none", "localhost/base", "true")
        (tmp_path / "big").write_bytes(os.urandom(30 << 20))
        (tmp_path / "Dockerfile").write_text("FROM localhost/base\nCOPY big /\n")
        subprocess.run(["tar", "-cf", f"{bare_host.base}/big.tar", "-C", tmp_path, "."], check=True)
        before = os.statvfs(root).f_bfree
        for words in (("build", "-q", str(tmp_path)), ("import", f"{bare_host.base}/big.tar", "new")):
            done = bare_host.run(*words, check=False)
            assert done.returncode and done.stderr.count("no space left on device") == 1, done.stderr
            assert [line for line in done.stderr.splitlines() if line.startswith("pyctr: ")][1:] == []
            # a page or two for directories and the journal
            assert os.statvfs(root).f_bfree > before - 16
        df = bare_host.run("system", "df").stdout
        assert "Leftovers       0" in df and len(bare_host.run("images", "-q").stdout.split()) == 1
        assert bare_host.run("diff", "box").stdout == ""
        fill(root)
        done = bare_host.run("secret", "create", "new", input="value", check=False)
        assert "keeping secret 'new': no space left" in done.stderr and bare_host.run("secret", "ls", "-q").stdout == ""
        os.unlink(f"{root}/fill")
        bare_host.run("rm", "box")
    finally:
        subprocess.run(["umount", root], check=True)


def test_a_copy_that_does_not_fit_changes_nothing(host: Host, tmp_path: Path) -> None:
    """From a path and from an archive; what was there before is there afterwards."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / "old").write_text("as it was")
        host.run("create", "--name", "box", "-v", f"{tmp_path}:/v", "--network", "none", "base", "true")
        Path(f"{host.base}/old").write_bytes(bytes(3 << 20))
        subprocess.run(["tar", "-C", host.base, "-cf", f"{host.base}/old.tar", "old"], check=True)
        with open(f"{host.base}/old.tar", "rb") as packed:
            for words, stdin in (
                ((f"{host.base}/old", "box:/v/old"), None),
                ((f"{host.base}/old", "box:/v/new"), None),
                (("-", "box:/v"), packed),
            ):
                done = subprocess.run(
                    host.command("cp", *words), env=host.env, stdin=stdin, capture_output=True, text=True, timeout=60
                )
                assert done.returncode and "no space left on device" in done.stderr, (words, done.stderr)
                assert os.listdir(tmp_path) == ["old"] and (tmp_path / "old").read_text() == "as it was"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_copy_that_is_killed_leaves_no_part_of_a_file(host: Host, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("as it was")
    host.run("create", "--name", "box", "-v", f"{tmp_path}:/v", "--network", "none", "base", "true")
    info = tarfile.TarInfo("old")
    info.size = 1 << 20
    copying = subprocess.Popen(host.command("cp", "-", "box:/v"), env=host.env, stdin=subprocess.PIPE)
    assert copying.stdin is not None
    # more than pipe and readers hold: when it is written some of it has arrived
    copying.stdin.write(info.tobuf() + bytes(info.size // 2))
    copying.stdin.flush()
    copying.kill()
    copying.wait(30)
    copying.stdin.close()
    assert os.listdir(tmp_path) == ["old"] and (tmp_path / "old").read_text() == "as it was"
