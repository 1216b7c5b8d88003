"""Starting, stopping and removing containers of other engines: by their own command line, if it answers in time.

What an engine keeps in its head (restart policies, networks, volumes) only it can keep right, so it is asked, and only
here. Its command gets a bound, in a session of its own; one that does not answer is killed, and nothing was done.

Who may write an engine's records decides what runs when it acts on them: hooks of a container, a runtime's path.
Records that others than this user and root can change are therefore looked at, never acted on.
"""

from __future__ import annotations

import os
import stat

from pyctr.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyctr.core.engines.model import Foreign

ANSWER = 5.0
"""Seconds for an engine to say that it is there."""
PATIENCE = 60.0
"""Seconds for what it was told to do."""
VERBS = ("start", "stop", "restart", "remove")
_PROBES = {
    "docker": ("version", "--format", "{{.Server.Version}}"),
    "podman": ("version", "--format", "{{.Version}}"),
    "nspawn": ("--version",),
}


def offered(one: Foreign, verb: str) -> bool:
    """Whether its engine has a command for it at all."""
    return verb in VERBS and one.engine in ("docker", "podman", "lxc", "nspawn")


def command(one: Foreign, verb: str, *flags: str) -> list[str]:
    """The engine's command line for it, for showing and for `act`. Raises Unsupported, PermissionDenied."""
    if not offered(one, verb):
        raise errors.Unsupported(
            f"cannot {verb} '{one.name}': {one.engine} has no command for that which is known here",
            hint="its processes can be looked at: pyctr top, logs, stats, inspect",
        )
    _check(one)
    if one.engine in ("docker", "podman"):
        return [*one.words, "rm" if verb == "remove" else verb, *flags, one.id]
    if one.engine == "nspawn":
        return ["machinectl", {"stop": "poweroff", "restart": "reboot"}.get(verb, verb), one.id]
    program = {"start": "lxc-start", "remove": "lxc-destroy"}.get(verb, "lxc-stop")
    path = one.store.removesuffix(f"/{one.id}")
    if verb == "remove":
        return [program, "-P", path, "-n", one.id, *(["-f"] if "-f" in flags else [])]
    if verb == "start":
        return [program, "-P", path, "-n", one.id, "-d"]
    # lxc-stop takes a patience of 0 for none at all: it would neither wait nor kill
    patience = ["-k"] if flags == ("-t", "0") and verb == "stop" else list(flags or ("-t", "10"))
    return [program, "-P", path, "-n", one.id, *(["-r"] if verb == "restart" else []), *patience]


def answers(one: Foreign) -> None:
    """Returns when its engine's command answers. Raises PyctrError: it is not there, or does not answer in time."""
    probe = _PROBES.get(one.engine)
    if probe is not None:
        _run([*one.words, *probe], ANSWER, f"{one.engine} does not answer")


def act(one: Foreign, verb: str, *flags: str, patience: float = 0.0) -> None:
    """Have its engine do it; `patience` are seconds that this may take longer. Raises PyctrError with what it said."""
    words = command(one, verb, *flags)
    answers(one)
    _run(words, PATIENCE + patience, f"cannot {verb} '{one.name}'")


def _run(words: Sequence[str], seconds: float, failed: str) -> None:
    import signal
    import subprocess

    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise errors.Unsupported(f"{failed}: there is no '{words[0]}' on this host") from None
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise errors.PyctrError(
            f"{failed}: '{words[0]}' said nothing for {seconds:.0f} s and was ended",
            hint="pyctr itself needs no daemon: top, logs, stats and inspect go on",
        ) from None
    if process.returncode:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise errors.PyctrError(f"{failed}: {lines[-1] if lines else f'exit code {process.returncode}'}")


def _check(one: Foreign) -> None:
    """Its record is this user's or root's, and nobody else can replace it. Raises PermissionDenied."""
    path = one.store
    refused = errors.PermissionDenied(
        f"'{one.name}' is in a store that others may change: '{path or '?'}'",
        hint=f"whoever runs that {one.engine} can act on it",
    )
    if not path.startswith("/") or os.path.realpath(path) != os.path.normpath(path):
        raise refused
    while True:
        try:
            found = os.lstat(path)
        except OSError:
            raise refused from None
        # in a directory like /tmp nobody can rename what is another's
        open_to_all = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()) or (open_to_all and not stat.S_ISREG(found.st_mode)):
            raise refused
        if path == "/":
            return
        path = os.path.dirname(path)
