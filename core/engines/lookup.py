"""Which containers of other engines a user means: by engine, and by name."""

from __future__ import annotations

from pyctr.core import errors
from pyctr.core.engines.finder import Finder
from pyctr.core.engines.model import ENGINES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from pyctr.core.engine import Engine
    from pyctr.core.engines.model import Foreign

OURS = "pyctr"
ALL = (OURS, *(name for name in ENGINES if name != "systemd"))
"""What `all` means: services are shown on request only, there are hundreds."""
_SAME = {"nerdctl": "containerd", "ctr": "containerd", "k8s": "kubernetes", "crio": "cri-o", "machinectl": "nspawn"}


def engines(text: str) -> tuple[str, ...]:
    """The engines of `docker,podman`, `all`, `pyctr`. Raises UsageError."""
    chosen: list[str] = []
    for word in text.lower().split(","):
        name = _SAME.get(word.strip(), word.strip())
        if name == "all":
            chosen += ALL
        elif name in (OURS, *ENGINES):
            chosen.append(name)
        else:
            raise errors.UsageError(
                f"no engine '{word.strip()}' is known", hint=f"one of all, {OURS}, {', '.join(ENGINES)}"
            )
    return tuple(dict.fromkeys(chosen))


def look(engine: Engine, wanted: Collection[str], finder: Finder | None = None) -> tuple[list[Foreign], str]:
    """Those of the wanted engines now, and what this user may not know of them."""
    finder = finder or Finder(engine.paths, engine.layout, services="systemd" in wanted)
    found = [one for one in finder.look() if one.engine in wanted]
    return found, finder.limited


def find(engine: Engine, ref: str, finder: Finder | None = None) -> Foreign:
    """The container `docker:web`, or `web` where only one engine has it: exact name, else id, else its beginning.

    Raises NotFound and Ambiguous (its hint lists the candidates).
    """
    prefix, colon, rest = ref.partition(":")
    prefix = _SAME.get(prefix, prefix)
    if not colon or prefix not in ENGINES:
        prefix, rest = "", ref
    finder = finder or Finder(engine.paths, engine.layout, services=prefix == "systemd")
    everyone = [one for one in finder.look() if not prefix or one.engine == prefix]
    for fitting in (
        [one for one in everyone if rest in (one.name, one.id)],
        [one for one in everyone if len(rest) >= 2 and one.id.startswith(rest)],
    ):
        # what runs is meant before what has ended under the same name
        chosen = [one for one in fitting if one.running] or fitting
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            shown = ", ".join(f"{one.engine}:{one.short_id} ({one.name})" for one in chosen[:8])
            raise errors.Ambiguous(f"'{ref}' fits {len(chosen)} containers", hint=f"say one of: {shown}")
    hint = "'pyctr ps -a --all-engines' lists the containers of all engines"
    raise errors.NotFound(f"no container '{ref}'", hint=f"{hint}; {finder.limited}" if finder.limited else hint)
