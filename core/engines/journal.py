"""What containers said to the journal (docker's and podman's `journald` drivers): `journalctl` reads its files.

The journal's files are compressed in ways that only systemd's library reads, so this is the one log that another
program is started for; no daemon is asked by it either.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess

from pyctr.core import errors
from pyctr.core.engines.model import Log
from pyctr.core.logentries import Form, cut_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyctr.core.engines.trees import Tree
    from pyctr.core.logentries import Entry
    from pyctr.core.logtail import Tail

MACHINE = "/var/log/journal"
"""Where the machine's own journal is kept, or else below /run: journalctl knows."""
_FIELDS = "MESSAGE,PRIORITY,CONTAINER_PARTIAL_MESSAGE,CONTAINER_PARTIAL_LAST"
_ERROR = 3
"""The priority of stderr, syslog(3); stdout has 6."""


def log(tree: Tree, id: str) -> Log:
    """Its path is a directory of journals, and what entries of that container have in them."""
    if tree.guarded:
        # journalctl would follow links out of there
        return Log(why=f"they are in the journal inside: journalctl CONTAINER_ID_FULL={id}")
    return Log("journal", f"{tree.where(MACHINE)}/CONTAINER_ID_FULL={id}")


def parse(entry: bytes) -> Entry | None:
    """Of a line of `journalctl -o json`."""
    return _parsed(_document(entry))


def _document(entry: bytes) -> dict[str, Any]:
    try:
        found = json.loads(entry)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _parsed(found: dict[str, Any]) -> Entry | None:
    text = found.get("MESSAGE")
    try:
        # what is no text comes as numbers
        content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text or ())
        stamp = int(found["__REALTIME_TIMESTAMP"]) * 1000
        stream = "stderr" if int(found.get("PRIORITY", 6)) <= _ERROR else "stdout"
    except (KeyError, TypeError, ValueError):
        return None
    partial = found.get("CONTAINER_PARTIAL_MESSAGE") == "true" and found.get("CONTAINER_PARTIAL_LAST") != "true"
    return stamp, stream, not partial, content.removesuffix(b"\n")


class Journal:
    """The entries of a container in the journal. Raises Unsupported where there is no journalctl, and for what it
    complains of."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._begin: list[str] = []

    def seek(self, tail: Tail | None, since: int | None, until: int | None) -> dict[str, int]:
        # it counts microseconds, and both ends are inside
        self._begin = [f"--since=@{since // 1000 / 1e6:.6f}"] if since is not None else []
        end = [f"--until=@{-(-until // 1000) / 1e6:.6f}"] if until is not None else []
        if tail is None:
            return {}
        for entry in _entries(self._path, [*self._begin, *end, "--reverse"]):
            found = _document(entry)
            if tail.entry(_parsed(found)):
                self._begin = [f"--cursor={found['__CURSOR']}"]
                break
        return tail.surplus

    def written(self) -> Iterator[bytes]:
        return self._read([])

    def growing(self, stop: int, current: Callable[[], None] | None) -> Iterator[bytes]:
        if current is not None:
            current()
        yield from self._read(["--follow", "--no-tail"], stop)
        # what was under way to the journal when the container ended
        yield from self._read([])

    def _read(self, words: list[str], stop: int = -1) -> Iterator[bytes]:
        """From where the one before ended."""
        for entry in _entries(self._path, [*self._begin, *words], stop):
            if cursor := _document(entry).get("__CURSOR"):
                self._begin = [f"--after-cursor={cursor}"]
            yield entry

    def close(self) -> None:
        """Nothing is open but what reads."""


FORM = Form(parse, source=Journal)


def _entries(path: str, words: list[str], stop: int = -1) -> Iterator[bytes]:
    """Lines of journalctl; until `stop` becomes readable, if it is given."""
    program = shutil.which("journalctl")
    if program is None:
        raise errors.Unsupported("its log is in the journal, and there is no journalctl", hint="it comes with systemd")
    directory, _, match = path.rpartition("/")
    where = [] if directory == MACHINE else [f"--directory={directory}"]
    base = ["--all", "--quiet", "--no-pager", "--output=json", f"--output-fields={_FIELDS}"]
    process = subprocess.Popen(
        [program, *base, *where, *words, match],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if stop < 0 else subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
    )
    assert process.stdout is not None
    ended = False
    try:
        yield from _lines(process.stdout.fileno(), stop)
        ended = stop < 0
    finally:
        if not ended:
            process.send_signal(signal.SIGKILL)
        said = process.stderr.read(4096) if process.stderr is not None and ended else b""
        process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()
        process.wait()
    if ended and process.returncode and said:
        words_said = said.decode("utf-8", "replace").strip().splitlines()
        raise errors.Unsupported("the journal cannot be read", hint=words_said[-1] if words_said else "")


def _lines(fd: int, stop: int) -> Iterator[bytes]:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    if stop >= 0:
        poller.register(stop, select.POLLIN)
    carry = b""
    while True:
        ready = {one for one, _ in poller.poll()}
        if fd in ready:
            block = os.read(fd, 1 << 16)
            if not block:
                return
            buffer = carry + block
            entries, used = cut_lines(buffer)
            carry = buffer[used:]
            yield from entries
        elif stop in ready:
            return
