"""Where the init of a created container waits for `start`: two FIFOs in the container's directory.

    start ── one byte ──> exec.fifo ──> init        released; exactly one `start`, it holds the container's lock
    start ── L ─────────> exec.fifo ──> init        somebody has its filter's listener
    start <── frames ──── said.fifo <── init        a warning, a failure; the end of file says execve or death

init opens both for reading and writing while it still sees the host, close-on-exec: nobody else can be waited for by
mistake, and afterwards it needs read(2) and write(2) alone, which any system call filter allows. A FIFO is no way to
anything: through its descriptor there is no directory, no socket, no process. Nothing has to run beside a created
container, and who waits is known from the kernel: without a reader the first FIFO cannot be opened for writing.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

GO = "exec.fifo"
SAID = "said.fifo"

WARNING, FAILED, LISTENER, REFUSED = b"!", b"F", b"L", b"X"
"""Kinds of frames, as in `sync`, which would bring sockets along: `start` gets by without."""


def make(directory: str) -> tuple[int, int]:
    """Both FIFOs, new, as init will hold them: (exec.fifo, said.fifo)."""
    held = []
    try:
        for name in (GO, SAID):
            os.mkfifo(f"{directory}/{name}", 0o600)
            held.append(os.open(f"{directory}/{name}", os.O_RDWR | os.O_CLOEXEC))
    except BaseException:
        for fd in held:
            os.close(fd)
        raise
    return held[0], held[1]


def waiting(directory: str) -> bool:
    """Whether an init waits there, or has not yet come to execve after its release."""
    try:
        os.close(_knock(directory))
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    return True


def _knock(directory: str) -> int:
    return os.open(f"{directory}/{GO}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def release(directory: str) -> Iterator[tuple[bytes, bytes]]:
    """Let init go on; yields the frames it says until it has executed its command or died.

    A frame LISTENER is answered when the next one is asked for.
    Raises FileNotFoundError or ENXIO when nobody waits there.
    """
    go = _knock(directory)
    said = os.open(f"{directory}/{SAID}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(go, b"G")
        os.set_blocking(said, True)
        buffer = b""
        while data := os.read(said, 65536):
            buffer += data
            while len(buffer) > 4 and len(buffer) >= (end := 5 + int.from_bytes(buffer[1:5], "big")):
                kind, payload, buffer = buffer[:1], buffer[5:end], buffer[end:]
                yield kind, payload
                if kind == LISTENER:
                    os.write(go, kind)
    finally:
        os.close(go)
        os.close(said)


def remove(directory: str) -> None:
    for name in (GO, SAID):
        try:
            os.unlink(f"{directory}/{name}")
        except FileNotFoundError:
            pass  # never made, or removed with the last start


def frame(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "big") + payload
