"""The first moments of a shim: an interpreter made ready for any container, then the order that says which.

ALLOWED is all of the standard library that may be loaded when it sleeps beside its container; a test measures it.
"""

from __future__ import annotations

import os

from pyctr.core import bytecode
from pyctr.core.linux import process
from pyctr.core.runtime.shim import Shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

ALLOWED = (
    "abc builtins codecs encodings errno fcntl gc genericpath io itertools marshal os posix posixpath select stat "
    "struct sys termios time types zipimport"
)
"""Standard library modules without a leading underscore."""


def main(run: str = "", key: str = "") -> NoReturn:
    """The whole life of a shim; its socket to the client is descriptor 3. With `key` it leaves a launcher behind."""
    code = 1
    try:
        client = 3
        os.set_inheritable(client, False)
        shim = prepare()
        shim.launcher = os.fork() if key else -1
        if shim.launcher == 0:
            os.close(client)
            from pyctr.core.runtime import launcher

            if bytecode.pending() and os.fork() == 0:
                bytecode.keep()
                os._exit(0)
            bytecode.done()
            client = launcher.serve(run, key)
        bytecode.done()
        code = shim.run(client)
    finally:
        os._exit(code)


def resume(state: tuple[bytes, list[int]]) -> int:
    """Go on where a shim went to sleep without its interpreter (`doze`): with what it knew, and its descriptors."""
    said, descriptors = state
    for fd in descriptors:
        os.set_inheritable(fd, False)
    _identity()
    # what it needs beyond this it loads then: the snapshot has it
    shim = Shim()
    shim.hired = True
    return shim.live(said, descriptors)


def _identity() -> None:
    process.subreaper()
    # nobody of our uid, in a container that shares our pid namespace either, looks into our memory
    process.set_dumpable(False)
    process.set_name("pyctr-shim")


def prepare() -> Shim:
    """What a start will need, while the client is still thinking: a shim that has no container yet."""
    import fcntl

    from pyctr.core import events, jsontext, logs, netns, paths, storage
    from pyctr.core.cgroups import devices as rules
    from pyctr.core.cgroups import group, make, v1, v2
    from pyctr.core.linux import (
        caps,
        devices,
        inroot,
        keyring,
        loopback,
        mount,
        namespaces,
        procfs,
        pty,
        seccomp,
    )
    from pyctr.core.runtime import oom, passwd

    del rules, make, v1, v2, fcntl, jsontext
    del caps, devices, events, group, inroot, keyring, logs, loopback, mount, namespaces, netns, oom, passwd, paths
    del procfs, pty, seccomp, storage
    process.close_range(4)
    os.chdir("/")
    os.umask(0o077)
    _identity()
    shim = Shim()
    import gc

    gc.collect()
    # copies of this process keep sharing what exists now: a collection would write to every object
    gc.freeze()
    return shim
