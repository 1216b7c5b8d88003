"""What a person types to find something, as a pattern."""

from __future__ import annotations

import re


def compile(text: str) -> re.Pattern[str] | None:
    """Smart case: a capital letter makes it count. What is no regex is taken literally; nothing typed is None."""
    if not text:
        return None
    flags = re.NOFLAG if any(char.isupper() for char in text) else re.IGNORECASE
    try:
        return re.compile(text, flags)
    except re.error:
        return re.compile(re.escape(text), flags)
