"""`pyctr-runtime`: the OCI runtime command line over the engine's own core, with runc's verbs and flags.

    pyctr-runtime [--root DIR] [--log FILE] [--log-format json|text] [...] VERB ...

Callers start it three times per container, so a verb is found by a table and brings its own imports. A verb is a
module of this package with `configure` (or `VERB_configure`) and `run` (or `VERB_run`), like those of `pyctr`.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyctr.core.paths import Paths
    from pyctr.core.runtime.ocistate import Container, Root

PROG = "pyctr-runtime"

VERBS: dict[str, tuple[str, str]] = {
    "create": ("create", "make a container of a bundle, up to just before its command"),
    "start": ("start", "run the command of a created container"),
    "run": ("create", "create, start, wait for the end, delete"),
    "exec": ("exec", "run a further process in a container"),
    "kill": ("kill", "send a signal to a container's first process"),
    "delete": ("delete", "remove all traces of a container"),
    "state": ("state", "the state of a container as JSON"),
    "list": ("state", "all containers below the root"),
    "ps": ("ps", "the processes of a container"),
    "pause": ("pause", "stop all processes of a container where they are"),
    "resume": ("pause", "let the processes of a paused container go on"),
    "update": ("update", "change the limits of a container"),
    "events": ("events", "resource use and out-of-memory kills of a container, as JSON lines"),
    "features": ("features", "what this runtime knows of the specification, as JSON"),
    "spec": ("spec", "write a config.json to begin with"),
    "checkpoint": ("checkpoint", "save a running container to files, by criu"),
    "restore": ("checkpoint", "run a container from such files"),
}
"""verb -> (module, one line of help)."""

_VALUED = {
    "--root": "root",
    "--log": "log",
    "--log-format": "log_format",
    "--criu": "criu",
    "--rootless": "rootless",
    "--cgroup-manager": "cgroup_manager",
}
_SWITCHES = {"--debug": "debug", "--systemd-cgroup": "systemd_cgroup"}


class Call:
    """One invocation: the global flags, and where containers are."""

    def __init__(self) -> None:
        self.root = ""
        self.log = ""
        self.log_format = "text"
        self.criu = "criu"
        self.rootless = "auto"
        self.cgroup_manager = ""
        self.debug = False
        self.systemd_cgroup = False
        self.verb = ""
        self.warnings: list[str] = []
        self.words: list[str] = []
        """All of the command line, if this process is ours alone."""

    @property
    def systemd(self) -> bool:
        """Whether systemd shall make the cgroups."""
        return self.systemd_cgroup or self.cgroup_manager == "systemd"

    def protect(self) -> None:
        """For a verb whose own process has a copy of itself enter a container, as early as it knows that."""
        if self.words:
            from pyctr.core.runtime import readonly

            readonly.protect(__name__, self.words)

    @property
    def paths(self) -> Paths:
        from pyctr.core.paths import Paths

        return Paths.from_environment()

    @property
    def containers(self) -> Root:
        from pyctr.core.runtime.ocistate import Root

        return Root(os.path.abspath(self.root) if self.root else f"{self.paths.run}/runtime")

    def container(self, id: str) -> Container:
        return self.containers.container(id)

    def warn(self, text: str) -> None:
        """Told at the end, in the log if there is one."""
        self.warnings.append(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; without `argv` the process ends here, with its exit code."""
    gc.set_threshold(100_000)
    words = sys.argv[1:] if argv is None else list(argv)
    call = Call()
    if argv is None:
        call.words = words
    try:
        code = _dispatch(call, words)
        if call.warnings:
            from pyctr.cli.runtime import log

            log.warnings(call)
    except Exception as error:
        if os.environ.get("PYCTR_DEBUG"):
            raise
        from pyctr.cli.runtime import log

        log.error(call, error)
        code = 255 if call.verb == "exec" else 1
    except KeyboardInterrupt:
        code = 130
    if argv is None:
        # nothing is left to tear down, and the interpreter takes 3 ms to find that out
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except OSError:
                pass  # whoever read it has left
        from pyctr.core import bytecode

        bytecode.keep()
        os._exit(code)
    return code


