"""Blobs and manifests into a repository: mounted from a neighbour, in one piece, or in chunks that survive a cut.

distribution-spec, "Push": POST an upload, PATCH chunks, PUT the digest.
"""

from __future__ import annotations

import os
from urllib.parse import quote, urljoin, urlsplit

from pyctr.core.errors import NetworkError
from pyctr.core.images.blobs import Blobs
from pyctr.core.images.progress import DONE, EXISTS, MOUNTED, UPLOADING, Progress
from pyctr.core.images.registry import ATTEMPTS, Answer, Registry
from pyctr.core.images.transport import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3 import BaseHTTPResponse

    from pyctr.core.images.workers import Tell

CHUNK = 16 << 20
"""Bytes up to which a blob goes in one piece, and of a chunk above that."""
_PIECE = 1 << 18
_NEIGHBOURS = 3
_BINARY = "application/octet-stream"


def blob(registry: Registry, blobs: Blobs, digest: str, size: int, neighbours: list[str], tell: Tell) -> None:
    """Make a blob be there. `neighbours` are repositories of that registry that may have it. Raises NetworkError."""
    if registry.has_blob(digest):
        tell(Progress(what=EXISTS, digest=digest, done=size, total=size))
        return
    for neighbour in neighbours[:_NEIGHBOURS]:
        if _mount(registry, digest, neighbour):
            tell(Progress(what=MOUNTED, digest=digest, done=size, total=size))
            return
    tell(Progress(what=UPLOADING, digest=digest, total=size))
    upload = _Upload(registry, blobs.path(digest), digest, size, tell)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            upload.run()
            break
        except Unreachable:
            if attempt == ATTEMPTS:
                raise
            registry.transport.cancel.wait(0.2 * 2**attempt)
    tell(Progress(what=DONE, digest=digest, done=size, total=size))


def manifest(registry: Registry, content: bytes, media_type: str, reference: str) -> None:
    """Put a manifest under a tag or its digest. Raises NetworkError."""
    where = f"/v2/{quote(registry.endpoint.repository)}/manifests/{quote(reference, safe=':')}"
    headers = {"Content-Type": media_type, "Content-Length": str(len(content))}
    registry.request("PUT", where, headers, lambda: content, ok=(200, 201, 202), push=True).release_conn()


def _mount(registry: Registry, digest: str, neighbour: str) -> bool:
    """Ask for a blob of another repository. A registry that will not opens an upload instead, which is left alone."""
    own = registry.endpoint.repository
    where = f"/v2/{quote(own)}/blobs/uploads/?mount={quote(digest)}&from={quote(neighbour, safe='')}"
    scopes = [f"repository:{own}:pull,push", f"repository:{neighbour}:pull"]
    try:
        response = registry.request("POST", where, {"Content-Length": "0"}, ok=(201, 202), scopes=scopes)
    except Answer:
        return False  # no right to read there, or no such feature
    response.release_conn()
    return bool(response.status == 201)


class _Upload:
    """One blob on its way. `run` may be called again after a cut."""

    def __init__(self, registry: Registry, path: str, digest: str, size: int, tell: Tell) -> None:
        self.registry = registry
        self.path = path
        self.digest = digest
        self.size = size
        self.tell = tell
        self.where = ""
        self.sent = 0
        self.chunked = size > CHUNK
        self.chunk = CHUNK

    def run(self) -> None:
        if self.where and self.chunked:
            self._ask_how_far()
        if not self.where:
            self._begin()
        if self.chunked:
            try:
                while self.sent < self.size:
                    self._patch()
            except Answer as answer:
                if answer.status not in (400, 404, 405, 411, 416, 501):
                    raise
                self.chunked = False  # a registry that wants blobs whole
                self._begin()
        self._put()

    def _begin(self) -> None:
        where = f"/v2/{quote(self.registry.endpoint.repository)}/blobs/uploads/"
        response = self.registry.request("POST", where, {"Content-Length": "0"}, ok=(202,), push=True)
        response.release_conn()
        self.sent = 0
        self._locate(response, where)
        least = response.headers.get("OCI-Chunk-Min-Length", "")
        if least.isdecimal():
            self.chunk = max(CHUNK, int(least))

    def _patch(self) -> None:
        count = min(self.chunk, self.size - self.sent)
        headers = {
            "Content-Type": _BINARY,
            "Content-Length": str(count),
            "Content-Range": f"{self.sent}-{self.sent + count - 1}",
        }
        response = self.registry.request(
            "PATCH", self.where, headers, lambda: self._pieces(self.sent, count), ok=(202,), push=True, again=False
        )
        response.release_conn()
        self.sent += count
        self._locate(response, self.where)

    def _put(self) -> None:
        rest = 0 if self.chunked else self.size
        where = f"{self.where}{'&' if urlsplit(self.where).query else '?'}digest={quote(self.digest, safe='')}"
        headers = {"Content-Type": _BINARY, "Content-Length": str(rest)}
        try:
            self.registry.request(
                "PUT", where, headers, lambda: self._pieces(0, rest), ok=(201, 204), push=True, again=False
            ).release_conn()
        except Unreachable:
            if not self.chunked:
                self.where = ""
            raise

    def _ask_how_far(self) -> None:
        """After a cut: what of the upload arrived (spec, "Chunked Upload": GET, Range)."""
        try:
            response = self.registry.request("GET", self.where, ok=(204,), push=True)
        except Answer:
            self.where = ""  # forgotten: from the beginning
            return
        response.release_conn()
        end = response.headers.get("Range", "").rpartition("-")[2]
        self.sent = int(end) + 1 if end.isdecimal() and int(end) else 0
        self._locate(response, self.where)

    def _locate(self, response: BaseHTTPResponse, before: str) -> None:
        where = response.headers.get("Location", "")
        if not where and not self.where:
            raise NetworkError(f"'{self.registry.host}' opens an upload but does not say where")
        if where:
            self.where = urljoin(before, where)

    def _pieces(self, start: int, count: int) -> Iterator[bytes]:
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            at, end = start, start + count
            while at < end and (piece := os.pread(fd, min(_PIECE, end - at), at)):
                yield piece
                at += len(piece)
                self.registry.transport.cancel.check()
                self.tell(Progress(what=UPLOADING, digest=self.digest, done=at, total=self.size))
        finally:
            os.close(fd)
