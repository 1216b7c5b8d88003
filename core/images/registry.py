"""One repository of a registry, spoken to by the OCI distribution spec: ping, authentication, retries, reading.

Writing is `upload`'s. Every method may be called from several threads.
"""

from __future__ import annotations

import threading
from urllib.parse import quote, urljoin, urlsplit

from pyctr.core import jsontext
from pyctr.core.errors import ImageNotFound, NetworkError, StorageError
from pyctr.core.images import challenge
from pyctr.core.images.auth import Credentials
from pyctr.core.images.challenge import Challenge, Token
from pyctr.core.images.documents import ACCEPT, LIMIT
from pyctr.core.images.reference import is_digest
from pyctr.core.images.registries import Endpoint, server
from pyctr.core.images.transport import NoTls, Transport, Unreachable, is_loopback, trusts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from urllib3 import BaseHTTPResponse

    Body = Callable[[], bytes | Iterable[bytes]]

ATTEMPTS = 5
PATIENCE = 300.0
"""Seconds that a registry may make us wait in one go (Retry-After)."""
_REDIRECTS = 8
_BUSY = (408, 429, 500, 502, 503, 504)
_ERROR_LIMIT = 1 << 16


class Answer(NetworkError):
    """A registry's refusal. `status` is HTTP's."""

    def __init__(self, message: str, status: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Registry:
    """A repository behind an endpoint. `tls_verify`: None asks only strangers for certificates (loopback need none)."""

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        credentials: Credentials,
        *,
        tls_verify: bool | None = None,
        cert_dir: str = "",
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.transport = transport
        self.credentials = credentials
        self.host = server(endpoint.registry)
        self._waiting = waiting
        self._lock = threading.Lock()
        self._base = ""
        self._challenges: list[Challenge] = []
        self._tokens: dict[tuple[str, ...], Token] = {}
        bare = urlsplit(f"//{self.host}").hostname or self.host
        if tls_verify is None:
            local = is_loopback(bare) and not trusts(self.host, cert_dir)
            self.insecure = endpoint.insecure or local
        else:
            self.insecure = not tls_verify

    # what is read

    def ping(self) -> None:
        """Find out how it speaks and what it asks for; checks credentials when there are some. Raises NetworkError."""
        self._connect()
        self.request("GET", "/v2/", scopes=[]).release_conn()

    def manifest(self, reference: str) -> tuple[bytes, str, str]:
        """(content, media type, digest) of a tag or digest. Raises ImageNotFound, NetworkError, StorageError."""
        try:
            response = self.request("GET", self._path("manifests", reference), {"Accept": ", ".join(ACCEPT)})
        except Answer as answer:
            raise self._no_manifest(answer, reference) from None
        content = self.read(response, LIMIT, f"the manifest of '{self._name(reference)}'")
        from hashlib import sha256

        digest = f"sha256:{sha256(content).hexdigest()}"
        said = response.headers.get("Docker-Content-Digest", "")
        for expected in (reference if is_digest(reference) else "", said if is_digest(said) else ""):
            if expected and expected != digest:
                raise StorageError(
                    f"the manifest of '{self._name(reference)}' has the digest '{digest}', not '{expected}'",
                    hint=f"'{self.host}' is broken, or somebody is in between",
                )
        return content, response.headers.get("Content-Type", ""), digest

    def blob(self, digest: str, start: int = 0) -> BaseHTTPResponse:
        """A blob's bytes from `start` on, or from 0 (status 200) when the registry knows no ranges.

        The caller reads and releases it. Raises NetworkError.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        return self.request("GET", self._path("blobs", digest), headers, ok=(200, 206))

    def has_blob(self, digest: str) -> bool:
        try:
            self.request("HEAD", self._path("blobs", digest), push=True).release_conn()
        except Answer as answer:
            if answer.status in (404, 405):
                return False
            raise
        return True

    def has_manifest(self, digest: str) -> bool:
        headers = {"Accept": ", ".join(ACCEPT)}
        try:
            self.request("HEAD", self._path("manifests", digest), headers, push=True).release_conn()
        except Answer as answer:
            if answer.status in (404, 405):
                return False
            raise
        return True

    def tags(self) -> list[str]:
        """All tags of the repository."""
        return [str(tag) for page in self._pages(self._path("tags", "list")) for tag in page.get("tags") or []]

    def catalog(self, limit: int = 10_000) -> list[str]:
        """Repositories of the whole registry, where it tells."""
        found: list[str] = []
        for page in self._pages("/v2/_catalog?n=1000", scopes=["registry:catalog:*"]):
            found += [str(name) for name in page.get("repositories") or []]
            if len(found) >= limit:
                break
        return found[:limit]

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """Descriptors of what refers to a manifest: signatures, attestations, SBOMs (spec, "Listing Referrers")."""
        try:
            pages = list(self._pages(self._path("referrers", digest)))
        except Answer as answer:
            if answer.status not in (400, 404, 405):
                raise
            try:
                content = self.manifest(digest.replace(":", "-"))[0]  # the tag schema of older registries
            except ImageNotFound:
                return []
            pages = [jsontext.loads(content)]
        return [one for page in pages for one in page.get("manifests") or [] if isinstance(one, dict)]

    # requests

    def request(
        self,
        method: str,
        where: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        *,
        ok: tuple[int, ...] = (200,),
        scopes: list[str] | None = None,
        push: bool = False,
        again: bool = True,
    ) -> BaseHTTPResponse:
        """An answered request: authenticated, redirected, repeated after failures that pass (unless not `again`).

        `where` is a path, or an address that the registry gave. `scopes` of None are those of the repository. Raises
        Answer for every status that is not `ok`, Unreachable.
        """
        self._connect()
        url = urljoin(self._base, where)
        if scopes is None:
            scopes = [f"repository:{self.endpoint.repository}:{'pull,push' if push else 'pull'}"]
        denied = False
        attempt = 1
        while True:
            try:
                response, asked = self._follow(method, url, dict(headers or {}), body, scopes)
            except NoTls:
                raise
            except Unreachable:
                if not again or attempt >= ATTEMPTS:
                    raise
                self._pause(0.2 * 2**attempt, "no answer")
                attempt += 1
                continue
            if response.status in ok:
                return response
            if response.status == 401 and not denied and asked:
                denied = True  # once more with what the challenge asks for: a first token, or a fresh one
                self._learn(response, scopes)
                continue
            problem = self._problem(response, where, denied)
            wait = _retry_after(response)
            if response.status not in _BUSY or attempt >= ATTEMPTS or not again:
                raise problem
            if wait > PATIENCE:
                problem.hint = f"it asks to come back in {_minutes(wait)}"
                raise problem
            why = "rate limit" if response.status == 429 else f"status {response.status}"
            self._pause(wait or 0.5 * 2**attempt, why)
            attempt += 1

    def read(self, response: BaseHTTPResponse, limit: int, what: str) -> bytes:
        """A small body, whole. Raises StorageError when it is too big, NetworkError when it is cut."""
        import urllib3

        try:
            length = response.headers.get("Content-Length", "")
            if length.isdecimal() and int(length) > limit:
                raise StorageError(f"{what} is bigger than {limit >> 20} MiB", hint="it is no container image")
            content = b""
            while len(content) <= limit and (piece := response.read(limit + 1 - len(content))):
                content += piece
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NetworkError(f"{what} was cut short: {type(error).__name__}") from None
        finally:
            response.release_conn()
        if len(content) > limit:
            raise StorageError(f"{what} is bigger than {limit >> 20} MiB", hint="it is no container image")
        if length.isdecimal() and len(content) < int(length):
            raise NetworkError(f"{what} was cut short: {len(content)} of {length} bytes")
        return content

    # inside

    def _path(self, kind: str, what: str) -> str:
        return f"/v2/{quote(self.endpoint.repository)}/{kind}/{quote(what, safe=':@')}"

    def _name(self, reference: str) -> str:
        return f"{self.endpoint.name}{'@' if ':' in reference else ':'}{reference}"

    def _connect(self) -> None:
        """Ping once: https, or http where that is allowed and nothing else answers."""
        with self._lock:
            if self._base:
                return
            tried: Unreachable | None = None
            for scheme in ("https", "http") if self.insecure else ("https",):
                base = f"{scheme}://{self.host}"
                try:
                    response = self.transport.send("GET", f"{base}/v2/", insecure=self.insecure)
                except Unreachable as error:
                    tried = tried or error
                    if isinstance(error, NoTls) or urlsplit(base).port is None:
                        continue
                    break
                try:
                    response.drain_conn()
                finally:
                    response.release_conn()
                if response.status == 401:
                    self._challenges = challenge.parse(response.headers.get("WWW-Authenticate", ""))
                elif response.status == 404:
                    raise Answer(f"'{self.host}' is no registry (404 for /v2/)", 404)
                self._base = base
                return
            raise tried or NetworkError(f"cannot talk to '{self.host}'")

    def _follow(
        self, method: str, url: str, headers: dict[str, str], body: Body | None, scopes: list[str]
    ) -> tuple[BaseHTTPResponse, bool]:
        """(the answer after redirects, whether it came from the registry itself)."""
        for _ in range(_REDIRECTS):
            own = urlsplit(url).netloc == urlsplit(self._base).netloc
            if urlsplit(url).scheme == "http" and self._base.startswith("https:") and not self.insecure:
                raise NetworkError(f"'{self.host}' leads to '{urlsplit(url).netloc}' without TLS")
            words = dict(headers)
            if own and (authorization := self._authorization(scopes)):
                words["Authorization"] = authorization
            content = body() if body is not None else None
            response = self.transport.send(method, url, words, content, insecure=self.insecure)
            target = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or not target:
                return response, own
            response.drain_conn()
            response.release_conn()
            url = urljoin(url, target)
        raise NetworkError(f"'{self.host}' redirects in circles")

    def _authorization(self, scopes: list[str]) -> str:
        with self._lock:
            for asked in self._challenges:
                if asked.scheme == "basic" and self.credentials:
                    return challenge.basic(self.credentials)
                if asked.scheme == "bearer":
                    key = tuple(scopes)
                    token = self._tokens.get(key)
                    if token is None or not token.fresh:
                        token = challenge.fetch_token(
                            self.transport,
                            asked,
                            scopes,
                            self.credentials,
                            insecure=self.insecure,
                            tls=self._base.startswith("https:"),
                        )
                        self._tokens[key] = token
                    return f"Bearer {token.value}"
        return ""

    def _learn(self, response: BaseHTTPResponse, scopes: list[str]) -> None:
        header = response.headers.get("WWW-Authenticate", "")
        response.drain_conn()
        response.release_conn()
        with self._lock:
            self._challenges = challenge.parse(header) or self._challenges
            self._tokens.pop(tuple(scopes), None)

    def _pause(self, seconds: float, why: str) -> None:
        if self._waiting is not None:
            self._waiting(f"{self.host}: {why}, trying again in {seconds:.0f} s")
        self.transport.cancel.wait(seconds)

    def _pages(self, where: str, scopes: list[str] | None = None) -> Iterable[dict[str, Any]]:
        for _ in range(1000):
            response = self.request("GET", where, scopes=scopes)
            content = self.read(response, LIMIT, f"the answer of '{self.host}'")
            try:
                page = jsontext.loads(content)
            except (ValueError, RecursionError):
                raise NetworkError(f"'{self.host}' answers something that is not JSON") from None
            if not isinstance(page, dict):
                raise NetworkError(f"'{self.host}' answers something that is no list")
            yield page
            link = response.headers.get("Link", "")
            if 'rel="next"' not in link or "<" not in link:
                return
            where = urljoin(urljoin(self._base, where), link.partition("<")[2].partition(">")[0])
            if urlsplit(where).netloc != urlsplit(self._base).netloc:
                return

    def _no_manifest(self, answer: Answer, reference: str) -> NetworkError | ImageNotFound:
        if answer.status == 404:
            return ImageNotFound(
                f"no image '{self._name(reference)}' at '{self.host}'", hint="is the name or the tag spelt right?"
            )
        return answer

    def _problem(self, response: BaseHTTPResponse, where: str, denied: bool) -> Answer:
        """The registry's own words, shortened, or ours for the usual cases."""
        import urllib3

        try:
            content = response.read(_ERROR_LIMIT)
        except (urllib3.exceptions.HTTPError, OSError):
            content = b""
        response.release_conn()
        said = ""
        try:
            errors = jsontext.loads(content).get("errors") or [{}]
            said = str(errors[0].get("message") or errors[0].get("code") or "")[:200]
        except (ValueError, AttributeError, TypeError, LookupError, RecursionError):
            pass  # a proxy's HTML, or nothing
        status = response.status
        registry = self.endpoint.registry
        if status in (401, 403):
            if self.credentials.username:
                text = f"'{registry}' does not let '{self.credentials.username}' do this with '{self.endpoint.name}'"
            else:
                text = f"'{registry}' wants a login for '{self.endpoint.name}', or there is no such image"
            return Answer(text, status, hint=f"pyctr login {registry}")
        if status == 429:
            return Answer(f"'{registry}' has had too many requests from here", status, hint=said)
        return Answer(f"'{self.host}' answers {status} for {urlsplit(where).path}", status, hint=said)


def _retry_after(response: BaseHTTPResponse) -> float:
    """Seconds; 0 without such a header (RFC 9110, 10.2.3: seconds or a date)."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    if not text:
        return 0.0
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
