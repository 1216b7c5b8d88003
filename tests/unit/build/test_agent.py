"""The socket of RUN --mount=type=ssh leads to the agent, for several at once, also after it has lost its name."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from pyctr.core.build.agent import Relay


def test_a_relay_passes_on_and_ends(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()

        def sign(peer: socket.socket) -> None:
            with peer:
                if word := peer.recv(100):  # none from who only looks whether somebody is there
                    peer.sendall(b"signed " + word)

        def answer() -> None:
            for _ in range(3):
                threading.Thread(target=sign, args=(agent.accept()[0],)).start()

        thread = threading.Thread(target=answer)
        thread.start()
        relay = Relay(str(tmp_path / "agent"), str(tmp_path), 0o620, os.getuid(), os.getgid())
        fd = relay.take()
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o620
        os.unlink(relay.path)
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            for one in (first, second):
                one.connect(f"/proc/self/fd/{fd}")
            for one, word in ((second, b"two"), (first, b"one")):
                one.sendall(word)
                assert one.recv(100) == b"signed " + word
        thread.join()
        relay.close()
        os.close(fd)


def test_an_agent_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Relay(str(tmp_path / "none"), str(tmp_path), 0o600, 0, 0)
