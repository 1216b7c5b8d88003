"""The system call filter, and its listener's way to whoever answers for it."""

from __future__ import annotations

import os

from pyctr.core import errors, jsontext
from pyctr.core.runtime import operation, sync
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.core.runtime.context import Context


class Seccomp(Operation):
    """Last, because it forbids what everything before it needs.

    Without no_new_privs it takes CAP_SYS_ADMIN and comes before the capabilities go.
    """

    step = operation.PRIVILEGES

    program: bytes
    flags: int = 0
    listener: dict[str, Any] | None = None
    """Who answers SCMP_ACT_NOTIFY: {path, metadata, state}."""

    def describe(self) -> str:
        text = f"seccomp filter, {len(self.program) // 8} instructions"
        return f"{text}, listener to {self.listener['path']}" if self.listener else text

    def brief(self) -> str:
        return f"seccomp {len(self.program) // 8} instructions"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import seccomp

        context.quiet = True
        try:
            fd = seccomp.load(self.program, self.flags | (seccomp.FLAG_NEW_LISTENER if self.listener else 0))
        except OSError as error:
            raise not_taken(error.errno or 0) from error
        if self.listener:
            # from here on write(2) and read(2) are all that is used: a filter that asks for one of them is refused
            context.ask(sync.LISTENER, jsontext.dumps({**self.listener, "fd": fd}).encode())


def not_taken(number: int) -> errors.PyctrError:
    """seccomp(2) failed with errno `number`."""
    return errors.Unsupported(
        f"linux.seccomp: the kernel refuses the filter: {os.strerror(number).lower()}",
        hint="flags of linux.seccomp may be newer than this kernel",
    )


def hand_over(pidfd: int, pid: int, payload: bytes) -> None:
    """On the host's side: the listener of a process to the socket that waits for it, with the state that the
    specification wants beside it (config-linux.md, "The Container Process State"). Raises PyctrError."""
    import _socket

    from pyctr.core.linux import namespaces

    wish = jsontext.loads(payload)
    state = {**wish["state"], "pid": pid}
    document = {"ociVersion": state["ociVersion"], "fds": ["seccompFd"], "pid": pid, "state": state}
    if wish["metadata"]:
        document["metadata"] = wish["metadata"]
    fd = -1
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        socket.connect(wish["path"])
        fd = namespaces.pidfd_getfd(pidfd, wish["fd"])
        sync.Channel(socket).send(jsontext.dumps(document).encode(), (fd,))
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise errors.RuntimeFailure(
            f"linux.seccomp.listenerPath: nobody takes the listener at '{wish['path']}': {reason}",
            hint="a program that answers has to listen there before the start",
        ) from error
    finally:
        socket.close()
        if fd >= 0:
            os.close(fd)
