"""Somebody who puts the terminal right when this program cannot: killed outright, or out of memory.

A shell waits on a pipe whose other end only this process has. A word there means that all is well; its end without
one means that the terminal is still as the screens need it. It has a process group of its own: no key reaches it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHELL = "/bin/sh"

# alternate screen, cursor, colours, mouse, focus, paste, in-band resize, kitty's keys: all that the driver turns on
MODES = (
    r"\033[?1049l\033[?25h\033[0m\033[?1000l\033[?1002l\033[?1003l\033[?1006l\033[?1015l\033[?1016l"
    r"\033[?1004l\033[?2004l\033[?2048l\033[<u"
)
# SIGTTOU is what a background group gets for changing the terminal. A shell that had the terminal back first, and
# made it its own, is not disturbed.
SCRIPT = f"""
trap '' HUP INT QUIT TERM TSTP TTOU
ours=$(stty -g <&2)
read -r word && exit
[ "$(stty -g <&2)" = "$ours" ] && stty "$1" <&2
printf '{MODES}pyctr-tui was killed; containers go on\n' >&2
"""


class Guard:
    """`stand` when the screens have the terminal, `dismiss` when they have given it back."""

    def __init__(self) -> None:
        self._word = -1

    def stand(self, fd: int, attributes: list[Any]) -> None:
        """Watch over the terminal `fd`; `attributes` are those to give back, as from termios.tcgetattr."""
        read, self._word = os.pipe2(os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, read, 0), (os.POSIX_SPAWN_DUP2, fd, 1), (os.POSIX_SPAWN_DUP2, fd, 2)]
        try:
            # no fork: there may be threads already
            os.posix_spawn(
                SHELL, ["sh", "-c", SCRIPT, "pyctr-tui guard", settings(attributes)], os.environ, file_actions=actions,
                setpgroup=0,
            )  # fmt: skip
        except OSError:
            pass  # no shell there: then nobody watches
        finally:
            os.close(read)

    def dismiss(self) -> None:
        if self._word >= 0:
            try:
                os.write(self._word, b"well\n")
            except BrokenPipeError:
                pass  # it was ended before us
            os.close(self._word)
            self._word = -1


def settings(attributes: list[Any]) -> str:
    """What `stty -g` prints for these attributes, and takes."""
    flags = [f"{flag:x}" for flag in attributes[:4]]
    characters = [f"{char[0] if isinstance(char, bytes) else char:x}" for char in attributes[6]]
    return ":".join(flags + characters)
