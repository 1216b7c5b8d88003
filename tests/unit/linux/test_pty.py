import os
import termios

import pytest

from pyctr.core.linux import pty


def test_raw_mode_passes_bytes_through_and_is_undone() -> None:
    master, path = pty.open_in()
    slave = pty.open_peer(master)
    try:
        assert os.ttyname(slave) == path
        assert not os.get_inheritable(master)
        assert not os.get_inheritable(slave)
        before = termios.tcgetattr(slave)
        saved = pty.make_raw(slave)
        os.write(master, b"\x03\r\n")
        assert os.read(slave, 10) == b"\x03\r\n"
        os.write(slave, b"a\nb")
        assert os.read(master, 10) == b"a\nb"
        pty.restore(slave, saved)
        assert termios.tcgetattr(slave) == before
        os.write(slave, b"a\nb")
        assert os.read(master, 10) == b"a\r\nb"
    finally:
        os.close(slave)
        os.close(master)


def test_window_size_is_seen_from_the_other_side() -> None:
    master, _ = pty.open_in()
    slave = pty.open_peer(master)
    try:
        pty.set_winsize(master, 24, 80)
        assert pty.get_winsize(slave) == (24, 80)
    finally:
        os.close(slave)
        os.close(master)


def test_something_else_called_ptmx_is_refused(tmp_path: str) -> None:
    os.symlink("/dev/ptmx", f"{tmp_path}/ptmx")
    directory = os.open(tmp_path, os.O_PATH)
    try:
        with pytest.raises(OSError, match="symbolic links"):
            pty.open_in(directory)
        os.unlink(f"{tmp_path}/ptmx")
        open(f"{tmp_path}/ptmx", "w").close()
        with pytest.raises(OSError, match="not a pseudoterminal"):
            pty.open_in(directory)
    finally:
        os.close(directory)
