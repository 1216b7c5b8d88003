"""Hooks: the caller's programs at six moments of a container's life (runtime-spec, config.md, "Hooks").

    name              where                         when                                     a failure
    prestart          runtime namespace             in create, mounts made, before pivot     undoes the create
    createRuntime     runtime namespace             right after prestart                     undoes the create
    createContainer   container's namespaces, the   right after createRuntime                undoes the create
                      host's files still visible
    startContainer    inside                        in start, before execve                  stops the container
    poststart         runtime namespace             in start, after execve                   stops the container
    poststop          runtime namespace             in delete, when everything is gone       is a warning

The state of the container is each one's standard input.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import os
import select
import time

from pyctr.core import errors, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

NAMES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

_KEPT = 2048
"""Bytes of a hook's last words."""


def state(
    version: str, id: str, status: str, pid: int, bundle: str, annotations: dict[str, str] | None
) -> dict[str, Any]:
    """The document hooks read (runtime.md, "State"). `pid` is as seen from the namespace they run in."""
    return {
        "ociVersion": version,
        "id": id,
        "status": status,
        "pid": pid,
        "bundle": bundle,
        "annotations": annotations or {},
    }


def run(
    hooks: list[dict[str, Any]],
    state: dict[str, Any],
    *,
    name: str = "hook",
    directory: str = "",
    warn: Callable[[str], None] | None = None,
) -> None:
    """Run them in their order, each to its end, with `state` on standard input and only the environment it names.

    `directory` is their working directory (else the caller's own), `name` one of NAMES for messages. What a hook
    says is kept for the message of its failure. Raises RuntimeFailure at the first that fails; with `warn` that gets
    the message instead and the next one runs. Forks: for
    single-threaded callers.
    """
    document = jsontext.dumps(state).encode()
    for index, hook in enumerate(hooks):
        try:
            _run(hook, document, f"hooks.{name}[{index}]", directory)
        except errors.RuntimeFailure as error:
            if warn is None:
                raise
            warn(error.message)


def _run(hook: dict[str, Any], document: bytes, field: str, directory: str) -> None:
    path = hook["path"]
    state_end, to_hook = os.pipe2(os.O_CLOEXEC)
    from_hook, said_end = os.pipe2(os.O_CLOEXEC)
    failure, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(hook, directory, state_end, said_end, tell)
    for fd in (state_end, said_end, tell):
        os.close(fd)
    # closed by execve, or by the death that did not get that far
    number = os.read(failure, 16)
    os.close(failure)
    code, said = _attend(pid, to_hook, from_hook, document, hook.get("timeout"))
    if number:
        raise errors.RuntimeFailure(
            f"{field}: cannot run '{path}': {os.strerror(int(number)).lower()}",
            hint="hooks name programs by absolute paths",
        )
    if code is None:
        raise errors.RuntimeFailure(
            f"{field}: '{path}' did not end within {hook['timeout']} s", hint="its timeout says so"
        )
    if code:
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        text = said.decode(errors="replace").strip().replace("\n", "; ")
        raise errors.RuntimeFailure(f"{field}: '{path}' failed with {how}" + (f": {text}" if text else ""))


def _become(hook: dict[str, Any], directory: str, input: int, output: int, tell: int) -> NoReturn:
    """In the child: the hook's program, with no descriptor but 0 to 2 and no signal that Python ignores."""
    try:
        from pyctr.core.linux import process

        # a group of its own: a timeout ends what the hook has started, too
        os.setpgid(0, 0)
        for number, fd in enumerate((input, output, output)):
            os.dup2(fd, number)
        if directory:
            os.chdir(directory)
        for signal in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT):
            _signal.signal(signal, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        process.close_on_exec_from(3)
        os.execve(hook["path"], hook.get("args") or [hook["path"]], _environment(hook.get("env") or []))
    except OSError as error:
        os.write(tell, str(error.errno).encode())
    finally:
        os._exit(127)


def _environment(items: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if equals and name:
            values[name] = value
    return values


def _attend(pid: int, to_hook: int, from_hook: int, document: bytes, timeout: float | None) -> tuple[int | None, bytes]:
    """Feed and hear the hook until it has ended: (exit code, or -signal, or None after the timeout; last words).

    What it leaves in the background may keep its output open and does not hold us up.
    """
    os.set_blocking(to_hook, False)
    os.set_blocking(from_hook, False)
    ended = os.pidfd_open(pid)
    watch = select.poll()
    watch.register(ended, select.POLLIN)
    watch.register(from_hook, select.POLLIN)
    watch.register(to_hook, select.POLLOUT)
    deadline = None if timeout is None else time.monotonic() + timeout
    said = b""
    status: int | None = None
    try:
        while status is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = dict(watch.poll(left))
            if to_hook in ready:
                try:
                    document = document[os.write(to_hook, document) :]
                except OSError:
                    document = b""  # it closed its input: it does not want to know
                if not document:
                    watch.unregister(to_hook)
                    os.close(to_hook)
                    to_hook = -1
            if from_hook in ready:
                part = os.read(from_hook, 65536)
                said = (said + part)[-_KEPT:]
                if not part:
                    watch.unregister(from_hook)
            if ended in ready:
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            elif not ready:
                _end(pid)
                os.waitpid(pid, 0)
                return None, said
        try:
            said = (said + os.read(from_hook, 65536))[-_KEPT:]
        except BlockingIOError:
            pass
        return status, said
    finally:
        for fd in (ended, from_hook, to_hook):
            if fd >= 0:
                os.close(fd)


def _end(pid: int) -> None:
    try:
        os.killpg(pid, 9)
    except ProcessLookupError:
        os.kill(pid, 9)  # not yet in its group
