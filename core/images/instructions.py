"""Instructions of a Dockerfile that change only an image's configuration: --change of import and commit."""

from __future__ import annotations

import json
import shlex

from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Config = dict[str, Any]

KNOWN = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")
_SHELL = ["/bin/sh", "-c"]


def apply(config: Config, text: str) -> None:
    """Change the member "config" of an image configuration in place. Raises UsageError naming the instruction."""
    name, _, rest = text.strip().partition(" ")
    name, rest = name.upper(), rest.strip()
    if name not in KNOWN or not rest:
        raise UsageError(f"cannot change an image by '{text}'", hint=f"one of {', '.join(KNOWN)}, with a value")
    try:
        if name == "CMD":
            config["Cmd"] = command(rest, config)
        elif name == "ENTRYPOINT":
            config["Entrypoint"] = command(rest, config)
            config.pop("Cmd", None)
        elif name == "ENV":
            for key, value in pairs(rest):
                config["Env"] = [one for one in config.get("Env") or [] if one.partition("=")[0] != key]
                config["Env"].append(f"{key}={value}")
        elif name == "LABEL":
            config["Labels"] = {**(config.get("Labels") or {}), **dict(pairs(rest))}
        elif name == "EXPOSE":
            ports: dict[str, Any] = {word if "/" in word else f"{word}/tcp": {} for word in shlex.split(rest)}
            config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **ports}
        elif name == "VOLUME":
            words = words_of(rest)
            config["Volumes"] = {**(config.get("Volumes") or {}), **{word: {} for word in words}}
        elif name == "ONBUILD":
            config["OnBuild"] = [*(config.get("OnBuild") or []), rest]
        elif name == "WORKDIR":
            base = config.get("WorkingDir") or "/"
            config["WorkingDir"] = rest if rest.startswith("/") else f"{base.rstrip('/')}/{rest}"
        else:
            config["User" if name == "USER" else "StopSignal"] = rest
    except ValueError as error:
        raise UsageError(f"cannot understand '{text}': {error}") from None


def command(text: str, config: Config) -> list[str]:
    """The exec form, a JSON array, or the shell form."""
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    return [*(config.get("Shell") or _SHELL), text]


def words_of(text: str) -> list[str]:
    """A JSON array of words, or words."""
    if text.startswith("["):
        words = json.loads(text)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("not a list of words")
        return words
    return shlex.split(text)


def pairs(text: str) -> list[tuple[str, str]]:
    """KEY=VALUE KEY="VALUE" …, or the old form KEY VALUE. Raises ValueError."""
    first = text.split(None, 1)
    if "=" not in first[0]:
        if len(first) < 2:
            raise ValueError("a name without a value")
        return [(first[0], first[1])]
    found = []
    for word in shlex.split(text):
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ValueError(f"'{word}' is not KEY=VALUE")
        found.append((key, value))
    return found
