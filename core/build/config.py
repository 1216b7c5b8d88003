"""Instructions that change only an image's configuration (image-spec config.md, and Docker's members of it)."""

from __future__ import annotations

import re
from posixpath import normpath

from pyctr.core import signals
from pyctr.core.build import expand
from pyctr.core.build.source import failure
from pyctr.core.errors import UsageError
from pyctr.core.images import instructions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyctr.core.build.dockerfile import Instruction

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?$", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_SHORTEST = 10**6
"""Nanoseconds: Docker takes no shorter time of a health check than a millisecond."""


def apply(config: dict[str, Any], one: Instruction, variables: Mapping[str, str], escape: str, own: set[str]) -> str:
    """Change `config` in place; what the history says of it. `own` collects the names of what this stage has set.

    Raises BuildFailure at the instruction.
    """
    try:
        told = _APPLY[one.name](config, one, variables, escape, own)
    except (expand.BadWord, ValueError) as error:
        raise failure(one.place, str(error)) from None
    except UsageError as error:
        raise failure(one.place, error.message, hint=error.hint) from None
    own.add(one.name)
    return f"{one.name} {told}"


def shell(config: Mapping[str, Any]) -> list[str]:
    """What the shell form is run by."""
    return list(config.get("Shell") or ["/bin/sh", "-c"])


def workdir(config: Mapping[str, Any], path: str) -> str:
    """An absolute path out of WORKDIR's word and the working directory so far."""
    base = path if path.startswith("/") else f"{config.get('WorkingDir') or '/'}/{path}"
    return "/" + normpath(f"/{base}").lstrip("/")


def duration(text: str) -> int:
    """Nanoseconds of Go's notation, 1m30s. Raises ValueError."""
    total, at = 0, 0
    for match in _DURATION.finditer(text):
        if match.start() != at:
            break
        total, at = total + round(float(match[1]) * _UNITS[match[2]]), match.end()
    if text == "0":
        return 0
    if not text or at != len(text):
        raise ValueError(f"'{text}' is no time: write 30s, 1m30s or 500ms")
    return total


def _command(config: dict[str, Any], one: Instruction) -> list[str]:
    return list(one.words) if one.words is not None else [*shell(config), one.text]


def _cmd(config: dict[str, Any], one: Instruction, *_: Any) -> str:
    config["Cmd"] = _command(config, one)
    return _json(config["Cmd"])


def _entrypoint(config: dict[str, Any], one: Instruction, _v: Any, _e: str, own: set[str]) -> str:
    config["Entrypoint"] = _command(config, one)
    if "CMD" not in own:
        # arguments that the base image had for its own entrypoint
        config.pop("Cmd", None)
    return _json(config["Entrypoint"])


def _env(config: dict[str, Any], one: Instruction, variables: Mapping[str, str], escape: str, _: set[str]) -> str:
    found = [(key, expand.word(value, variables, escape)) for key, value in _pairs(one, variables, escape)]
    env = list(config.get("Env") or [])
    for key, value in found:
        at = next((index for index, old in enumerate(env) if old.partition("=")[0] == key), len(env))
        env[at : at + 1] = [f"{key}={value}"]
    config["Env"] = env
    return " ".join(f"{key}={value}" for key, value in found)


def _label(config: dict[str, Any], one: Instruction, variables: Mapping[str, str], escape: str, _: set[str]) -> str:
    found = {key: expand.word(value, variables, escape) for key, value in _pairs(one, variables, escape)}
    config["Labels"] = {**(config.get("Labels") or {}), **found}
    return " ".join(f"{key}={value}" for key, value in found.items())


def _pairs(one: Instruction, variables: Mapping[str, str], escape: str) -> list[tuple[str, str]]:
    found = []
    for key, value in expand.pairs(one.text, escape):
        name = expand.word(key, variables, escape)
        if not name:
            raise expand.BadWord(f"the name '{key}' is empty")
        found.append((name, value))
    return found


