"""A registry of the test's own making, for what no honest registry does: lies, limits, token servers."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pyctr.core.images.model import CONFIG, LAYER, MANIFEST, platform_architecture
from tests.support.images import archive, digest, member

Answer = tuple[int, dict[str, str], bytes]


class Forger:
    """Serves `answers`: path -> (status, headers, body), or a list of them, one per request, the last one for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"/v2/": (200, {}, b"{}")}
        self.requests: list[tuple[str, dict[str, str]]] = []
        forger = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                forger.requests.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
                found = forger.answers.get(path, (404, {}, b'{"errors":[{"message":"not here"}]}'))
                if callable(found):
                    found = found(self.headers)
                if isinstance(found, list):
                    found = found.pop(0) if len(found) > 1 else found[0]
                status, headers, body = found
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                pass  # the test looks at `requests`

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.name = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Forger:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def blob(self, content: bytes, repository: str = "acme/app") -> dict[str, Any]:
        """Serve a blob; its descriptor."""
        self.answers[f"/v2/{repository}/blobs/{digest(content)}"] = (200, {}, content)
        return {"digest": digest(content), "size": len(content)}

    def document(self, layers: list[bytes], **changes: object) -> dict[str, Any]:
        """The manifest of an image whose blobs are served."""
        config = {
            "architecture": platform_architecture(),
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
            **changes,
        }
        return {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **self.blob(json.dumps(config).encode())},
            "layers": [{"mediaType": LAYER, **self.blob(layer)} for layer in layers],
        }

    def tag(self, document: object, tag: str = "1", kind: str = MANIFEST, repository: str = "acme/app") -> str:
        """Serve a manifest under a tag and its digest; its digest."""
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        answer = (200, {"Content-Type": kind}, content)
        for reference in (tag, digest(content)):
            self.answers[f"/v2/{repository}/manifests/{reference}"] = answer
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def asked(self, word: str) -> list[dict[str, str]]:
        """Headers of the requests whose path has a word in it."""
        return [headers for path, headers in self.requests if word in path]


GOOD = archive([member("etc/"), member("etc/os", "good")])