def _dispatch(call: Call, words: list[str]) -> int:
    words = _globals(call, words)
    if words == ["--version"]:
        return _version()
    if not words or words[0] in ("--help", "-h", "help", "h"):
        return _help()
    verb, words = words[0], words[1:]
    if verb not in VERBS:
        from pyctr.core.errors import UsageError

        raise UsageError(f"no such command '{verb}'", hint=f"'{PROG} --help' lists them")
    call.verb = verb
    if call.words:
        from pyctr.core import bytecode

        bytecode.use(f"runtime-{verb}")
    if verb == "exec":
        call.protect()
    file = VERBS[verb][0]
    module: Any = __import__(f"{__name__}.{file}", fromlist=["run"])
    prefix = "" if verb == file else f"{verb}_"
    from pyctr.cli.flags import Flags, HelpAsked

    configure = getattr(module, f"{prefix}configure")
    flags = Flags(f"{PROG} {verb}", interspersed=getattr(module, "INTERSPERSED", True))
    configure(flags)
    try:
        args = flags.parse(words)
    except HelpAsked:
        _page(verb, configure)
        return 0
    code: int = getattr(module, f"{prefix}run")(call, args)
    return code


def _globals(call: Call, words: list[str]) -> list[str]:
    """Takes the flags before the verb; what follows them."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        name, equals, value = words[at].partition("=")
        if name in ("-v", "--version"):
            return ["--version"]
        if name in ("-h", "--help"):
            return []
        if name in _SWITCHES:
            setattr(call, _SWITCHES[name], value.lower() not in ("0", "f", "false"))
        elif name in _VALUED:
            if not equals:
                at += 1
                if at >= len(words):
                    raise _usage(f"{name}: needs a value")
                value = words[at]
            setattr(call, _VALUED[name], value)
        else:
            raise _usage(f"no such flag '{name}'")
        at += 1
    if call.cgroup_manager not in ("", "cgroupfs", "systemd"):
        raise _usage(f"--cgroup-manager: '{call.cgroup_manager}' is neither 'cgroupfs' nor 'systemd'")
    if call.log_format not in ("text", "json"):
        wrong, call.log_format = call.log_format, "text"
        raise _usage(f"--log-format: '{wrong}' is neither 'text' nor 'json'")
    return words[at:]


def _usage(text: str) -> Exception:
    from pyctr.core.errors import UsageError

    return UsageError(text, hint=f"'{PROG} --help' shows how")


def _version() -> int:
    from pyctr import __version__
    from pyctr.core.runtime.ocistate import VERSION

    print(f"{PROG} version {__version__}\nspec: {VERSION}")
    return 0


def _help() -> int:
    print(
        f"Usage: {PROG} [global flags] COMMAND ...\n\nAn OCI runtime on pyctr's core; the commands and flags of runc.\n"
    )
    print("Commands:")
    for verb, (_, line) in VERBS.items():
        print(f"  {verb:<12} {line}")
    print("\nGlobal flags:")
    print("  --root DIR             where containers are recorded; gone after a reboot")
    print("  --log FILE             errors and warnings go there, too")
    print("  --log-format FORMAT    of that file: text or json")
    print("  --debug                tell more in the log")
    print("  --systemd-cgroup       cgroups made by systemd; cgroupsPath is SLICE:PREFIX:NAME")
    print("  --cgroup-manager NAME  cgroupfs or systemd")
    print("  --rootless VALUE       true, false or auto; what is possible is found out")
    print("  --criu PATH            the criu of checkpoint and restore")
    print("  -v, --version          print the version")
    print(f"\n'{PROG} COMMAND --help' says more about a command.")
    return 0


def _page(verb: str, configure: Any) -> None:
    import argparse

    line = VERBS[verb][1]
    parser = argparse.ArgumentParser(
        prog=f"{PROG} {verb}", description=line[:1].upper() + line[1:] + ".", add_help=False
    )
    configure(parser)
    parser.add_argument("--help", action="store_true", help="show this page")
    parser.print_help()
