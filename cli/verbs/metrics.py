"""`pyctr metrics`."""

from __future__ import annotations

from pyctr.cli import others, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.rounds import Rounds


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("--format", choices=("openmetrics", "prometheus"), default="openmetrics",
        help="openmetrics, or prometheus for its text format 0.0.4; a scraper says itself which it reads")  # fmt: skip
    add("--listen", metavar="PLACE", default="", help="serve http://PLACE/metrics: unix:PATH or 127.0.0.1:PORT")
    add("-A", "--all-engines", action="store_true", help="docker's, podman's, Kubernetes' ... too")
    add("--engine", metavar="NAME,...", help="those of these engines: pyctr, docker, podman, systemd, ... or all")
    add("--anywhere", action="store_true", help="an address that others reach, too")


def run(call: Call, args: Arguments) -> int:
    from pyctr.core import exposition
    from pyctr.core.rounds import Rounds

    rounds = Rounds(call.engine, engines=others.wanted(args))
    if args.listen:
        return _serve(rounds, args.listen, anywhere=args.anywhere)
    output.write(exposition.text(rounds.look(), openmetrics=args.format == "openmetrics").removesuffix("\n"))
    return 0


def _serve(rounds: Rounds, place: str, *, anywhere: bool) -> int:
    """Until SIGTERM or SIGINT."""
    import os
    import signal
    import sys

    from pyctr.core import exposition
    from pyctr.core.metricsserver import Server, listen

    def page(openmetrics: bool) -> tuple[str, str]:
        kind = exposition.OPENMETRICS if openmetrics else exposition.PROMETHEUS
        return kind, exposition.text(rounds.look(), openmetrics=openmetrics)

    server = listen(place, anywhere=anywhere)
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: None)
    name = server.getsockname()
    shown = place if isinstance(name, str) else f"{f'[{name[0]}]' if ':' in name[0] else name[0]}:{name[1]}"
    print(f"pyctr metrics: listening on {shown}", file=sys.stderr, flush=True)
    try:
        Server(server, page).serve(reading)
    finally:
        if isinstance(name, str):
            os.unlink(name)
    return 0
