"""The two operations of a container that is created now and started later (OCI "created"), see `gate`."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import os

from pyctr.core.runtime import gate, operation, sync
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.runtime.context import Context

_FATAL = (1, 2, 3, 10, 12, 14, 15)
"""HUP INT QUIT USR1 USR2 ALRM TERM: what ends a process that does nothing about it."""


class MakeGate(Operation):
    """The FIFOs, on the host's side and before the clone."""

    step = operation.EXEC
    inside = False

    directory: str

    def describe(self) -> str:
        return f"FIFOs for start in {self.directory}"

    def execute(self, context: Context) -> None:
        context.gate = gate.make(self.directory)

    def undo(self, context: Context) -> None:
        gate.remove(self.directory)


class Ready(Operation):
    """Nothing is left that could fail but the hooks of a start, the filter and execve: wait for the word to go on.

    Whoever made this container ends now, so from here on no parent's death counts.
    """

    step = operation.EXEC

    def describe(self) -> str:
        return "wait for start"

    def prepare(self, context: Context) -> None:
        """What is needed in there is loaded out here."""
        from pyctr.core.linux import libc

        del libc

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import process

        assert context.packets is not None and context.gate is not None
        go, said = context.gate
        for number in _FATAL:
            # a PID 1 is spared what it has no handler for; execve takes the handlers away again
            _signal.signal(number, _end)
        process.set_name("pyctr-init")
        process.parent_death_signal(0)
        _give_back_memory()
        context.packets.send(sync.READY)
        context.packets.close()
        context.packets = Voice(said, go)
        os.read(go, 1)


class Voice(sync.Packets):
    """init's way to say something after its release, in the place of the packets of before."""

    def __init__(self, fd: int, answers: int) -> None:
        self.fd = fd
        self.answers = answers

    def send(self, kind: bytes, payload: bytes = b"", descriptors: tuple[int, ...] = ()) -> None:
        """Nobody measures a start that somebody else has made: traces go nowhere."""
        assert not descriptors
        if kind != sync.TRACE:
            os.write(self.fd, gate.frame(kind, payload))

    def ask(self, kind: bytes, payload: bytes) -> bool:
        os.write(self.fd, gate.frame(kind, payload))
        return os.read(self.answers, 1) == kind

    def receive(self, *, wait: bool = True) -> tuple[bytes, bytes, list[int]]:
        return b"", b"", []

    def close(self) -> None:
        os.close(self.fd)


def _end(number: int, frame: object) -> None:
    os._exit(128 + number)


def _give_back_memory() -> None:
    import gc

    from pyctr.core.linux.libc import libc

    gc.collect()
    try:
        libc.malloc_trim(0)
    except AttributeError:
        pass  # not glibc
