"""Pseudoterminals (pty(7), ioctl_tty(2)) and raw mode (termios(3))."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios

from pyctr.core.linux import const
from pyctr.core.linux.mount import fs_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TIOCGPTN = 0x80045430
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_PTMX = os.makedev(5, 2)


def open_in(dev_pts_dirfd: int | None = None) -> tuple[int, str]:
    """A new pair: (master descriptor, "/dev/pts/N").

    `dev_pts_dirfd` is the devpts instance to make it in; None takes /dev/ptmx of the current root. The path is valid
    where that instance is mounted on /dev/pts; `open_peer` needs no path. A ptmx that is not the kernel's (an image
    can put anything there, CVE-2025-52565) is refused with ENODEV.
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    if dev_pts_dirfd is None:
        name = "/dev/ptmx"
        master = os.open(name, flags)
    else:
        name = "ptmx"
        master = os.open(name, flags | os.O_NOFOLLOW, dir_fd=dev_pts_dirfd)
    try:
        status = os.fstat(master)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _PTMX:
            raise OSError(errno.ENODEV, "open: not a pseudoterminal multiplexer", name)
        if dev_pts_dirfd is not None and fs_type(master) != const.DEVPTS_SUPER_MAGIC:
            raise OSError(errno.ENODEV, "open: not on devpts", name)
        number = struct.unpack("I", fcntl.ioctl(master, _TIOCGPTN, b"\0\0\0\0"))[0]
        fcntl.ioctl(master, _TIOCSPTLCK, b"\0\0\0\0")
    except BaseException:
        os.close(master)
        raise
    return master, f"/dev/pts/{number}"


def open_peer(master: int) -> int:
    """The slave of a master without looking up a path (TIOCGPTPEER); close-on-exec, not the controlling terminal."""
    return fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def make_controlling(slave: int) -> None:
    """The controlling terminal of this session leader, which has none yet."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def set_winsize(fd: int, rows: int, cols: int) -> None:
    """Rows and columns; the kernel sends SIGWINCH to the foreground group when they change."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


def get_winsize(fd: int) -> tuple[int, int]:
    """(rows, cols); (0, 0) where nobody has said."""
    rows, cols, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    return rows, cols


def make_raw(fd: int) -> list[Any]:
    """Raw mode as cfmakeraw(3) means it; returns what `restore` takes. termios.error if `fd` is no terminal."""
    saved = termios.tcgetattr(fd)
    raw = list(saved)
    raw[0] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    raw[1] &= ~termios.OPOST
    raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    raw[6] = list(raw[6])
    raw[6][termios.VMIN] = 1
    raw[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSADRAIN, raw)
    return saved


def restore(fd: int, saved: list[Any]) -> None:
    """Undo `make_raw`. Drains the output first and keeps what was typed ahead for the shell."""
    termios.tcsetattr(fd, termios.TCSADRAIN, saved)
