"""Files that ADD fetches by URL."""

from __future__ import annotations

import os
from hashlib import sha256

from pyctr.core.errors import NetworkError, UsageError, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any
    from typing import BinaryIO as Binary

    from pyctr.core.images.transport import Transport

_REDIRECTS = 10


class Download:
    """A fetched file: `name` from the URL or the server ("" for none), `mtime_ns` of Last-Modified (0: none)."""

    def __init__(self, name: str, path: str, digest: str, mtime_ns: int) -> None:
        self.name = name
        self.path = path
        self.digest = digest
        self.mtime_ns = mtime_ns

    def open(self) -> Binary:
        return open(self.path, "rb")

    def close(self) -> None:
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass  # closed twice


def is_url(word: str) -> bool:
    return word.lower().startswith(("http://", "https://"))


def fetch(url: str, scratch: str, checksum: str = "") -> Download:
    """Fetch a file into a new one in the directory `scratch`, redirects followed.

    `checksum` is "sha256:…" or "". Raises NetworkError, UsageError for another checksum than the file's.
    """
    algorithm, colon, wanted = checksum.partition(":")
    if checksum and (algorithm != "sha256" or not colon or len(wanted) != 64):
        raise UsageError(f"--checksum={checksum} is no digest pyctr knows", hint="sha256: and 64 hex digits")
    from pyctr.core.images.transport import Transport

    transport = Transport(connections=1)
    try:
        response, final = _follow(transport, url)
        try:
            path = f"{scratch}/{os.urandom(8).hex()}"
            digest = _save(response, path, url)
            if checksum and digest != checksum.lower():
                os.unlink(path)
                raise UsageError(f"'{url}' really is '{digest}'", hint="is --checksum right? has the file changed?")
            return Download(_name(final, response.headers), path, digest, _modified(response.headers))
        finally:
            response.release_conn()
    finally:
        transport.close()


def _follow(transport: Transport, url: str) -> tuple[Any, str]:
    """(the answer, the address that gave it)."""
    from urllib.parse import urljoin

    for _ in range(_REDIRECTS):
        response = transport.send("GET", url)
        location = response.headers.get("Location", "")
        if response.status in (301, 302, 303, 307, 308) and location:
            url = urljoin(url, location)
            response.drain_conn()
            if not is_url(url):
                raise NetworkError(f"a redirect to '{url[:100]}' is not followed")
            continue
        if response.status != 200:
            response.drain_conn()
            raise NetworkError(f"'{url}' answers {response.status} {response.reason or ''}".rstrip())
        return response, url
    raise NetworkError(f"'{url}' redirects too often")


def _save(response: Any, path: str, url: str) -> str:
    import urllib3

    content = sha256()
    length = response.headers.get("Content-Length", "")
    got = 0
    try:
        with open(path, "xb") as file:
            for piece in response.stream(1 << 18, decode_content=False):
                content.update(piece)
                file.write(piece)
                got += len(piece)
        if length.isdecimal() and got != int(length):
            raise NetworkError(f"'{url}' was cut after {got} of {length} bytes", hint="try again")
    except urllib3.exceptions.HTTPError as error:
        os.unlink(path)
        raise NetworkError(f"'{url}' was cut: {error}", hint="try again") from None
    except OSError as error:
        raise from_oserror(error, f"saving '{url}'") from error
    return f"sha256:{content.hexdigest()}"


def _name(url: str, headers: Mapping[str, str]) -> str:
    """What the server calls it (Content-Disposition), or else the last part of the path that was asked for."""
    from email.message import Message
    from urllib.parse import unquote, urlsplit

    message = Message()
    message["Content-Disposition"] = headers.get("Content-Disposition", "")
    name = message.get_filename() or unquote(urlsplit(url).path.rpartition("/")[2])
    name = name.replace("\\", "/").rpartition("/")[2]
    return "" if name in (".", "..") or "\0" in name else name


def _modified(headers: Mapping[str, str]) -> int:
    from email.utils import parsedate_to_datetime

    try:
        return int(parsedate_to_datetime(headers.get("Last-Modified", "")).timestamp()) * 1_000_000_000
    except (ValueError, TypeError):
        return 0
