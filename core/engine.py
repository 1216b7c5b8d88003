"""One pyctr on this host: its paths and the parts that work on them, each imported and made when first used."""

from __future__ import annotations

from functools import cached_property

from pyctr.core.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Engine:
    """What every verb works on. Cheap to make: nothing is read before it is needed."""

    def __init__(self, paths: Paths | None = None) -> None:
        self.paths = paths or Paths.from_environment()

    @cached_property
    def images(self) -> Any:
        return _module("pyctr.core.images.store").ImageStore(self.paths)

    @cached_property
    def layers(self) -> Any:
        return _module("pyctr.core.images.layers").LayerStore(self.paths)

    @cached_property
    def storage(self) -> Any:
        return _module("pyctr.core.storage").Storage(self.paths, self.layers)

    @cached_property
    def volumes(self) -> Any:
        return _module("pyctr.core.volumes").Volumes(self.paths)

    @cached_property
    def networks(self) -> Any:
        return _module("pyctr.core.networks").Networks(self.paths)

    @cached_property
    def layout(self) -> Any:
        """The cgroup hierarchies of this host."""
        return _module("pyctr.core.cgroups").detect(self.paths.cgroup_root)

    @cached_property
    def events(self) -> Any:
        from pyctr.core.events import Events

        return Events(self.paths)

    def group(self, group: str) -> Any:
        """The manager of one container's cgroup."""
        return _module("pyctr.core.cgroups").manager(self.layout, group)


def _module(name: str) -> Any:
    import importlib

    return importlib.import_module(name)
