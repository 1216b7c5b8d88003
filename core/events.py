"""The journal: everything that happened, one JSON document per line, appended by clients and shims alike."""

from __future__ import annotations

import os
import time

from pyctr.core import jsontext
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from pyctr.core.paths import Paths

MAX_SIZE = 8 * 1024 * 1024


class Event(Record):
    """One thing that happened.

    `action` is Docker's word: create start die oom stop kill pause unpause destroy "health_status: healthy" ...
    """

    time_ns: int
    action: str
    id: str = ""
    name: str = ""
    type: str = "container"
    attributes: dict[str, str] = {}
    """Docker's names where it has one: image, exitCode, signal, oldName."""
    labels: dict[str, str] = {}
    """Of the container."""


class Events:
    """The journal of one pyctr."""

    def __init__(self, paths: Paths) -> None:
        self.path = paths.events

    def record(
        self,
        action: str,
        container_id: str,
        name: str,
        *,
        type: str = "container",
        labels: Mapping[str, str] | None = None,
        **attributes: object,
    ) -> None:
        """Append one event. A journal that cannot be written never stops the verb that wanted to."""
        event: dict[str, Any] = {
            "time_ns": time.time_ns(),
            "action": action,
            "id": container_id,
            "name": name,
            "type": type,
        }
        event["attributes"] = {key: str(value) for key, value in attributes.items()}
        if labels:
            event["labels"] = dict(labels)
        line = jsontext.dumps(event).encode() + b"\n"
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            # one write(2) to an O_APPEND file: lines of concurrent writers never mix
            os.write(fd, line)
            if os.fstat(fd).st_size > MAX_SIZE:
                os.rename(self.path, f"{self.path}.1")
        except OSError:
            pass  # disk full, or somebody else rotated first
        finally:
            os.close(fd)

    def read(
        self,
        since: int | None = None,
        until: int | None = None,
        filters: Mapping[str, list[str]] | None = None,
    ) -> Iterator[Event]:
        """Events between two instants (ns since the epoch), oldest first.

        `filters`: event (or action), type, container (name or id prefix), image (with or without tag, or an id), label
        (NAME or NAME=VALUE) or an attribute's name -> accepted values.
        """
        for name in (f"{self.path}.1", self.path):
            try:
                with open(name, "rb") as file:
                    for line in file:
                        if event := _parse(line, since, until, filters):
                            yield event
            except FileNotFoundError:
                continue

    def appended(self, mark: tuple[int, int] = (0, 0), tail: int = 1 << 18) -> tuple[list[Event], tuple[int, int]]:
        """What was written since `mark` (file, position), which the call before gave, and the next mark.

        Without one: the events within the last `tail` bytes. For who looks now and then and does not want to wait.
        """
        found: list[Event] = []
        for name in (f"{self.path}.1", self.path) if mark[0] else (self.path,):
            try:
                fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            with open(fd, "rb") as file:
                status = os.fstat(fd)
                if name != self.path and status.st_ino != mark[0]:
                    continue  # put aside before
                if not mark[0] and status.st_size > tail:
                    file.seek(status.st_size - tail)
                    file.readline()
                elif status.st_ino == mark[0]:
                    file.seek(mark[1])
                read = file.read()
                whole = read[: read.rfind(b"\n") + 1]
                found += [event for line in whole.splitlines() if (event := _parse(line, None, None, None))]
                mark = (status.st_ino, file.tell() - len(read) + len(whole))
        return found, mark

    def follow(
        self,
        since: int | None = None,
        filters: Mapping[str, list[str]] | None = None,
        *,
        stop: int = -1,
        tail: int = 0,
        current: Callable[[], None] | None = None,
    ) -> Iterator[Event]:
        """Events from `since` (default: now) on, until the descriptor `stop` becomes readable.

        Without `since`, those within the last `tail` bytes of the journal come first. `current` is called when those
        of before are all told.
        """
        from pyctr.core.logfiles import LogFile
        from pyctr.core.logfollow import follow

        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        os.close(os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        file = LogFile(self.path)
        file.position = max(0, file.size - tail) if since is None else 0
        for line in follow(self.path, file, stop, current):
            if event := _parse(line, since, None, filters):
                yield event


def _parse(line: bytes, since: int | None, until: int | None, filters: Mapping[str, list[str]] | None) -> Event | None:
    try:
        event = Event.from_dict(jsontext.loads(line))
    except ValueError:
        return None  # torn by a crash
    if (since is not None and event.time_ns < since) or (until is not None and event.time_ns > until):
        return None
    for key, values in (filters or {}).items():
        if key in ("event", "action"):
            # "health_status" stands for "health_status: healthy", too
            if event.action not in values and event.action.partition(":")[0] not in values:
                return None
        elif key == "type":
            if event.type not in values:
                return None
        elif key == "container":
            if not any(event.name == value or (value and event.id.startswith(value)) for value in values):
                return None
        elif key == "image":
            if not _images(event).intersection(values):
                return None
        elif key == "label":
            if not all(_labelled(event, *value.partition("=")) for value in values):
                return None
        elif not any(event.attributes.get(key) == value for value in values):
            return None
    return event


def _images(event: Event) -> set[str]:
    """What a filter may call the image of an event: of a container its own, else the event's."""
    text = event.name if event.type == "image" else event.attributes.get("image", "")
    found = {text, event.id} if event.type == "image" else {text}
    name, _, tag = text.rpartition(":")
    if name and "/" not in tag:
        found.add(name)
    return found - {""}


def _labelled(event: Event, name: str, equals: str, value: str) -> bool:
    return name in event.labels and (not equals or event.labels[name] == value)
