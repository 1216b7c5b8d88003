"""Which names stand for something that nobody else should see: variables, flags, keys of documents."""

from __future__ import annotations

import re

_WORDS = frozenset((
    "pass", "password", "passwd", "passphrase", "pwd", "pw", "secret", "secrets", "token", "tokens", "key", "keys",
    "apikey", "cred", "creds", "credential", "credentials", "auth", "authorization", "cookie", "cookies", "session",
    "jwt", "dsn", "salt", "signature", "private", "pin", "otp",
))  # fmt: skip
_VAGUE = frozenset(("key", "keys", "auth", "cookie", "cookies", "session", "dsn", "salt", "signature", "pin", "pw"))
_ENDS = ("password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "privatekey", "encryptionkey")
_INNOCENT = frozenset({"PWD", "OLDPWD", "XDG_SESSION_ID", "SSH_AUTH_SOCK"})
_SPLIT = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
USERINFO = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)(?=@)")
"""The password of a URL is its second group."""


def is_secret(name: str, *, surely: bool = False) -> bool:
    """Whether a variable, flag or key of this name may hold something nobody else should see; `surely`: hardly ever
    does not, as GPG_KEY and SESSION do."""
    if name in _INNOCENT:
        return False
    words = [word.lower() for word in _SPLIT.split(name) if word]
    if "".join(words).endswith(_ENDS):
        return True
    return any((word in _WORDS and not (surely and word in _VAGUE)) or word.endswith(_ENDS) for word in words)
