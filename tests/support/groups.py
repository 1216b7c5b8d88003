"""A cgroup subtree of its own for one test, and processes inside it."""

from __future__ import annotations

import os
import secrets
import select
import signal
import sys
import time
from typing import Any

from pyctr.core import cgroups
from pyctr.core.cgroups.group import Manager


class Subtree:
    """Groups below one throw-away parent; `close` kills and removes all and says what would not go.

    Without `unified` a hybrid host is used like a v1 host.
    """

    def __init__(self, *, unified: bool = True) -> None:
        self.layout = cgroups.detect()
        if not unified:
            kept = {name: path for name, path in self.layout.controllers.items() if path != self.layout.unified}
            self.layout = cgroups.Layout(mode="v1", controllers=kept)
        self.parent = f"/pt{secrets.token_hex(3)}"
        self.children: list[int] = []

    def manager(self, name: str = "a") -> Manager:
        return cgroups.manager(self.layout, f"{self.parent}/{name}")

    def create(self, resources: dict[str, Any] | None = None, name: str = "a") -> Manager:
        manager = self.manager(name)
        manager.create(resources)
        return manager

    def spawn(self, manager: Manager, code: str) -> Child:
        """A Python process that runs `code` inside the group; it has `say(text)` to talk to the test."""
        out, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                manager.join()
                os.dup2(write, 1)
                prelude = "import os, sys, time\ndef say(text): os.write(1, (str(text) + '\\n').encode())\n"
                os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", prelude + code])
            finally:
                os._exit(99)
        os.close(write)
        self.children.append(pid)
        return Child(pid, out)

    def directories(self) -> list[str]:
        """What exists of our subtree, in every hierarchy."""
        tops = cgroups.manager(self.layout, self.parent).paths().values()
        return [path for top in tops for path, _, _ in os.walk(top)]

    def close(self) -> None:
        top = cgroups.manager(self.layout, self.parent)
        if top.exists():
            top.kill()
        for pid in self.children:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass  # the test has waited for it
        top.remove()
        assert self.directories() == []


class Child:
    """A process of a test."""

    def __init__(self, pid: int, out: int) -> None:
        self.pid = pid
        self.out = out

    def hear(self, timeout: float = 60.0) -> str:
        """The next line it says; "" if it died without a word."""
        said = b""
        deadline = time.monotonic() + timeout
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([self.out], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"nothing heard for {timeout} s after {said!r}"
            byte = os.read(self.out, 1)
            if not byte:
                break
            said += byte
        return said.decode().strip()

    def wait(self) -> int:
        """Its wait status as a shell says it: code, or -signal."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.out)
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def kill(self) -> int:
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()
