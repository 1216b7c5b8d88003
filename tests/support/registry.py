"""Debian's docker-registry on loopback, with TLS and passwords when asked, and a proxy that misbehaves on purpose."""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = shutil.which("docker-registry") or "/usr/bin/docker-registry"
needed = pytest.mark.skipif(not os.path.exists(PROGRAM), reason="needs docker-registry: apt install docker-registry")

USER, PASSWORD = "alice", "correct horse"


def htpasswd(user: str, password: str) -> str:
    """A line with a bcrypt hash, made by the C library (crypt(5))."""
    import ctypes

    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    hashed = crypt(password.encode(), b"$2b$05$abcdefghijklmnopqrstuu")
    assert hashed and hashed.startswith(b"$2b$"), "this libcrypt has no bcrypt"
    return f"{user}:{hashed.decode()}\n"


def certificates(directory: Path) -> None:
    """ca.crt, server.crt/.key for 127.0.0.1, localhost and registry.invalid, client.cert/.key, all of one authority."""

    def openssl(*words: str) -> None:
        done = subprocess.run(["openssl", *words], cwd=directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test authority")
    (directory / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.invalid\n")
    for name, extension in (("server", ("-extfile", "san")), ("client", ())):
        openssl("req", "-new", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.crt", "-days", "2", *extension)  # fmt: skip
    (directory / "client.crt").rename(directory / "client.cert")


class Registry:
    """A running docker-registry. `name` is its host:port."""

    def __init__(self, directory: Path, *, tls: bool = False, password: bool = False, client: bool = False) -> None:
        directory.mkdir(exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.name = f"127.0.0.1:{self.port}"
        self.directory = directory
        lines = ["version: 0.1", "log: {level: error, accesslog: {disabled: true}}",
                 f"storage: {{filesystem: {{rootdirectory: {directory}/data}}, delete: {{enabled: true}}}}",
                 "http:", f"  addr: {self.name}"]  # fmt: skip
        if tls:
            certificates(directory)
            lines += ["  tls:", f"    certificate: {directory}/server.crt", f"    key: {directory}/server.key"]
            if client:
                lines += [f"    clientcas: [{directory}/ca.crt]"]
        if password:
            (directory / "htpasswd").write_text(htpasswd(USER, PASSWORD))
            lines += ["auth:", f"  htpasswd: {{realm: test, path: {directory}/htpasswd}}"]
        (directory / "config.yml").write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [PROGRAM, "serve", str(directory / "config.yml")],
            stdout=subprocess.DEVNULL,
            stderr=(directory / "log").open("wb"),
        )
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None and time.monotonic() < deadline, (directory / "log").read_text()
            time.sleep(0.05)  # it tells nobody when it listens

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Proxy:
    """TCP between a client and a registry. `cut` decides after how many bytes of a connection it is closed.

    `requests` are the first lines and headers of everything that was asked, as text.
    """

    def __init__(
        self,
        port: int,
        cut: Callable[[int], int | None] = lambda number: None,
        cut_up: Callable[[int], int | None] = lambda number: None,
    ) -> None:
        self.target = port
        self.cut = cut
        self.cut_up = cut_up
        """Likewise, by the bytes that the client sends."""
        self.requests: list[str] = []
        self.connections = 0
        self.stall = False
        """Hold a connection that is used up open and silent, instead of closing it."""
        self.stalled = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.name = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def ranges(self) -> list[str]:
        """The Range headers that were sent."""
        return [found for text in self.requests for found in re.findall(r"(?im)^range: (.*)\r$", text)]

    def close(self) -> None:
        self._listener.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client, self.connections), daemon=True).start()

    def _serve(self, client: socket.socket, number: int) -> None:
        left, up = self.cut(number), self.cut_up(number)
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for source in ready:
                    try:
                        piece = source.recv(65536)
                    except OSError:
                        return
                    if not piece:
                        return
                    if source is client:
                        self.requests.append(piece.decode("latin-1"))
                        if up is not None:
                            piece = piece[:up]
                            up -= len(piece)
                        server.sendall(piece)
                        if up == 0:
                            return
                        continue
                    if left is not None:
                        piece = piece[:left]
                        left -= len(piece)
                    try:
                        client.sendall(piece)
                    except OSError:
                        return
                    if left == 0:
                        if not self.stall:
                            return
                        self.stalled.set()
                        select.select([client], [], [])  # until the client goes
                        return
