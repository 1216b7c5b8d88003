"""The loopback interface of the namespace one is in, without netlink: it is the only link of most containers."""

from __future__ import annotations

import _socket
import fcntl
import os
import struct

_REQUEST = struct.Struct("16sH22x")
"""struct ifreq: name, flags (netdevice(7))."""
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def up() -> None:
    """Bring it up; it has its addresses from the kernel. Raises OSError (EPERM without CAP_NET_ADMIN)."""
    # any socket will do, and one of this family is there whatever else a kernel was made without
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        _, flags = _REQUEST.unpack(fcntl.ioctl(socket.fileno(), _SIOCGIFFLAGS, _REQUEST.pack(b"lo", 0)))
        fcntl.ioctl(socket.fileno(), _SIOCSIFFLAGS, _REQUEST.pack(b"lo", flags | _IFF_UP))
    except OSError as error:
        raise OSError(error.errno, f"ioctl(SIOCSIFFLAGS): {os.strerror(error.errno or 0)}", "lo") from error
    finally:
        socket.close()
