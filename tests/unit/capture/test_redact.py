"""What counts as a secret, and that everything else stays as it is."""

from __future__ import annotations

import pytest

from pyctr.core.capture.redact import MASK, Redactor
from pyctr.core.secretnames import is_secret


@pytest.mark.parametrize(
    "name",
    [
        *("PASSWORD", "DB_PASSWORD", "POSTGRES_PASSWORD", "MYSQL_PWD", "apiKey", "API_KEY", "AWS_SECRET_ACCESS_KEY"),
        *("GITHUB_TOKEN", "authToken", "session-cookie", "dbpassword", "PGPASSWORD", "private_key", "SENTRY_DSN"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["PATH", "PWD", "OLDPWD", "KEYBOARD", "AUTHOR", "MONKEY", "COMPASS", "TERM", "HOME"])
def test_names_of_others(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["app", "--password=hunter2"], ["app", f"--password={MASK}"]),
        (["app", "--password", "hunter2"], ["app", "--password", MASK]),
        (["app", "--db-token", "abc", "x"], ["app", "--db-token", MASK, "x"]),
        (["mysql", "-phunter2", "-u", "root"], ["mysql", f"-p{MASK}", "-u", "root"]),
        (["curl", "-u", "me:hunter2", "http://x"], ["curl", "-u", f"me:{MASK}", "http://x"]),
        (["env", "DB_PASSWORD=hunter2", "MODE=fast"], ["env", f"DB_PASSWORD={MASK}", "MODE=fast"]),
        (["sh", "-c", "app --secret hunter2 --port 80"], ["sh", "-c", f"app --secret {MASK} --port 80"]),
        (["app", "postgres://me:hunter2@db/x"], ["app", f"postgres://me:{MASK}@db/x"]),
        (["tar", "-p", "--keep", "x"], ["tar", "-p", "--keep", "x"]),
        (["ssh", "-p", "22", "--verbose"], ["ssh", "-p", "22", "--verbose"]),
    ],
)
def test_command_lines(words: list[str], wanted: list[str]) -> None:
    assert Redactor().words(words) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("password: hunter2", f"password: {MASK}"),
        ('{"token": "abc def", "n": 1}', f'{{"token": "{MASK}", "n": 1}}'),
        ("GET / Authorization: Bearer abcdefgh12345", f"GET / Authorization: Bearer {MASK}"),
        ("password incorrect for bob", "password incorrect for bob"),
        ("took 12 ms, 3 tokens left", "took 12 ms, 3 tokens left"),
        ("key AKIAABCDEFGHIJKLMNOP used", f"key {MASK} used"),
    ],
)
def test_lines_of_logs(text: str, wanted: str) -> None:
    assert Redactor().text(text) == wanted


def test_a_value_once_learned_is_found_everywhere_but_names_stay() -> None:
    redactor = Redactor()
    redactor.learn_document({"process": {"env": ["DB_PASSWORD=postgres", "URL=http://a:s3cretpw@x/", "MODE=fast"]}})
    assert redactor.text("fast: postgres s3cretpw") == f"fast: {MASK} {MASK}"
    document = {"image_name": "postgres", "name": "postgres", "labels": {"note": "postgres!"}, "count": 3}
    assert redactor.document(document) == {**document, "labels": {"note": f"{MASK}!"}}
    assert redactor.masked == 3


def test_bytes_of_any_encoding_come_through() -> None:
    assert Redactor().raw(b"\xff\xfe caf\xe9\n") == b"\xff\xfe caf\xe9\n"


def test_off_changes_nothing() -> None:
    redactor = Redactor(off=True)
    redactor.learn_environment(["PASSWORD=hunter22"])
    assert redactor.text("PASSWORD=hunter22") == "PASSWORD=hunter22"
    assert redactor.words(["--password", "x"]) == ["--password", "x"]
    assert redactor.document({"token": "x"}) == {"token": "x"}
