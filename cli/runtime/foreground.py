"""The time between a start and its end when the caller waits: signals go in, a terminal's bytes both ways, the exit
code comes out."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NOT_FORWARDED = frozenset(
    {
        *(_signal.SIGKILL, _signal.SIGSTOP),  # cannot be caught
        *(_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGILL, _signal.SIGFPE, _signal.SIGABRT, _signal.SIGTRAP),  # our own
        *(_signal.SIGCHLD, _signal.SIGWINCH, _signal.SIGURG, _signal.SIGPIPE),
    }
)
_FATAL = (1, 2, 3, 10, 12, 14, 15)
"""HUP INT QUIT USR1 USR2 ALRM TERM: what would end us."""
_CHUNK = 1 << 16
_BOUND = 1 << 20
"""Bytes of typed input that wait for a process which does not read."""


class Foreground:
    """Made before the process is: a signal that comes too early for it undoes the start, none is lost."""

    def __init__(self) -> None:
        self._saved: list[Any] | None = None
        self._pid = 0
        self._early: list[int] = []
        for number in _FATAL:
            _signal.signal(number, self._interrupt)

    def winsize(self) -> tuple[int, int] | None:
        """Of the terminal we are on, so that the process never sees another."""
        if not os.isatty(0):
            return None
        from pyctr.core.linux import pty

        return pty.get_winsize(0)

    def began(self, pid: int) -> None:
        """Our child is there, though not yet the command."""
        self._pid = pid

    def _interrupt(self, number: int, frame: object) -> None:
        from pyctr.core.runtime.start import executed

        # also when nobody knows yet whether the command has begun: if it has, this is for it (`execute.begin`)
        self._early.append(number)
        try:
            if self._pid and executed(self._pid):
                return
        except FileNotFoundError:
            pass  # it died
        raise KeyboardInterrupt

    def attend(self, pid: int, master: int = -1) -> int:
        """Until `pid`, our child, has ended: its exit code, or 128 + n for a death by signal n."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in range(1, 65):
            if number not in _NOT_FORWARDED and number not in (32, 33):  # those are the threads library's
                _signal.signal(number, _wake)
        for number in (_signal.SIGCHLD, _signal.SIGWINCH):
            _signal.signal(number, _wake)
        os.write(writer, bytes([*self._early, _signal.SIGCHLD]))  # what came and who died before this
        if master >= 0:
            return self._relay(pid, master, reader)
        watch = select.poll()
        watch.register(reader, select.POLLIN)
        while True:
            watch.poll()
            if (code := self._signals(pid, reader, -1)) is not None:
                return code

    def _signals(self, pid: int, reader: int, master: int) -> int | None:
        """What has come is passed on; the exit code once there is one."""
        try:
            came = os.read(reader, 512)
        except BlockingIOError:
            return None
        for number in dict.fromkeys(came):
            if number == _signal.SIGCHLD:
                if (code := _reap(pid)) is not None:
                    return code
            elif number == _signal.SIGWINCH:
                self._resize(master)
            elif number not in _NOT_FORWARDED:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass  # its SIGCHLD is on the way
        return None

    def _relay(self, pid: int, master: int, reader: int) -> int:
        from pyctr.core.linux import pty

        os.set_blocking(master, False)
        if os.isatty(0):
            self._resize(master)
            self._saved = pty.make_raw(0)
        typed = bytearray()
        watch = select.poll()
        watch.register(reader, select.POLLIN)
        watch.register(0, select.POLLIN)
        watch.register(master, select.POLLIN)
        listening = True
        code: int | None = None
        while code is None:
            if listening and len(typed) < _BOUND:
                watch.register(0, select.POLLIN)
            else:
                _forget(watch, 0)
            if master >= 0:
                watch.modify(master, select.POLLIN | (select.POLLOUT if typed else 0))
            for fd, events in watch.poll():
                if fd == reader:
                    code = self._signals(pid, reader, master)
                elif fd == 0:
                    data = _read(0)
                    listening = bool(data)
                    typed += data or b""
                elif fd == master:
                    if events & select.POLLOUT and typed:
                        del typed[: _write(master, typed)]
                    if events & (select.POLLIN | select.POLLHUP) and not _copy(master):
                        watch.unregister(master)
                        os.close(master)
                        master = -1
        if master >= 0:
            # what was written before the end is still in there
            while _copy(master):
                pass
            os.close(master)
        return code

    def _resize(self, master: int) -> None:
        if master < 0 or not os.isatty(0):
            return
        from pyctr.core.linux import pty

        pty.set_winsize(master, *pty.get_winsize(0))

    def close(self) -> None:
        """Give the terminal back as it was."""
        _signal.set_wakeup_fd(-1)
        if self._saved is not None:
            from pyctr.core.linux import pty

            pty.restore(0, self._saved)
            self._saved = None


def _wake(number: int, frame: object) -> None:
    """The descriptor has told it."""


def _reap(wanted: int) -> int | None:
    """Everybody who ended; the code of the wanted one."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if not pid:
            return code
        if pid == wanted:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except BlockingIOError:
        return b""
    except OSError:
        return b""  # a terminal without its other side


def _write(fd: int, data: bytearray) -> int:
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)  # nobody reads it any more


def _copy(master: int) -> bool:
    """From the terminal to stdout; False when there is no more."""
    try:
        data = os.read(master, _CHUNK)
    except BlockingIOError:
        return False
    except OSError:
        return False  # EIO: every process has closed it
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(1, view) :]
        except BlockingIOError:
            select.select([], [1], [])
        except OSError:
            return True  # our reader left: the process inside is not stopped by that
    return bool(data)


def _forget(watch: select.poll, fd: int) -> None:
    try:
        watch.unregister(fd)
    except KeyError:
        pass  # not watched at the moment
