"""`pyctr logs`."""

from __future__ import annotations

import sys

from pyctr.cli import values
from pyctr.cli.diagnostics import safe
from pyctr.core import containers, logreading
from pyctr.core.errors import NotFound
from pyctr.core.parse import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.containers import Container
    from pyctr.core.logentries import Line


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-f", "--follow", action="store_true", help="go on as the container writes, until it stops")
    add("-n", "--tail", type=_tail, metavar="N", help="only the last N lines, or all")
    add("--since", type=values.moment, metavar="TIME", help="from this time on: 10m (ago), a date, seconds since 1970")
    add("--until", type=values.moment, metavar="TIME", help="up to this time")
    add("-t", "--timestamps", action="store_true", help="begin each line with its time")
    add("container", metavar="CONTAINER")


def run(call: Call, args: Arguments) -> int:
    try:
        container = containers.find(call.engine, args.container)
    except NotFound as refused:
        from pyctr.cli import others
        from pyctr.core.engines import output

        one = others.instead(call.engine, args.container, refused)
        stop = _descriptor(one.supervisor or one.pid) if args.follow and one.pid else -1
        return _show(args, lambda **wishes: output.read(one, **wishes), stop)
    stop = _stop_descriptor(container) if args.follow else -1
    return _show(args, lambda **wishes: logreading.read(container.log_path, **wishes), stop)


def _show(args: Arguments, read: Callable[..., Iterator[Line]], stop: int) -> int:
    since, until = (None if moment is None else int(moment * 1e9) for moment in (args.since, args.until))
    following = args.follow and stop >= 0
    write = {"stdout": _writer(sys.stdout.buffer), "stderr": _writer(sys.stderr.buffer)}
    lines = read(tail=args.tail, since=since, until=until, follow=following, stop=stop, parts=following)
    begins = {"stdout": True, "stderr": True}
    sys.stdout.flush()
    for stamp, stream, line in lines:
        head = f"{_time(stamp)} ".encode() if args.timestamps and begins[stream] else b""
        begins[stream] = line.endswith(b"\n")
        write[stream](head + line)
        if following:
            sys.stdout.buffer.flush()
    sys.stdout.buffer.flush()
    return 0


def _stop_descriptor(container: Container) -> int:
    """A descriptor that becomes readable when nothing more will be written: the shim's pidfd; -1 if it is gone."""
    process = container.state.process
    if process is None or not container.shim_alive:
        return -1
    return _descriptor(process.shim_pid)


def _descriptor(pid: int) -> int:
    from pyctr.core.linux import namespaces

    try:
        return namespaces.pidfd_open(pid)
    except OSError:
        return -1


def _writer(file: object) -> Callable[[bytes], object]:
    """Bytes as they are into a pipe or file; on a terminal only colours pass, everything else is made visible."""
    plain: Callable[[bytes], object] = file.write  # type: ignore[attr-defined]
    if not file.isatty():  # type: ignore[attr-defined]
        return plain

    def neutral(line: bytes) -> object:
        return plain(neutralise(line.decode("utf-8", "surrogateescape")).encode("utf-8", "backslashreplace"))

    return neutral


def neutralise(line: str) -> str:
    """A line of log for a terminal: SGR colour sequences stay and are ended, the rest becomes visible text."""
    body = line.rstrip("\r\n")
    end = "\n" if line.endswith("\n") else ""
    if body.isprintable():
        return body + end
    pieces = body.split("\x1b[")
    out = ["\t".join(map(safe, pieces[0].split("\t")))]
    coloured = False
    for piece in pieces[1:]:
        digits = len(piece) - len(piece.lstrip("0123456789;"))
        rest = piece[digits:]
        if rest.startswith("m"):
            out.append(f"\x1b[{piece[:digits]}m")
            coloured, rest = True, rest[1:]
        else:
            out.append("\\x1b[")
            rest = piece
        out.append("\t".join(map(safe, rest.split("\t"))))
    return "".join(out) + ("\x1b[0m" if coloured else "") + end


def _time(stamp: int) -> str:
    import time

    second, fraction = divmod(stamp, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{fraction:09d}Z"


def _tail(text: str) -> int | None:
    if text == "all" or text.startswith("-"):
        return None
    if not text.isdecimal():
        raise BadValue(f"'{text}' is not a number of lines", "give a number or all")
    return int(text)
