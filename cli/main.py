"""The `pyctr` command: find the verb cheaply, import that verb alone, run it.

    pyctr [--root DIR] [--runroot DIR] [--cgroup-parent NAME] [--bridge NAME] VERB ...

A verb is a module of `pyctr.cli.verbs` with

    INTERSPERSED: bool          flags may follow positionals (default true)
    configure(parser) -> None   its flags, declared once for parsing, --help and completion
    run(call, args) -> int      the work; the result is the exit code
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

    from pyctr.core.engine import Engine
    from pyctr.core.paths import Paths
    from pyctr.core.runtime.launch import Spawn

VERBS: dict[str, str] = {
    "run": "create and start a container",
    "create": "create a container without starting it",
    "start": "start created or stopped containers",
    "stop": "stop containers: the stop signal, then SIGKILL after the timeout",
    "restart": "stop and start containers",
    "kill": "send a signal to containers",
    "pause": "freeze every process of containers",
    "unpause": "thaw paused containers",
    "revert": "what was done for a time: list it, take it back now, or keep it",
    "rename": "give a container another name",
    "update": "change the limits of containers while they run",
    "rm": "remove containers",
    "healthcheck": "run a container's health check",
    "wait": "block until containers stop, then print their exit codes",
    "ps": "list containers",
    "logs": "show what a container wrote",
    "exec": "run a command in a running container",
    "debug": "the host's tools inside a container's namespaces, for images without a shell",
    "attach": "connect the terminal to a running container",
    "inspect": "everything about containers, images, volumes, networks as JSON",
    "stats": "live use of resources",
    "top": "the processes of a container",
    "lsof": "files and sockets that the processes of a container have open",
    "port": "the published ports of a container",
    "namespaces": "who shares which namespace with whom, and with the host",
    "posture": "how well containers are shut in, and what would mend each gap",
    "cp": "copy files between a container and the host",
    "diff": "files changed in a container's writable layer",
    "events": "what happened to containers",
    "deaths": "how containers died, and what tells why",
    "record": "record what every other cgroup of this machine uses, until it is told to end",
    "capture": "the whole host in one file, to be looked at elsewhere",
    "check": "who needs somebody, as an exit code for a monitoring system",
    "metrics": "what containers use, for Prometheus",
    "images": "list images",
    "build": "build an image from a Dockerfile",
    "builder": "what builds keep for the next one",
    "pull": "fetch images from a registry",
    "push": "put an image into a registry",
    "save": "write images into an archive or directory",
    "load": "read images from an archive or directory",
    "import": "an image out of the archive of a root filesystem",
    "export": "a container's files as an archive",
    "commit": "an image out of a container",
    "search": "find repositories in a registry",
    "manifest": "look at what a registry holds",
    "login": "keep a user name and password for a registry",
    "logout": "forget them",
    "rmi": "remove images",
    "tag": "give an image another name",
    "history": "the layers of an image and what made them",
    "volume": "create, list, inspect, remove volumes",
    "secret": "create, list, inspect, remove secrets",
    "network": "create, list, inspect, remove networks, connect containers",
    "container": "the container verbs as a group",
    "image": "the image verbs as a group",
    "system": "disk usage, clean-up, information",
    "info": "this pyctr and this host",
    "version": "the version of pyctr",
    "doctor": "what this host can do, and what to do about the rest",
    "demo": "four small live containers to look at",
    "completion": "completions for bash, zsh, fish",
}
"""verb, and module of that name -> one line of help, in the order of the help page."""

ALIASES = {"ls": "ps", "list": "ps", "remove": "rm"}
_CONTAINER = (
    *("run", "create", "start", "stop", "restart", "kill", "pause", "unpause", "rename", "update", "rm", "wait"),
    *(
        "ps",
        "logs",
        "exec",
        "attach",
        "inspect",
        "stats",
        "top",
        "lsof",
        "deaths",
        "port",
        "posture",
        "namespaces",
        "cp",
        "diff",
        "export",
        "commit",
    ),
)
GROUPS: dict[str, dict[str, str]] = {
    "container": {
        **dict(zip(_CONTAINER, _CONTAINER, strict=True)),
        "ls": "ps",
        "list": "ps",
        "remove": "rm",
        "prune": "container_prune",
    },
    "image": {"ls": "images", "list": "images", "build": "build", "pull": "pull", "push": "push",
              "rm": "rmi", "remove": "rmi",
              "tag": "tag", "save": "save", "load": "load", "import": "import",
              "history": "history", "inspect": "image_inspect", "prune": "image_prune",
              "tree": "image_tree", "files": "image_files", "which": "image_which", "compare": "image_compare"},
    "builder": {"build": "build", "prune": "builder_prune"},
    "manifest": {"inspect": "manifest_inspect", "referrers": "manifest_referrers"},
    "volume": {verb: f"volume_{verb}" for verb in ("create", "ls", "inspect", "rm", "prune")},
    "secret": {verb: f"secret_{verb}" for verb in ("create", "ls", "inspect", "rm")},
    "network": {
        **{verb: f"network_{verb}" for verb in ("create", "ls", "inspect", "rm", "prune", "connect", "disconnect")},
        **{verb: f"network_{verb}" for verb in ("graph", "which", "check", "repair")},
        "list": "network_ls",
        "remove": "network_rm",
    },
    "system": {"df": "system_df", "prune": "system_prune", "info": "info", "events": "events"},
    "healthcheck": {"run": "healthcheck_run"},
    "demo": {"up": "demo_up", "down": "demo_down"},
}  # fmt: skip
"""group -> its verbs -> the modules (or MODULE_VERB of the group's own module)."""

GLOBAL_FLAGS = {"--root": "root", "--runroot": "run", "--cgroup-parent": "cgroup_parent", "--bridge": "bridge"}

_STARTS = frozenset({"run", "start"})
"""Verbs that need a shim: its interpreter starts while this one still reads flags."""


_LISTS = frozenset(
    {"ps", "images", "stats", "info", "events", "deaths", "system_df", "volume_ls", "secret_ls", "network_ls"}
)
"""Verbs that show what there is, to everybody what is theirs."""


class Call:
    """One invocation: where pyctr lives, and the engine made when first asked for."""

    def __init__(self, globals_: dict[str, str], verb: str) -> None:
        self.globals = globals_
        self.verb = verb
        self.spawn: Spawn | None = None
        self._engine: Engine | None = None
        self._paths: Paths | None = None

    @property
    def paths(self) -> Paths:
        if self._paths is None:
            from pyctr.core.paths import Paths

            self._paths = Paths.from_environment(**self.globals)
        return self._paths

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            from pyctr.core.engine import Engine

            self._engine = Engine(self.paths)
        return self._engine

    def prespawn(self) -> None:
        """Let a shim's interpreter start now. Without it the start does the same later."""
        from pyctr.core.runtime import launch

        self.spawn = launch.prespawn(self.paths)

    def take_spawn(self) -> Spawn | None:
        """Hand the warm shim over; whoever takes it uses it up."""
        spawn, self.spawn = self.spawn, None
        return spawn

    def need_root(self, doing: str) -> None:
        """Refuse early, and in words, what the kernel would refuse late."""
        if os.geteuid() != 0:
            from pyctr.core.errors import PermissionDenied

            raise PermissionDenied(f"{doing} needs root", hint=f"sudo pyctr {self.verb.replace('_', ' ')} …")

    def tell_of_root(self) -> None:
        """An empty list must not look like an idle host to who is not root: say where root's containers are."""
        from pyctr.core.paths import Paths

        if "root" in self.globals or os.environ.get("PYCTR_ROOT") or not os.path.isdir(Paths.root):
            return
        print(
            f"pyctr: only what is yours; root's is seen with 'sudo pyctr {self.verb.replace('_', ' ')}'",
            file=sys.stderr,
        )

    def close(self) -> None:
        """A warm shim nobody took goes away."""
        spawn = self.take_spawn()
        if spawn is not None:
            spawn.cancel()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is its result. Without `argv` the process ends here."""
    # importing makes objects that stay: collecting among them took a tenth of a whole run
    gc.set_threshold(100_000)
    words = sys.argv[1:] if argv is None else list(argv)
    if sys.stdout is None or sys.stderr is None:
        # started with closed descriptors (`>&-`): what is printed goes nowhere, and no file we open becomes a 1 or 2
        _stand_in()
    if words in (["version"], ["--version"], ["-v"]):
        words = ["--version"]
    try:
        code = _dispatch(words, alone=argv is None)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # the reader left; the interpreter must not try again when it flushes at exit (Python docs, signal, SIGPIPE)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except Exception as error:
        if os.environ.get("PYCTR_DEBUG"):
            raise
        from pyctr.cli.diagnostics import report

        code = report(error)
    if argv is None and not os.environ.get("PYCTR_DEBUG"):
        # a command has nothing left to tear down, and the interpreter takes 3 to 5 ms to find that out
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            pass  # said already, or nobody is left to tell
        from pyctr.core import bytecode

        bytecode.keep()
        os._exit(code)
    return code


def _stand_in() -> None:
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  lives as long as we do
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _dispatch(words: list[str], alone: bool = False) -> int:
    if words == ["--version"]:
        from pyctr import __version__

        print(f"pyctr version {__version__}")
        return 0
    globals_, words = _globals(words)
    if not words or words[0] in ("--help", "-h", "help"):
        return _help(words[1:])
    if words[0] == "__complete":
        from pyctr.cli.completing import answer

        return answer(globals_, words[2:])
    verb, words = words[0], words[1:]
    verb = verb if verb in VERBS else ALIASES.get(verb, verb)
    if verb not in VERBS:
        raise _no_such(verb, [*VERBS, *ALIASES], "pyctr")
    name = f"pyctr {verb}"
    module = verb
    if verb in GROUPS:
        members = GROUPS[verb]
        if not words or words[0] in ("--help", "-h"):
            return _group_help(verb, members)
        if words[0] not in members:
            raise _no_such(words[0], members, name)
        name = f"{name} {words[0]}"
        module, words = members[words[0]], words[1:]
    if alone:
        from pyctr.core import bytecode

        bytecode.use(f"pyctr-{module}")
    call = Call(globals_, module)
    if module in _STARTS and os.geteuid() == 0 and "--help" not in words and "--dry-run" not in words:
        call.prespawn()
    if alone:
        bytecode.at_once(0)
    try:
        return _run(call, module, name, words)
    except Exception as error:
        if module == "run" and getattr(error, "exit_code", 0) == 1:
            error.exit_code = 125  # type: ignore[attr-defined]  # 1 is a code that the container may have
        raise
    finally:
        call.close()


def _run(call: Call, name: str, prog: str, words: list[str]) -> int:
    from pyctr.cli.flags import Flags, HelpAsked

    module, prefix = load(name)
    configure, run = getattr(module, f"{prefix}configure"), getattr(module, f"{prefix}run")
    flags = Flags(prog, interspersed=getattr(module, "INTERSPERSED", True))
    configure(flags)
    try:
        args = flags.parse(words)
    except HelpAsked:
        _page(prog, name, configure)
        return 0
    code: int = run(call, args)
    if name in _LISTS and os.geteuid() != 0:
        call.tell_of_root()
    return code


def load(name: str) -> tuple[ModuleType, str]:
    """The module of a verb and the prefix of its functions there ("prune_" for `volume_prune`)."""
    file, prefix = name, ""
    if name not in VERBS:
        file, _, verb = name.partition("_")
        prefix = f"{verb}_"
    # __import__ and not importlib: importing that package alone costs more than a verb
    module: ModuleType = __import__(f"pyctr.cli.verbs.{file}", fromlist=["run"])
    return module, prefix


def _globals(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Flags before the verb."""
    found: dict[str, str] = {}
    at = 0
    while at < len(words) and words[at].startswith("--"):
        name, equals, value = words[at].partition("=")
        field = GLOBAL_FLAGS.get(name)
        if field is None:
            break
        at += 1
        if not equals:
            if at >= len(words):
                from pyctr.core.errors import UsageError

                raise UsageError(f"{name}: needs a value")
            value = words[at]
            at += 1
        found[field] = value
    rest = words[at:]
    if rest and rest[0].startswith("-") and rest[0] not in ("--help", "-h"):
        raise _no_such_flag(rest[0])
    return found, rest


def _no_such(verb: str, known: Any, prog: str) -> Exception:
    from pyctr.core.errors import UsageError
    from pyctr.core.near import nearest

    close = nearest(verb, known)
    return UsageError(
        f"'{prog}' has no command '{verb}'", hint=f"did you mean '{close}'?" if close else f"'{prog} --help' lists them"
    )


def _no_such_flag(name: str) -> Exception:
    from pyctr.core.errors import UsageError
    from pyctr.core.near import nearest

    close = nearest(name.partition("=")[0], [*GLOBAL_FLAGS, "--help", "--version"])
    return UsageError(
        f"'pyctr' has no flag '{name}'", hint=f"did you mean '{close}'?" if close else "flags of a verb follow the verb"
    )


def _help(words: list[str]) -> int:
    if words and words[0] in VERBS:
        return _dispatch([*words, "--help"])
    print("Usage: pyctr [--root DIR] [--runroot DIR] [--cgroup-parent NAME] [--bridge NAME] COMMAND ...\n")
    print("Containers without a daemon.\n\nCommands:")
    for verb, line in VERBS.items():
        print(f"  {verb:<12} {line}")
    print("\nGlobal flags (also as PYCTR_ROOT, PYCTR_RUNROOT, PYCTR_CGROUP_PARENT, PYCTR_BRIDGE):")
    print("  --root DIR            images, containers, volumes; survives a reboot")
    print("  --runroot DIR         sockets and locks; gone after a reboot")
    print("  --cgroup-parent NAME  our subtree in every cgroup hierarchy")
    print("  --bridge NAME         the default network's bridge")
    print("  -v, --version         print the version")
    print("\n'pyctr COMMAND --help' says more about a command; 'pyctr-tui' is the interactive face.")
    return 0


def _group_help(group: str, members: dict[str, str]) -> int:
    print(f"Usage: pyctr {group} COMMAND ...\n\n{VERBS[group].capitalize()}.\n\nCommands:")
    for verb, name in members.items():
        print(f"  {verb:<10} {summary(name)}")
    return 0


def summary(name: str) -> str:
    """The one line of help of a verb or of a group's verb."""
    if name in VERBS:
        return VERBS[name]
    module_, prefix = load(name)
    return str((getattr(module_, f"{prefix}run").__doc__ or "").partition("\n")[0].rstrip("."))


def _page(prog: str, name: str, configure: Any) -> None:
    import argparse

    line = summary(name)
    parser = argparse.ArgumentParser(prog=prog, description=line[:1].upper() + line[1:] + ".", add_help=False)
    configure(parser)
    parser.add_argument("--help", action="store_true", help="show this page")
    parser.print_help()