def _expose(config: dict[str, Any], one: Instruction, variables: Mapping[str, str], escape: str, _: set[str]) -> str:
    ports = dict(config.get("ExposedPorts") or {})
    for text in expand.words(one.text, variables, escape):
        match = _PORT.match(text)
        first = int(match[1]) if match else 0
        last = int(match[2] or first) if match else 0
        if match is None or not 0 < first <= last <= 65535:
            raise ValueError(f"'{text}' is no port: write 80, 53/udp or 8000-8010")
        ports.update({f"{port}/{(match[3] or 'tcp').lower()}": {} for port in range(first, last + 1)})
    config["ExposedPorts"] = dict(sorted(ports.items()))
    return one.text


def _volume(config: dict[str, Any], one: Instruction, variables: Mapping[str, str], escape: str, _: set[str]) -> str:
    if one.words is not None:
        paths = [expand.word(word, variables, escape) for word in one.words]
    else:
        paths = [expand.word(word, variables, escape) for word in one.text.split()]
    if not paths or not all(path.strip() for path in paths):
        raise ValueError("the path of a volume is empty")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in paths}}
    return _json(paths)


def _user(config: dict[str, Any], one: Instruction, variables: Mapping[str, str], escape: str, _: set[str]) -> str:
    config["User"] = expand.word(one.text, variables, escape)
    return str(config["User"])


def _workdir(config: dict[str, Any], one: Instruction, variables: Mapping[str, str], escape: str, _: set[str]) -> str:
    path = expand.word(one.text, variables, escape)
    if not path:
        raise ValueError(f"the path '{one.text}' is empty")
    config["WorkingDir"] = workdir(config, path)
    return str(config["WorkingDir"])


def _stopsignal(config: dict[str, Any], one: Instruction, variables: Mapping[str, str], escape: str, _: Any) -> str:
    text = expand.word(one.text, variables, escape)
    signals.number(text)
    config["StopSignal"] = text
    return text


def _shell(config: dict[str, Any], one: Instruction, *_: Any) -> str:
    if not one.words:
        raise ValueError('SHELL takes the JSON form: SHELL ["/bin/bash", "-c"]')
    config["Shell"] = list(one.words)
    return _json(config["Shell"])


def _maintainer(config: dict[str, Any], one: Instruction, *_: Any) -> str:
    return one.text


def _onbuild(config: dict[str, Any], one: Instruction, *_: Any) -> str:
    config["OnBuild"] = [*(config.get("OnBuild") or []), one.text]
    return one.text


def _healthcheck(config: dict[str, Any], one: Instruction, *_: Any) -> str:
    kind, rest = [*one.text.split(None, 1), ""][:2]
    if kind.upper() == "NONE":
        if rest or one.flags:
            raise ValueError("HEALTHCHECK NONE takes nothing else")
        config["Healthcheck"] = {"Test": ["NONE"]}
        return "NONE"
    if kind.upper() != "CMD" or not rest.strip():
        raise ValueError("HEALTHCHECK takes CMD and a command, or NONE")
    words = instructions.command(rest.strip(), {"Shell": ["CMD-SHELL"]})
    found: dict[str, Any] = {"Test": words if words[0] == "CMD-SHELL" and not rest.startswith("[") else ["CMD", *words]}
    for flag, member in (
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start-period", "StartPeriod"),
        ("start-interval", "StartInterval"),
    ):
        if text := one.flag(flag):
            found[member] = duration(text)
            if 0 < found[member] < _SHORTEST:
                raise ValueError(f"--{flag}={text} is shorter than 1ms")
    if text := one.flag("retries"):
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"--retries: '{text}' is no number")
        if int(text):
            found["Retries"] = int(text)
    config["Healthcheck"] = found
    return one.place.text.split(None, 1)[1]


def _json(words: list[str]) -> str:
    import json

    return json.dumps(words, ensure_ascii=False)


_APPLY = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
