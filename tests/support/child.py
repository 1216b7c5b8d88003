"""A piece of a test in a process of its own, in new namespaces if wanted."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from pyctr.core.linux import const, mount, namespaces


def in_child(body: Callable[[], Any], flags: int = 0, cgroup_fd: int | None = None) -> Any:
    """Run `body` in a clone3 child and return what it returned (through JSON); fail with its traceback."""
    reader, writer = os.pipe()
    pid, pidfd = namespaces.clone3(flags, cgroup_fd)
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            answer = json.dumps({"value": body()}).encode()
            status = 0
        except BaseException:
            answer = json.dumps({"error": traceback.format_exc()}).encode()
        os.write(writer, answer)
        os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    os.close(pidfd)
    assert result is not None
    assert result.si_pid == pid
    document = json.loads(answer or b'{"error": "no answer"}')
    if "error" in document:
        pytest.fail(document["error"])
    return document["value"]


def new_mounts() -> None:
    mount.mount(None, "/", None, const.MS_REC | const.MS_PRIVATE)
