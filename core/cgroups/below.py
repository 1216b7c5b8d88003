"""A container's group of which a further process enters a part: groups that exist below it (exec --cgroup)."""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.cgroups.group import Manager


class Below(Manager):
    """`places` are "path", for every hierarchy, or "controller,controller:path" for those of v1; the last one counts.

    Raises UsageError for a path that leaves the group, a controller that is not there, a group that does not exist.
    """

    def __init__(self, group: Manager, places: list[str]) -> None:
        super().__init__(group.layout, group.group)
        everywhere, single = "", {}
        for place in places:
            names, colon, path = place.rpartition(":")
            if ".." in path.split("/"):
                raise errors.UsageError(f"--cgroup: '{place}' is not below the container's group")
            if not colon:
                everywhere = path
            for name in names.split(",") if colon else ():
                if not self.has_v1(name):
                    raise errors.UsageError(
                        f"--cgroup: '{name}' is no v1 controller of this host", hint="on v2 there is one group for all"
                    )
                single[name] = path
        self._paths = {
            names: _join(path, next((single[name] for name in names.split(",") if name in single), everywhere))
            for names, path in super().paths().items()
        }
        self.unified = self._paths.get("unified", "")
        for names, path in self._paths.items():
            # on v1 a container is not in every hierarchy
            chosen = everywhere or single.keys() & set(names.split(","))
            if chosen and os.path.isdir(super().paths()[names]) and not os.path.isdir(path):
                raise errors.UsageError(f"--cgroup: there is no '{path}'", hint="make it before something enters it")

    def paths(self) -> dict[str, str]:
        return self._paths


def _join(group: str, path: str) -> str:
    return f"{group}/{path.strip('/')}".rstrip("/")
