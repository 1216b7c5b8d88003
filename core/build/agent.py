"""RUN --mount=type=ssh: a socket of our own, with the owner and mode asked for, that leads to the user's agent."""

from __future__ import annotations

import os
import select
import socket
import threading

_PIECE = 1 << 16


class Relay:
    """Connections to one socket passed on to another, until `close`. Our socket is `path`, which the caller unlinks
    when it is mounted: who has it there reaches it all the same, for the inode counts."""

    def __init__(self, agent: str, directory: str, mode: int, uid: int, gid: int) -> None:
        """`agent` is the path of the agent's socket. Raises OSError when nobody listens there."""
        self._agent = agent
        with socket.socket(socket.AF_UNIX) as trial:
            trial.connect(agent)
        name = os.urandom(4).hex()
        self.path = f"{directory}/{name}"
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            # by a path that fits whatever the length of the directory's
            place = f"/proc/self/fd/{fd}/{name}"
            self._listener.bind(place)
            os.chown(place, uid, gid)
            os.chmod(place, mode)
            self._fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        except BaseException:
            self._listener.close()
            raise
        finally:
            os.close(fd)
        self._listener.listen(16)
        self._over, self._end = os.pipe2(os.O_CLOEXEC)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def take(self) -> int:
        """A descriptor of the socket's inode, the caller's from now on."""
        return self._fd

    def close(self) -> None:
        os.close(self._end)  # every thread's poll sees it
        for thread in self._threads:
            thread.join()
        self._listener.close()
        os.close(self._over)

    def _accept(self) -> None:
        poller = select.poll()
        poller.register(self._listener, select.POLLIN)
        poller.register(self._over, select.POLLIN)
        while not any(fd == self._over for fd, _ in poller.poll()):
            try:
                inside, _ = self._listener.accept()
            except OSError:
                continue  # it hung up before its turn
            thread = threading.Thread(target=self._pass, args=(inside,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _pass(self, inside: socket.socket) -> None:
        with inside, socket.socket(socket.AF_UNIX) as outside:
            try:
                outside.connect(self._agent)
                other = {inside.fileno(): (inside, outside), outside.fileno(): (outside, inside)}
                poller = select.poll()
                for fd in (*other, self._over):
                    poller.register(fd, select.POLLIN)
                while True:
                    ready = [fd for fd, _ in poller.poll()]
                    if self._over in ready:
                        return
                    for fd in ready:
                        source, target = other[fd]
                        if not (data := source.recv(_PIECE)):
                            return
                        target.sendall(data)
            except OSError:
                return  # the agent, or who asked it, went away
