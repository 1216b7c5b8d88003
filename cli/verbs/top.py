"""`pyctr top`."""

from __future__ import annotations

import os
import sys
import time

from pyctr.cli import output
from pyctr.cli.flags import REMAINDER
from pyctr.core import containers
from pyctr.core.errors import IllegalTransition, NotFound, UsageError
from pyctr.core.linux import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call

INTERSPERSED = False
_HEADINGS = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_TREE = ("PID", "INSIDE", "UID", "S", "THREADS", "CPU%", "MEM", "READ/s", "WRITE/s", "WAITS IN", "CMD")
_MEASURED = 0.5


def configure(parser: Declares) -> None:
    parser.add_argument(
        "--tree", action="store_true", help="children below parents: threads, waiting for what, storage"
    )
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("options", nargs=REMAINDER, metavar="PS-OPTIONS")


def run(call: Call, args: Arguments) -> int:
    pids = _pids(call, args.container)
    if args.tree or args.options == ["--tree"]:
        if args.tree and args.options:
            raise UsageError("--tree takes no options of ps(1)")
        return _tree(call, args.container, pids)
    if args.options:
        return _host_ps(args.options, pids)
    rows = []
    for pid in sorted(pids):
        try:
            rows.append(_row(pid, call.paths.proc))
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended while we looked
    output.table(_HEADINGS, rows)
    return 0


def _pids(call: Call, name: str) -> list[int]:
    try:
        container = containers.find(call.engine, name)
    except NotFound as refused:
        from pyctr.cli import others

        one = others.instead(call.engine, name, refused)
        if not one.pid:
            raise IllegalTransition(f"container '{one.name}' of {one.engine} is {one.status}") from None
        return call.engine.group(one.group).pids()
    if not container.pid:
        raise IllegalTransition(
            f"container '{container.name}' is {container.status}", hint=f"pyctr start {container.name}"
        )
    return call.engine.group(container.state.group).pids()


def _tree(call: Call, name: str, pids: list[int]) -> int:
    """Measured for half a second, so that the rates are of now."""
    from pyctr.core import processtree

    proc = call.paths.proc
    first = processtree.read(pids, proc, time.monotonic())
    time.sleep(_MEASURED)  # a rate takes two looks
    found = processtree.read(_pids(call, name), proc, time.monotonic(), first)
    rows = [
        [
            str(row.pid),
            str(row.inside),
            row.user,
            row.state,
            str(row.threads),
            "-" if row.cpu is None else f"{row.cpu:.1f}",
            output.binary_size(row.memory),
            _bytes(row.read_rate),
            _bytes(row.written_rate),
            row.waits or "-",
            processtree.shown(row),
        ]
        for row in found.rows
    ]
    output.table(_TREE, rows)
    if found.total > len(found.rows):
        sys.stderr.write(f"pyctr: {found.total - len(found.rows)} more processes were left out\n")
    return 0


def _bytes(rate: float | None) -> str:
    return "-" if rate is None else output.decimal_size(rate)


def _row(pid: int, proc: str) -> list[str]:
    found = procfs.stat(pid, proc)
    owner = os.stat(f"{proc}/{pid}").st_uid
    ticks = os.sysconf("SC_CLK_TCK")
    used = (found.utime + found.stime) / ticks
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - found.start_time / ticks
    with open(f"{proc}/{pid}/cmdline", "rb") as file:
        words = file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return [
        _user(owner),
        str(pid),
        str(found.ppid),
        str(min(99, int(100 * used / age)) if age > 0 else 0),
        time.strftime("%H:%M" if age < 86400 else "%b%d", time.localtime(time.time() - age)),
        _terminal(found.tty),
        f"{int(used // 3600):02d}:{int(used // 60 % 60):02d}:{int(used % 60):02d}",
        words or f"[{found.comm}]",
    ]


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _terminal(number: int) -> str:
    """tty_nr of proc_pid_stat(5): the major in bits 15 to 8, the minor in 31 to 20 and 7 to 0."""
    if not number:
        return "?"
    major, minor = (number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00)
    return f"pts/{minor}" if 136 <= major <= 143 else f"tty{minor}" if major == 4 else f"{major}:{minor}"


def _host_ps(options: list[str], pids: list[int]) -> int:
    """What the host's ps(1) says with these options, cut down to our processes, as Docker does it."""
    import subprocess

    try:
        done = subprocess.run(["ps", *options], capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise UsageError("there is no ps(1) on this host", hint="without options 'pyctr top' needs none") from None
    lines = done.stdout.splitlines()
    headings = lines[0].split() if lines else []
    if done.returncode or "PID" not in headings:
        reason = done.stderr.strip().partition("\n")[0] or "its output has no PID column"
        raise UsageError(f"ps {' '.join(options)}: {reason}", hint="such as 'pyctr top web -eo pid,comm'")
    column = headings.index("PID")
    rows = [line.split(None, len(headings) - 1) for line in lines[1:]]
    output.table(headings, [row for row in rows if len(row) > column and row[column] in map(str, pids)])
    return 0
