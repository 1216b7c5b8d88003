"""What WWW-Authenticate says."""

from __future__ import annotations

import pytest

from pyctr.core.images.challenge import Challenge, parse


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="Registry Realm"', [Challenge(scheme="basic", realm="Registry Realm")]),
        (
            'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    scheme="bearer",
                    realm="https://auth.example/token",
                    service="registry.example",
                    scope="repository:a/b:pull,push",
                )
            ],
        ),
        (
            'Negotiate, bearer realm="https://a/t", Basic realm=plain',
            [Challenge(scheme="bearer", realm="https://a/t"), Challenge(scheme="basic", realm="plain")],
        ),
        (r'Basic realm="a \"quoted\" one"', [Challenge(scheme="basic", realm='a "quoted" one')]),
        (
            'Bearer error="invalid_token", realm = "https://a"',
            [Challenge(scheme="bearer", realm="https://a", error="invalid_token")],
        ),
        ("", []),
        ("Basic", [Challenge(scheme="basic")]),
        ('Bearer realm="cut', [Challenge(scheme="bearer", realm="cut")]),
    ],
)  # fmt: skip
def test_challenges_are_read(header: str, expected: list[Challenge]) -> None:
    assert parse(header) == expected
