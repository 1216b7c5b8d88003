"""Names that tell of a secret, for masking (rather too many) and for blaming (rather too few)."""

from __future__ import annotations

import pytest

from pyctr.core.secretnames import is_secret

SURELY = "DB_PASSWORD dbPassword GITHUB_TOKEN AWS_SECRET_ACCESS_KEY API_KEY apikey PGPASSWORD PRIVATE_KEY client-secret"


@pytest.mark.parametrize("name", SURELY.split())
def test_surely(name: str) -> None:
    assert is_secret(name) and is_secret(name, surely=True)


@pytest.mark.parametrize("name", ["GPG_KEY", "SESSION_NAME", "AUTH_MODE", "SENTRY_DSN"])
def test_perhaps(name: str) -> None:
    assert is_secret(name) and not is_secret(name, surely=True)


@pytest.mark.parametrize(
    "name", ["PATH", "COMPASS", "PWD", "KEYBOARD", "TOKENIZER", "AUTHOR", "SSH_AUTH_SOCK", "PYTHON_VERSION"]
)
def test_innocent(name: str) -> None:
    assert not is_secret(name)
