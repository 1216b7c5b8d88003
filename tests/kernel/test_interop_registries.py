"""registries.conf as podman understands it: for each file and name, both tools ask the same places in the same order.

One server on loopback stands for every registry. It has no image, so that each tool goes through its whole list.
"""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import Host

pytestmark = pytest.mark.skipif(shutil.which("podman") is None, reason="needs podman: apt install podman")

DIGEST = "sha256:" + "a" * 64
MIRRORS = """
[[registry]]
prefix = "images.example/team"
location = "{one}/real"
insecure = true
[[registry.mirror]]
location = "{two}/first"
insecure = true
{first}
[[registry.mirror]]
location = "{one}/second"
insecure = true
{second}
"""
OPEN = '[[registry]]\nlocation = "{one}"\ninsecure = true\n[[registry]]\nlocation = "{two}"\ninsecure = true\n'
TO = 'insecure = true\nlocation = "{one}/'
SEARCH = 'unqualified-search-registries = ["{one}", "{two}"]\n'

CASES = {
    "mirrors come before the location": (MIRRORS, "images.example/team/app:1"),
    "mirrors for digests": (MIRRORS, f"images.example/team/app@{DIGEST}", 'pull-from-mirror = "digest-only"'),
    "mirrors for digests, and a tag": (MIRRORS, "images.example/team/app:1", 'pull-from-mirror = "digest-only"'),
    "mirrors for tags": (MIRRORS, "images.example/team/app:1", 'pull-from-mirror = "tag-only"'),
    "mirrors for tags, and a digest": (MIRRORS, f"images.example/team/app@{DIGEST}", 'pull-from-mirror = "tag-only"'),
    "all mirrors for digests": (
        MIRRORS.replace("insecure = true\n", "insecure = true\nmirror-by-digest-only = true\n", 1),
        "images.example/team/app:1",
    ),
    "the longest prefix": (
        '[[registry]]\nprefix = "images.example"\n' + TO + 'a"\n'
        '[[registry]]\nprefix = "images.example/team"\n' + TO + 'b"\n'
        '[[registry]]\nprefix = "images.example/te"\n' + TO + 'c"\n',
        "images.example/team/app:1",
    ),
    "a prefix with a tag": (
        '[[registry]]\nprefix = "images.example/team/app:1"\n' + TO + 'pinned:7"\n'
        '[[registry]]\nprefix = "images.example"\n' + TO + 'a"\n',
        "images.example/team/app:1",
    ),
    "another tag than the prefix's": (
        '[[registry]]\nprefix = "images.example/team/app:1"\n' + TO + 'pinned:7"\n'
        '[[registry]]\nprefix = "images.example"\n' + TO + 'a"\n',
        "images.example/team/app:12",
    ),
    "a wildcard": ('[[registry]]\nprefix = "*.example"\n' + TO + 'all"\n', "a.b.example/team/app:1"),
    "a wildcard with mirrors": (
        '[[registry]]\nprefix = "*.example"\n' + TO + 'all"\n'
        '[[registry.mirror]]\nlocation = "{two}/near"\ninsecure = true\n',
        "a.b.example/team/app:1",
    ),
    "docker's own names": (
        '[[registry]]\nprefix = "docker.io"\n' + TO + 'hub"\n'
        '[[registry]]\nprefix = "docker.io/zzz"\n' + TO + 'wrong"\n',
        "docker.io/zzz:1",
    ),
    "an alias": (OPEN + '[aliases]\n"zzz" = "{two}/team/app"\n', "zzz:3"),
    "an alias and a digest": (OPEN + '[aliases]\n"zzz" = "{two}/team/app"\n', f"zzz@{DIGEST}"),
    "an alias into a prefix": ('[aliases]\n"zzz" = "images.example/team/app"\n' + MIRRORS, "zzz:3"),
    "one registry to search": ('unqualified-search-registries = ["{two}"]\n' + OPEN, "team/zzz:1"),
    "several, and nothing said of guessing": (SEARCH + OPEN, "zzz:1"),
    "several, permissive": (SEARCH + 'short-name-mode = "permissive"\n' + OPEN, "zzz:1"),
    "several, no questions": (SEARCH + 'short-name-mode = "disabled"\n' + OPEN, "zzz:1"),
    "several, nobody may guess": (SEARCH + 'short-name-mode = "enforcing"\n' + OPEN, "zzz:1"),
    "blocked": ('[[registry]]\nprefix = "{one}/team"\nblocked = true\ninsecure = true\n', "{one}/team/app:1"),
    "one of two blocked": (
        SEARCH + OPEN + '[[registry]]\nprefix = "{one}/team"\nblocked = true\n',
        "team/zzz:1",
    ),
    "the old format": (
        '[registries.search]\nregistries = ["{one}"]\n[registries.insecure]\nregistries = ["{one}"]\n',
        "zzz:1",
    ),
}


class Nothing(http.server.ThreadingHTTPServer):
    """A registry without images that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.one, self.two = (f"{name}:{self.server_address[1]}" for name in ("127.0.0.1", "localhost"))


class Handler(http.server.BaseHTTPRequestHandler):
    server: Nothing

    def do_GET(self) -> None:
        if "/manifests/" in self.path:
            self.server.asked.append(f"{self.headers['Host']}{self.path}")
        self.send_response(200 if self.path == "/v2/" else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Nothing]:
    found = Nothing()
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.mark.parametrize("case", CASES)
def test_both_ask_the_same_places(case: str, server: Nothing, bare_host: Host, tmp_path: Path) -> None:
    text, name, *limit = CASES[case]
    fields = {"one": server.one, "two": server.two, "first": "".join(limit), "second": ""}
    configuration = Path(bare_host.env["CONTAINERS_REGISTRIES_CONF"])
    configuration.write_text(text.format(**fields))
    name = name.format(**fields)

    server.asked.clear()
    ours = bare_host.run("pull", name, check=False)
    assert ours.returncode == 1 and len(ours.stderr.splitlines()) >= 1, ours.stderr
    asked = list(server.asked)

    server.asked.clear()
    roots = ("--root", f"{bare_host.base}/pm", "--runroot", f"{bare_host.base}/pr", "--storage-driver", "vfs")
    words = ["podman", *roots, "pull", "-q", name]
    env = {**os.environ, "CONTAINERS_REGISTRIES_CONF": str(configuration), "HOME": str(tmp_path)}
    theirs = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert theirs.returncode != 0
    assert asked == server.asked, f"{ours.stderr}\n{theirs.stderr}"
