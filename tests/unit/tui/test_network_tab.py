"""Sockets of a container, as the network tab reads them from /proc."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pyctr.tui.details import network


def reads() -> int:
    """read(2) calls of this process so far, proc_pid_io(5)."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["syscr"])


def test_a_table_is_read_to_its_end_and_not_beyond() -> None:
    """The kernel walks every socket of the host at each read of such a table."""
    before = reads()
    network._sockets(f"/proc/{os.getpid()}/net/tcp6", "tcp6", set(), {})
    assert reads() - before < 100


def test_who_listens_and_who_talks_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            listening: set[str] = set()
            peers: dict[str, int] = {}
            network._sockets(f"/proc/{os.getpid()}/net/tcp", "tcp", listening, peers)
    assert f"tcp 127.0.0.1:{port}" in listening
    assert peers["127.0.0.1"] >= 2  # both ends are here
