"""How a registry wants to be asked: WWW-Authenticate (RFC 7235) with Basic, or Bearer and a token server.

distribution's token authentication: GET realm?service&scope with Basic credentials, or POST (OAuth 2) with a refresh
token.
"""

from __future__ import annotations

import time
from urllib.parse import urlencode, urlsplit

from pyctr.core import jsontext
from pyctr.core.errors import NetworkError
from pyctr.core.images.auth import Credentials
from pyctr.core.images.transport import Transport
from pyctr.core.record import Record

_TOKEN_LIMIT = 1 << 20
_DEFAULT_LIFE = 60
_EARLY = 10
"""Seconds before its end at which a token is not used any more."""


class Challenge(Record):
    scheme: str
    """ "basic" or "bearer" """
    realm: str = ""
    service: str = ""
    scope: str = ""
    error: str = ""


class Token(Record):
    value: str
    until: float
    """time.monotonic() after which it is stale."""

    @property
    def fresh(self) -> bool:
        return time.monotonic() < self.until


def parse(header: str) -> list[Challenge]:
    """The challenges in WWW-Authenticate that pyctr knows, in order."""
    found = []
    rest = header.strip()
    while rest:
        scheme, _, rest = rest.partition(" ")
        fields: dict[str, str] = {}
        rest = rest.lstrip()
        while rest and not scheme.endswith(","):
            name, equals, after = rest.partition("=")
            if not equals or " " in name.strip() or not name.strip():
                break  # the next scheme begins
            value, rest = _value(after.lstrip())
            fields[name.strip().lower()] = value
            rest = rest.lstrip()
            if not rest.startswith(","):
                break
            rest = rest[1:].lstrip()
        alone = scheme.endswith(",")
        scheme = scheme.rstrip(",")
        if scheme.lower() in ("basic", "bearer"):
            known = {name: fields[name] for name in ("realm", "service", "scope", "error") if name in fields}
            found.append(Challenge(scheme=scheme.lower(), **known))
        elif not fields and not alone:
            rest = rest.partition(",")[2].lstrip()
    return found


def _value(text: str) -> tuple[str, str]:
    """(value, what follows) of a token or a quoted string."""
    if not text.startswith('"'):
        end = min((at for at in (text.find(","), text.find(" ")) if at >= 0), default=len(text))
        return text[:end], text[end:]
    out = []
    at = 1
    while at < len(text) and text[at] != '"':
        if text[at] == "\\":
            at += 1
        out.append(text[at : at + 1])
        at += 1
    return "".join(out), text[at + 1 :]


def basic(credentials: Credentials) -> str:
    import base64

    words = f"{credentials.username}:{credentials.password}".encode()
    return "Basic " + base64.b64encode(words).decode()


def fetch_token(
    transport: Transport,
    challenge: Challenge,
    scopes: list[str],
    credentials: Credentials,
    *,
    insecure: bool,
    tls: bool,
) -> Token:
    """A token for these scopes. `tls`: the registry itself is spoken to with TLS.

    Raises NetworkError: refused, unreachable, or a token server that would see the password in the clear.
    """
    parts = urlsplit(challenge.realm)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise NetworkError(f"the registry sends us to '{challenge.realm[:100]}' for a token, which is no address")
    if credentials and tls and parts.scheme != "https":
        raise NetworkError(
            f"the token server '{parts.netloc}' would see the password in the clear", hint="nothing was sent to it"
        )
    fields = [("service", challenge.service)] if challenge.service else []
    headers, body, method, url = {}, None, "GET", challenge.realm
    if credentials.identity_token:
        method = "POST"
        words = [*fields, ("scope", " ".join(scopes)), ("grant_type", "refresh_token"), ("client_id", "pyctr"),
                 ("refresh_token", credentials.identity_token)]  # fmt: skip
        body = urlencode(words).encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    else:
        fields += [("scope", scope) for scope in scopes]
        if credentials:
            fields.append(("account", credentials.username))
            headers["Authorization"] = basic(credentials)
        if fields:
            url += ("&" if parts.query else "?") + urlencode(fields)
    response = transport.send(method, url, headers, body, insecure=insecure)
    try:
        content = response.read(_TOKEN_LIMIT)
    except Exception as error:
        raise NetworkError(f"the token server '{parts.netloc}' broke off: {type(error).__name__}") from None
    finally:
        response.release_conn()
    if response.status != 200:
        raise Refused(parts.netloc, response.status, bool(credentials))
    try:
        document = jsontext.loads(content)
        value = str(document.get("token") or document.get("access_token") or "")
        life = float(document.get("expires_in") or _DEFAULT_LIFE)
    except (ValueError, AttributeError, TypeError, RecursionError):
        value = life = 0  # type: ignore[assignment]
    if not value or not value.isascii() or not value.isprintable():
        raise NetworkError(f"the token server '{parts.netloc}' sent no token")
    return Token(value=value, until=time.monotonic() + max(life - _EARLY, _EARLY))


class Refused(NetworkError):
    """The token server does not believe us."""

    def __init__(self, server: str, status: int, with_password: bool) -> None:
        if status in (400, 401, 403) and with_password:
            super().__init__(f"'{server}' does not accept the user name and password")
        else:
            super().__init__(f"the token server '{server}' answers {status}")
        self.status = status
