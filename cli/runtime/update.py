"""`pyctr-runtime update`: other limits for a container."""

from __future__ import annotations

import os
import sys

from pyctr.core import errors
from pyctr.core.runtime import ocistate, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.runtime import Call

_NUMBERS = (
    ("blkio_weight", "blockIO", "weight"),
    ("cpu_period", "cpu", "period"),
    ("cpu_quota", "cpu", "quota"),
    ("cpu_burst", "cpu", "burst"),
    ("cpu_share", "cpu", "shares"),
    ("cpu_rt_period", "cpu", "realtimePeriod"),
    ("cpu_rt_runtime", "cpu", "realtimeRuntime"),
    ("cpu_idle", "cpu", "idle"),
    ("memory", "memory", "limit"),
    ("memory_reservation", "memory", "reservation"),
    ("memory_swap", "memory", "swap"),
    ("pids_limit", "pids", "limit"),
)
"""(flag, member of linux.resources, member of that)."""


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add(
        "-r",
        "--resources",
        default="",
        metavar="FILE",
        help="linux.resources as JSON, '-' for stdin; no flags",
    )
    add("--blkio-weight", type=int, metavar="N", help="10 to 1000")
    add("--cpu-period", type=int, metavar="US", help="length of a period that --cpu-quota is of")
    add("--cpu-quota", type=int, metavar="US", help="CPU time in each period; -1 for no limit")
    add("--cpu-burst", type=int, metavar="US", help="unused CPU time that may be saved up")
    add("--cpu-share", type=int, metavar="N", help="weight against others; 1024 is usual")
    add("--cpu-rt-period", type=int, metavar="US", help="length of a period of realtime scheduling (v1)")
    add("--cpu-rt-runtime", type=int, metavar="US", help="realtime within each such period (v1)")
    add("--cpu-idle", type=int, metavar="0|1", help="run only when nobody else wants to")
    add("--cpuset-cpus", default="", metavar="LIST", help="like 0-3,7")
    add("--cpuset-mems", default="", metavar="LIST", help="NUMA nodes its memory may be of")
    add("--memory", type=_size, metavar="BYTES", help="-1 for no limit")
    add("--memory-reservation", type=_size, metavar="BYTES", help="what it keeps when memory is short")
    add("--memory-swap", type=_size, metavar="BYTES", help="memory and swap together; -1 for no limit")
    add("--pids-limit", type=int, metavar="N", help="-1 for no limit")
    add("--l3-cache-schema", default="", metavar="SCHEMA", help="of Intel RDT")
    add("--mem-bw-schema", default="", metavar="SCHEMA", help="of Intel RDT")
    add("id", metavar="ID")


def _size(text: str) -> int:
    from pyctr.core import parse

    return -1 if text == "-1" else parse.size(text)


def run(call: Call, args: Arguments) -> int:
    container = call.container(args.id)
    if args.l3_cache_schema or args.mem_bw_schema:
        _schemata(container.id, [text for text in (args.l3_cache_schema, args.mem_bw_schema) if text])
    resources = _from_file(args.resources) if args.resources else _from_flags(args)
    lock = container.lock()
    try:
        record = container.record()
        if not container.alive(record):
            raise ocistate.not_running(args.id)
        plain.forget(container.directory)  # it may get further cgroups now
        container.manager(record).update(resources)
    finally:
        lock.release()
    return 0


def _from_flags(args: Arguments) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    for flag, member, name in _NUMBERS:
        value = getattr(args, flag)
        if value is not None and (value or flag == "cpu_idle"):
            resources.setdefault(member, {})[name] = value
    for name in ("cpus", "mems"):
        if text := getattr(args, f"cpuset_{name}"):
            resources.setdefault("cpu", {})[name] = text
    return resources


def _from_file(path: str) -> dict[str, Any]:
    """What is zero or empty there does not change; device rules belong to the create."""
    from pyctr.core.runtime import check

    if path == "-":
        document = check.parse(sys.stdin.buffer.read(), "standard input")
    else:
        document = check.load(path)
    check.resources(document)
    found: dict[str, Any] = {}
    for member, value in document.items():
        if member == "devices":
            continue
        if isinstance(value, dict):
            value = {name: entry for name, entry in value.items() if entry or (member, name) == ("cpu", "idle")}
        if value:
            found[member] = value
    return found


def _schemata(id: str, lines: list[str]) -> None:
    try:
        for line in lines:
            fd = os.open(f"/sys/fs/resctrl/{id}/schemata", os.O_WRONLY | os.O_CLOEXEC)
            with open(fd, "wb", buffering=0) as file:
                file.write(f"{line}\n".encode())
    except FileNotFoundError:
        raise errors.Unsupported(
            f"container '{id}' has no group of Intel RDT", hint="linux.intelRdt of its configuration asks for one"
        ) from None
