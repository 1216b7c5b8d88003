"""One conversation with `criu swrk`: protocol buffers in packets (criu.org/RPC, images/rpc.proto).

    we    request (DUMP, PRE_DUMP or RESTORE, with options) ──> criu
    we <── NOTIFY "setup-namespaces", "post-restore", ... ───── criu      each answered before it goes on
    we <── response: success or not, and why ────────────────── criu

Of the encoding only what these messages need: varints, and strings, bytes and messages with their length in front.
"""

from __future__ import annotations

import os

from pyctr.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Notified = Callable[[str, int, list[int]], None]

DUMP, RESTORE, PRE_DUMP, NOTIFY = 1, 2, 4, 6
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5}

_OPTIONS = {
    "images_dir_fd": 1,
    "pid": 2,
    "leave_running": 3,
    "ext_unix_sk": 4,
    "tcp_established": 5,
    "evasive_devices": 6,
    "shell_job": 7,
    "file_locks": 8,
    "log_level": 9,
    "log_file": 10,
    "ps": 11,
    "notify_scripts": 12,
    "root": 13,
    "parent_img": 14,
    "track_mem": 15,
    "auto_dedup": 16,
    "work_dir_fd": 17,
    "link_remap": 18,
    "manage_cgroups": 24,
    "cg_root": 25,
    "rst_sibling": 26,
    "inherit_fd": 27,
    "ext_masters": 30,
    "manage_cgroups_mode": 34,
    "external": 37,
    "empty_ns": 38,
    "freeze_cgroup": 44,
    "lazy_pages": 48,
    "status_fd": 49,
    "orphan_pts_master": 50,
    "lsm_profile": 53,
}
"""Fields of criu_opts."""
_PAGE_SERVER = {"address": 1, "port": 2}
_CGROUP_ROOT = {"ctrl": 1, "path": 2}
_INHERIT = {"key": 1, "fd": 2}
_NESTED = {"ps": _PAGE_SERVER, "cg_root": _CGROUP_ROOT, "inherit_fd": _INHERIT}


def encode(fields: Iterable[tuple[int, Any]]) -> bytes:
    """A message of (field number, value): int or bool, str or bytes."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value & 0xFFFFFFFFFFFFFFFF)
        else:
            data = value.encode() if isinstance(value, str) else bytes(value)
            out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return bytes(out)


def options(values: dict[str, Any]) -> bytes:
    """criu_opts; a list stands for a repeated field, a dict for a message."""
    fields: list[tuple[int, Any]] = []
    for name, value in values.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                item = encode((_NESTED[name][key], word) for key, word in item.items())
            fields.append((_OPTIONS[name], item))
    return encode(fields)


def decode(data: bytes) -> dict[int, Any]:
    """Field number -> int or bytes, the last one of each. Raises ValueError for what is no message."""
    found: dict[int, Any] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == 0:
            found[key >> 3], at = _read_varint(data, at)
        elif kind == 2:
            length, at = _read_varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is longer than its message")
            found[key >> 3], at = data[at : at + length], at + length
        else:
            raise ValueError(f"wire type {kind} is not in these messages")
    return found


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number without an end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def find(program: str) -> str:
    """The path of criu. Raises Unsupported."""
    import shutil

    found = shutil.which(program)
    if not found:
        raise errors.Unsupported(
            f"checkpoint and restore need criu, which is not installed: '{program}'",
            hint="apt install criu, or --criu with its path",
        )
    return found


def talk(
    program: str,
    kind: int,
    values: dict[str, Any],
    *,
    inherited: list[tuple[str, int]],
    before: Callable[[int], None] | None = None,
    notified: Notified | None = None,
    log: str,
) -> int:
    """One request to its end; the pid of what was restored, else 0.

    `inherited` are (key of criu, descriptor of ours). `before` gets criu's pid while it waits for the request,
    `notified` (name, pid, descriptors) of every step. Raises RuntimeFailure with what criu says, `log` its own file.
    """
    import _socket
    import fcntl

    from pyctr.core.runtime import sync

    # SEQPACKET keeps a message together; criu finds our descriptors through the pid of who made the pair
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC, 0)
    held = [fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 100)]
    held += [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for _, fd in inherited]
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, 3 + place) for place, fd in enumerate(held)]
    try:
        pid = os.posix_spawn(program, [program, "swrk", "3"], os.environ, file_actions=actions)
    except OSError as error:
        raise errors.from_oserror(error, f"executing '{program}'") from error
    finally:
        theirs.close()
        for fd in (*held, null):
            os.close(fd)
    try:
        if before is not None:
            before(pid)
        if inherited:
            values["inherit_fd"] = [{"key": key, "fd": 4 + place} for place, (key, _) in enumerate(inherited)]
        packets = sync.Packets(ours)
        try:
            ours.sendall(encode([(1, kind), (2, options(values))]))
        except BrokenPipeError:
            raise _failure(kind, "criu ended without an answer", log) from None
        restored = 0
        while True:
            first, rest, descriptors = packets.receive()
            if not first:
                raise _failure(kind, "criu ended without an answer", log)
            answer = decode(first + rest)
            if answer.get(1) != NOTIFY:
                break
            note = decode(answer.get(5, b""))
            if notified is not None:
                notified(note.get(1, b"").decode(errors="replace"), int(note.get(2, 0)), descriptors)
            ours.sendall(encode([(1, NOTIFY), (3, True)]))
        if not answer.get(2):
            raise _failure(kind, answer.get(9, b"").decode(errors="replace"), log)
        if 4 in answer:
            restored = int(decode(answer[4]).get(1, 0))
        return restored
    finally:
        # the end of file is what it goes by
        ours.close()
        os.waitpid(pid, 0)


def _failure(kind: int, said: str, log: str) -> errors.RuntimeFailure:
    what = "restore" if kind == RESTORE else "dump"
    said = _complaint(log) or said.strip()
    return errors.RuntimeFailure(f"criu could not {what}: {said or 'no reason given'}", hint=f"its log is '{log}'")


def _complaint(log: str) -> str:
    """The last error in criu's log that says what is wrong: not the end of a program it called, not the summary."""
    found = ""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            for line in file:
                reason = line.partition("Error (")[2].partition("): ")[2].strip()
                if reason and "exited, status" not in reason and "FAILED" not in reason:
                    found = reason
    except OSError:
        pass  # it did not come as far as that
    return found
