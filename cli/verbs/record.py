"""`pyctr record`."""

from __future__ import annotations

import os
import signal
import sys
import time

from pyctr.cli import output, values
from pyctr.core import fsutil, hostrecord
from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.paths import Paths

UNIT = "pyctr-record.service"
_DIRECTORY = "/etc/systemd/system"
_OURS = "# written by 'pyctr record --install'\n"


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--max-size", type=values.size, metavar="SIZE", help="of all records together, 256m; the oldest make room")
    add("--list", action="store_true", help="what is on record")
    add("--install", action="store_true", help="write a systemd unit that records from every boot on")
    add("--uninstall", action="store_true", help="remove that unit; what is recorded stays")
    add("--unit-dir", default=_DIRECTORY, metavar="DIRECTORY", help=f"where units are, {_DIRECTORY}")


def run(call: Call, args: Arguments) -> int:
    if sum((args.list, args.install, args.uninstall)) > 1:
        raise UsageError("--list, --install and --uninstall are one thing each", hint="choose one")
    room = args.max_size or hostrecord.ROOM
    if room < hostrecord.RING:
        raise UsageError("--max-size: there is no room for one record", hint=f"at least {hostrecord.RING} bytes")
    if args.list:
        return _list(call.paths)
    if args.install:
        return _install(call.paths, args.unit_dir, args.max_size)
    if args.uninstall:
        return _uninstall(args.unit_dir)
    return _record(call.paths, room)


def _record(paths: Paths, room: int) -> int:
    ends = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    recorder = hostrecord.HostRecorder(paths, room)
    try:
        recorder.run(lambda seconds: signal.sigtimedwait(ends, seconds) is not None)
    finally:
        recorder.close()
    return 0


def _list(paths: Paths) -> int:
    rows = []
    for group, status in sorted(hostrecord.recorded(paths)):
        last = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status.st_mtime))
        rows.append([group, last, output.decimal_size(status.st_blocks * 512)])
    output.table(("CGROUP", "LAST RECORD", "SIZE"), rows)
    return 0


def unit(paths: Paths, command: list[str], max_size: int | None) -> str:
    """The unit file. Names of roots go along, so that it works on those it was installed for."""
    words = [*command, "--root", paths.root, "--runroot", paths.run, "--cgroup-parent", paths.cgroup_parent, "record"]
    words += ["--max-size", str(max_size)] if max_size else []
    return f"""{_OURS}[Unit]
Description=Records what the cgroups of this machine use
Documentation=man:pyctr(1)
RequiresMountsFor={_quoted(paths.root)}

[Service]
ExecStart={" ".join(map(_quoted, words))}
Restart=on-failure
Nice=5
OOMScoreAdjust=200
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={_quoted(paths.root)} {_quoted(paths.run)}
CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_SYS_PTRACE
RestrictAddressFamilies=none

[Install]
WantedBy=multi-user.target
"""


def _quoted(word: str) -> str:
    """As systemd.syntax(7) and its specifiers want it."""
    word = word.replace("%", "%%").replace("$", "$$")
    if word and not set(word) & set(" \t\"'\\;"):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _command() -> list[str]:
    """What runs this program from anywhere."""
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "pyctr" and os.access(script, os.X_OK):
        return [script]
    return [sys.executable, "-m", "pyctr"]


def _install(paths: Paths, directory: str, max_size: int | None) -> int:
    for needed in (paths.root, paths.run):
        fsutil.make_private_directory(needed)
    path = f"{directory}/{UNIT}"
    _check(path)
    fsutil.write_atomic(path, unit(paths, _command(), max_size).encode(), mode=0o644)
    output.write(path)
    print("next: systemctl daemon-reload && systemctl enable --now pyctr-record", file=sys.stderr)
    return 0


def _uninstall(directory: str) -> int:
    path = f"{directory}/{UNIT}"
    _check(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        raise UsageError(f"there is no '{path}'", hint="--unit-dir says where else to look") from None
    output.write(path)
    print("next: systemctl disable --now pyctr-record; systemctl daemon-reload", file=sys.stderr)
    return 0


def _check(path: str) -> None:
    """Somebody else's unit of that name stays as it is."""
    try:
        with open(path) as file:
            if not file.read().startswith(_OURS):
                raise UsageError(f"'{path}' is not ours", hint="move it away, or choose another --unit-dir")
    except FileNotFoundError:
        pass
