"""A warm copy of a shim: forks the next ones, and goes away by itself.

    pyctr ── posix_spawn ──> shim ── fork, before it knows its plan ──> launcher     <run>/launcher-<key>.sock
    pyctr ── connect ──────────────────────────────────────────────────────┘ ── fork ──> shim

An interpreter that starts and imports is most of a start's processor time, and its memory most of an idle shim; a
fork has neither: the copies share their pages. The launcher knows no container, holds no lock and no state. It ends
LINGER seconds after the last start, and losing it costs nothing: the next client spawns a shim again.

`key` names everything a shim inherits from whoever spawned it (limits, cgroup, namespaces, credentials, priority...):
a client only uses a launcher that is in its own situation, so a container gets the same with and without one.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import os
import select

from pyctr.core.runtime import sync

LINGER = 10.0
_QUIET = 20.0
"""Milliseconds without a client after which there is time for `rehearse`."""
_ADAPTED = 12
"""Calls after which the interpreter has made its adapted form of a function (PEP 659)."""
_STATUS = (b"Uid", b"Gid", b"Groups", b"CapInh", b"CapPrm", b"CapBnd", b"CapAmb", b"NoNewPrivs", b"Seccomp", b"Cpus_al")


def key(root: str) -> str:
    """Digits that differ when anything a child inherits differs, or the code does. "" if that cannot be known."""
    from pyctr import __version__

    try:
        import _sha1  # type: ignore[import-not-found]

        status = [line for line in _read("/proc/self/status").split(b"\n") if line.startswith(_STATUS)]
        facts: list[object] = [__version__, root, os.stat(f"{root}/pyctr/core/runtime/shim.py").st_mtime_ns, status]
        # an installer replaces files, which its directories remember
        facts += [os.stat(f"{root}/pyctr/core{part}").st_mtime_ns for part in ("", "/runtime", "/linux", "/cgroups")]
        facts += [_read(f"/proc/self/{name}") for name in ("cgroup", "limits", "oom_score_adj")]
        facts += [os.stat(f"/proc/self/ns/{name}").st_ino for name in os.listdir("/proc/self/ns")]
        facts += [os.stat("/").st_ino, os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)]
        try:
            facts.append(_read("/proc/self/attr/current"))
        except OSError:
            pass  # no security module
        return str(_sha1.sha1(repr(facts).encode()).hexdigest())[:16]
    except (OSError, ImportError):
        return ""


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 14)
    finally:
        os.close(fd)


def connect(run: str, key: str) -> _socket.socket | None:
    """A socket to a shim that was just forked, or None when no launcher listens."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        directory = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            socket.connect(f"/proc/self/fd/{directory}/{_name(key)}")
        finally:
            os.close(directory)
    except OSError:
        socket.close()
        return None
    return socket


def dismiss(run: str) -> None:
    """Send every launcher below `run` away now."""
    try:
        names = os.listdir(run)
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith("launcher-") and (socket := connect(run, name[9:-5])) is not None:
            channel = sync.Channel(socket)
            try:
                channel.send(sync.frame(sync.STOP))
                channel.receive()
            except (OSError, EOFError):
                pass  # it went by itself
            channel.close()
            try:
                os.unlink(f"{run}/{name}")
            except FileNotFoundError:
                pass  # by itself, too


def _name(key: str) -> str:
    return f"launcher-{key}.sock"


def serve(run: str, key: str) -> int:
    """The launcher's life. Returns in each forked shim, with the connection to a client whom nobody knows yet.

    What this loop writes to between two forks is a page that the earlier shim has for itself from then on, so it does
    next to nothing: who the client is, the shim's worker asks.
    """
    from pyctr.core import fsutil

    os.setsid()
    rename(b"pyctr-launcher")
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # nobody waits for them
    fsutil.make_private_directory(run)
    listener = _listen(run, key)
    if listener is None:
        os._exit(0)
    inode = os.stat(f"{run}/{_name(key)}").st_ino
    poller = select.poll()
    poller.register(listener.fileno(), select.POLLIN)
    listening = True
    if not poller.poll(_QUIET):
        rehearse()
    while True:
        if listening and not poller.poll(LINGER * 1000):
            try:
                if os.stat(f"{run}/{_name(key)}").st_ino == inode:
                    os.unlink(f"{run}/{_name(key)}")
            except OSError:
                pass  # removed with its directory
            listening = False  # whoever connected before that is still served
        try:
            accepted, _ = listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            if not listening:
                os._exit(0)
            continue
        fd = int(accepted)
        if os.fork() == 0:
            listener.close()
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            os.setsid()
            rename(b"pyctr-shim")
            return fd
        os.close(fd)


def rename(name: bytes) -> None:
    """What ps shows, by a way that writes to fewer pages than a prctl(2) would."""
    fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, name)
    os.close(fd)


def rehearse() -> None:
    """Go through what every shim does before it sleeps.

    The interpreter adapts the code of a function while it is called for the first times, and writes that into pages
    which the copies then need not write to each for itself.
    """
    import gc

    from pyctr.core.runtime import execute, health, nameserver, rest, worker

    # what some shims load later is the same for all, too
    del execute, health, nameserver
    for _ in range(_ADAPTED):
        rename(b"pyctr-launcher")
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
        client, leaves = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        watch, event = select.epoll(), os.eventfd(1, os.EFD_CLOEXEC)
        theirs.sendmsg([b"1"], sync.rights((event,)))
        theirs.close()
        leaves.close()
        answer = worker.Worker(0, ours)
        answer.receive()
        watch.register(client.fileno(), select.EPOLLIN)
        os.close(event)
        for fd in answer.descriptors():
            watch.register(fd, select.EPOLLIN)
            rest.Sleep(watch, client.detach(), answer).until_heard(worker.NOW)
            os.close(fd)
        watch.close()
        rest.size()
    gc.collect()
    gc.freeze()  # again: for what this process alone has imported


def _listen(run: str, key: str) -> _socket.socket | None:
    """None when another launcher of this kind listens already."""
    directory = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    path = f"/proc/self/fd/{directory}/{_name(key)}"
    try:
        for _ in range(2):
            try:
                listener.bind(path)
                listener.listen(128)
                return listener
            except OSError:
                other = connect(run, key)
                if other is not None:
                    other.close()
                    return None
                try:
                    os.unlink(_name(key), dir_fd=directory)  # left by one that was killed
                except FileNotFoundError:
                    pass  # somebody else cleans up, too
        return None
    finally:
        os.close(directory)
