"""HTTP to registries over urllib3: TLS, proxies, errors in words. A request goes out once; retrying is `registry`'s.

Certificates come from containers-certs.d(5): <dir>/<host[:port]>/*.crt are further authorities, *.cert with *.key a
client's. Redirects are not followed here, because credentials must not go along.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

from pyctr.core.errors import NetworkError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from urllib3 import BaseHTTPResponse

CONNECT_TIMEOUT = 15.0
READ_TIMEOUT = 60.0
_CERTIFICATES = ("/etc/containers/certs.d", "/etc/docker/certs.d")


class Cancelled(Exception):
    """The user wants no more of it."""


class Cancel:
    """A wish to stop, for all threads of one transfer. Waiting on it is how they pause."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._live: set[Any] = set()

    def set(self) -> None:
        """Stop: whoever checks raises, whoever reads from a socket is woken."""
        self._event.set()
        with self._lock:
            live = list(self._live)
        for response in live:
            interrupt(response)

    @property
    def wanted(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        if self._event.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Raises Cancelled as soon as somebody wants to stop."""
        if self._event.wait(seconds):
            raise Cancelled

    def watch(self, response: Any) -> None:
        with self._lock:
            self._live.add(response)
        self.check()

    def forget(self, response: Any) -> None:
        with self._lock:
            self._live.discard(response)


def interrupt(response: Any) -> None:
    """Shut the socket below a response down, so that a thread blocked in it goes on."""
    import socket

    sock = getattr(getattr(response, "connection", None), "sock", None)
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed just now


class Unreachable(NetworkError):
    """No HTTP answer came: trying again, or another endpoint, may help."""


class NoTls(Unreachable):
    """Something answered, but not with TLS."""


class Transport:
    """Connections of one command, kept and shared by its threads."""

    def __init__(self, *, cert_dir: str = "", cancel: Cancel | None = None, connections: int = 8) -> None:
        self.cancel = cancel or Cancel()
        self._cert_dir = cert_dir
        self._connections = connections
        self._pools: dict[tuple[str, bool, str], Any] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        *,
        insecure: bool = False,
    ) -> BaseHTTPResponse:
        """One request; the body of the answer is not read yet. Raises Unreachable, NoTls, Cancelled."""
        import urllib3

        self.cancel.check()
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise NetworkError(f"'{url[:100]}' is no address of a registry")
        pool = self._pool(parts.scheme, parts.netloc.rpartition("@")[2], parts.hostname, insecure)
        words = {"User-Agent": user_agent(), "Accept-Encoding": "identity", **(headers or {})}
        try:
            response: BaseHTTPResponse = pool.request(
                method, url, headers=words, body=body, preload_content=False, decode_content=False,
                redirect=False, retries=False,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
            )  # fmt: skip
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            self.cancel.check()
            raise unreachable(parts.netloc, error) from None
        return response

    def close(self) -> None:
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.clear()

    # inside

    def _pool(self, scheme: str, netloc: str, host: str, insecure: bool) -> Any:
        proxy = proxy_for(scheme, netloc, host)
        key = (netloc if scheme == "https" else "", insecure, proxy)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = self._make_pool(netloc, insecure, proxy, scheme)
            return self._pools[key]

    def _make_pool(self, netloc: str, insecure: bool, proxy: str, scheme: str) -> Any:
        import urllib3

        options: dict[str, Any] = {"maxsize": self._connections, "num_pools": 16}
        if scheme == "https":
            options["ssl_context"] = tls_context(netloc, insecure, self._cert_dir)
        if insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if not proxy:
            return urllib3.PoolManager(**options)
        parts = urlsplit(proxy)
        if parts.scheme not in ("http", "https"):
            raise Unsupported(f"a proxy of the kind '{parts.scheme}'", hint="pyctr speaks to HTTP proxies")
        words = {}
        if parts.username:
            basic = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            words = urllib3.make_headers(proxy_basic_auth=basic)
        bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return urllib3.ProxyManager(bare, proxy_headers=words, **options)


def user_agent() -> str:
    from pyctr import __version__

    return f"pyctr/{__version__}"


def proxy_for(scheme: str, netloc: str, host: str) -> str:
    """The proxy that HTTPS_PROXY, HTTP_PROXY, NO_PROXY (either case) ask for; none for this machine itself."""
    if is_loopback(host):
        return ""
    found = _variable(f"{scheme}_proxy")
    if not found or any(_spares(rule.strip().lower(), netloc, host) for rule in _variable("no_proxy").split(",")):
        return ""
    return found if "://" in found else f"http://{found}"


def _variable(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.upper(), "")


def _spares(rule: str, netloc: str, host: str) -> bool:
    """Does one word of NO_PROXY cover this host? A domain covers those below it; networks are in CIDR form."""
    from ipaddress import ip_address, ip_network

    if not rule:
        return False
    if rule == "*" or rule in (host.lower(), netloc.lower()):
        return True
    if "/" in rule:
        try:
            return ip_address(host) in ip_network(rule, strict=False)
        except ValueError:
            return False
    rule = rule.removeprefix("*")
    return host.lower().endswith(rule if rule.startswith(".") else f".{rule}")


def is_loopback(host: str) -> bool:
    """Is it this machine under a name nobody else can take?"""
    from ipaddress import ip_address

    host = host.strip("[]")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def certificates(netloc: str, cert_dir: str = "") -> list[str]:
    """Files for this registry, in name order, of the given directory or of the first that has any."""
    if cert_dir:
        folders = [cert_dir]
    else:
        config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        folders = [f"{top}/{netloc}" for top in (f"{config}/containers/certs.d", *_CERTIFICATES)]
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            if cert_dir:
                raise NetworkError(f"cannot read the certificate directory '{cert_dir}'") from None
            continue
        if names:
            return [f"{folder}/{name}" for name in names]
    return []


def trusts(netloc: str, cert_dir: str = "") -> bool:
    """Did the user say whose certificates count for this registry? Then loopback is no excuse."""
    return any(path.endswith(".crt") for path in certificates(netloc, cert_dir))


def tls_context(netloc: str, insecure: bool, cert_dir: str = "") -> ssl.SSLContext:
    """Verifying against the host's authorities and certs.d, unless `insecure`; with the client's certificate if any."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for path in certificates(netloc, cert_dir):
        try:
            if path.endswith(".crt"):
                context.load_verify_locations(path)
            elif path.endswith(".cert"):
                context.load_cert_chain(path, f"{path[:-5]}.key")
        except FileNotFoundError:
            raise NetworkError(f"'{path}' has no key beside it", hint=f"it should be '{path[:-5]}.key'") from None
        except (OSError, ssl.SSLError) as error:
            raise NetworkError(f"cannot use the certificate '{path}': {error}") from None
    return context


def unreachable(netloc: str, error: BaseException) -> Unreachable:
    """What urllib3 met, as one line."""
    import urllib3

    text = str(error)
    reason: BaseException = error
    while reason.__cause__ is not None or reason.__context__ is not None:
        reason = reason.__cause__ or reason.__context__ or reason
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "certificate verify failed"
        return Unreachable(
            f"the certificate of '{netloc}' is not trusted: {why}",
            hint=f"put its authority into /etc/containers/certs.d/{netloc}/ca.crt, or use --tls-verify=false",
        )
    if "alert" in text.lower() and "certificate" in text.lower():
        return Unreachable(
            f"'{netloc}' wants a client certificate",
            hint=f"put it into /etc/containers/certs.d/{netloc}/ as client.cert and client.key",
        )
    if isinstance(error, urllib3.exceptions.SSLError):
        return NoTls(
            f"'{netloc}' does not speak TLS",
            hint="for a registry of plain HTTP: --tls-verify=false, or 'insecure = true' in registries.conf",
        )
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return Unreachable(f"the name of '{netloc}' is not known", hint="is it spelt right? does DNS work here?")
    if isinstance(reason, ConnectionRefusedError):
        return Unreachable(f"'{netloc}' refuses the connection", hint="is a registry running there?")
    if isinstance(error, urllib3.exceptions.TimeoutError) or isinstance(reason, TimeoutError):
        return Unreachable(f"'{netloc}' does not answer", hint="is a proxy needed (HTTPS_PROXY)?")
    words = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason) or type(reason).__name__
    return Unreachable(f"cannot talk to '{netloc}': {words.lower()[:200]}")
