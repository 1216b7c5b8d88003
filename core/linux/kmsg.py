"""What the kernel said of processes it killed, and of those that crashed: /dev/kmsg (admin-guide, dev-kmsg).

A record is `priority,sequence,microseconds,flags;text`, one for each read(2). The kernel prints no more than ten of
these in five seconds, and old ones are overwritten: no record is no proof that nothing was killed.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any


def records(path: str = "/dev/kmsg") -> Iterator[tuple[float, str]]:
    """(seconds after boot, text) of what the kernel itself has said, oldest first; none where we may not read it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        while True:
            try:
                record = os.read(fd, 8192)
            except OSError as error:
                if error.errno == errno.EPIPE:
                    continue  # overwritten while we read: the next one is there
                return  # EAGAIN: that was the last one
            if not record:
                return
            head, _, text = record.partition(b";")
            words = head.split(b",")
            # facility 0: anybody who is root may write here as another one
            if len(words) > 2 and words[0].isdigit() and int(words[0]) >> 3 == 0 and words[2].isdigit():
                yield int(words[2]) / 1e6, text.split(b"\n")[0].decode("utf-8", "replace")
    finally:
        os.close(fd)


def oom_kills(group: str, said: Iterable[tuple[float, str]]) -> list[dict[str, Any]]:
    """Processes of a cgroup ("/pyctr/<id>", or below it) that were killed for want of memory, oldest first.

    {at, pid, name, whole_host, rss, text}: seconds after boot, pid as the host sees it, bytes of memory that the
    process itself had, and the kernel's own line.
    """
    found: list[dict[str, Any]] = []
    chosen: dict[int, tuple[str, bool]] = {}
    for at, text in said:
        if text.startswith("oom-kill:"):
            fields = dict(part.partition("=")[::2] for part in text.split(","))
            where = fields.get("task_memcg", "")
            # whoever looks from a cgroup namespace knows the end of the path alone
            if (where.endswith(group) or f"{group}/" in where) and fields.get("pid", "").isdigit():
                chosen[int(fields["pid"])] = (fields.get("task", ""), "global_oom" in fields)
        elif (at_pid := text.find("Killed process ")) >= 0:
            pid = text[at_pid + 15 :].split(" ", 1)[0]
            if pid.isdigit() and int(pid) in chosen:
                name, whole_host = chosen.pop(int(pid))
                rss = sum(_kilobytes(text, key) for key in ("anon-rss:", "file-rss:", "shmem-rss:")) * 1024
                found.append(
                    {"at": at, "pid": int(pid), "name": name, "whole_host": whole_host, "rss": rss, "text": text}
                )
    return found


def faults(pid: int, said: Iterable[tuple[float, str]]) -> list[str]:
    """Lines about a crash of this process, such as `worker[4711]: segfault at 0 ip ...`."""
    return [text for _, text in said if f"[{pid}]: " in text or f"[{pid}] " in text]


def _kilobytes(text: str, key: str) -> int:
    start = text.find(key)
    digits = text[start + len(key) :].split("kB", 1)[0] if start >= 0 else ""
    return int(digits) if digits.isdigit() else 0
