"""Nothing is lost or stuck between a client's pipes and a process inside, whoever is slower."""

from __future__ import annotations

import hashlib
import subprocess

import pytest

from tests.support.host import Host


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_twenty_megabytes_go_in_and_come_out_at_once(host: Host, verb: str) -> None:
    data = b"".join(hashlib.sha512(number.to_bytes(4, "big")).digest() * 64 for number in range(5000))
    if verb == "run":
        words = ["run", "-i", "--rm", "localhost/base", "cat"]
    else:
        host.run("run", "-d", "--name", "pipe", "localhost/base", "sleep", "1000")
        words = ["exec", "-i", "pipe", "cat"]
    done = subprocess.run(host.command(*words), env=host.env, input=data, stdout=subprocess.PIPE, timeout=60)
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_a_process_that_reads_no_input_ends_all_the_same(host: Host) -> None:
    words = ["run", "-i", "--rm", "localhost/base", "head", "-c", "3"]
    with open("/dev/zero", "rb") as zero:
        done = subprocess.run(host.command(*words), env=host.env, stdin=zero, stdout=subprocess.PIPE, timeout=60)
    assert done.stdout == bytes(3)


def test_a_negative_user_is_refused_in_words(host: Host) -> None:
    done = host.run("run", "--rm", "-u", "-1", "localhost/base", "true", check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (125, "pyctr: '-1' is no user or group")
    assert not host.files()
