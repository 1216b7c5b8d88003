"""One pyctr on this host: its paths and the parts that work on them, each imported and made when first used."""

from __future__ import annotations

import os
from time import monotonic

from pyctr.core.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from functools import cached_property as lazy

    from pyctr.core.capture.answers import Answers
    from pyctr.core.cgroups import Layout
    from pyctr.core.cgroups.group import Manager
    from pyctr.core.events import Events
    from pyctr.core.images.layers import LayerStore
    from pyctr.core.images.store import ImageStore
    from pyctr.core.networks import Networks
    from pyctr.core.secrets import Secrets
    from pyctr.core.storage import Storage
    from pyctr.core.volumes import Volumes
else:

    class lazy:
        """functools.cached_property without functools, whose import would cost a start 3 ms."""

        def __init__(self, build):
            self.build = build
            self.__doc__ = build.__doc__

        def __get__(self, engine, owner):
            if engine is None:
                return self
            value = engine.__dict__[self.build.__name__] = self.build(engine)
            return value


class Engine:
    """What every verb works on. Cheap to make: nothing is read before it is needed."""

    recorded: Answers | None = None
    """Of a host that was recorded: what cannot be asked any more."""
    monotonic: Callable[[], float] = staticmethod(monotonic)
    """Seconds, for rates; a recorded host has its own."""

    def __init__(self, paths: Paths | None = None) -> None:
        self.paths = paths or Paths.from_environment()

    @lazy
    def images(self) -> ImageStore:
        from pyctr.core.images.store import ImageStore

        return ImageStore(self.paths)

    @lazy
    def layers(self) -> LayerStore:
        from pyctr.core.images.layers import LayerStore

        return LayerStore(self.paths)

    @lazy
    def storage(self) -> Storage:
        from pyctr.core.storage import Storage

        return Storage(self.paths, self.layers)

    @lazy
    def volumes(self) -> Volumes:
        from pyctr.core.volumes import Volumes

        return Volumes(self.paths)

    @lazy
    def secrets(self) -> Secrets:
        from pyctr.core.secrets import Secrets

        return Secrets(self.paths)

    @lazy
    def networks(self) -> Networks:
        from pyctr.core.networks import Networks

        return Networks(self.paths)

    @lazy
    def layout(self) -> Layout:
        """The cgroup hierarchies of this host."""
        from pyctr.core.cgroups import detect

        return detect(self.paths.cgroup_root)

    @lazy
    def events(self) -> Events:
        from pyctr.core.events import Events

        return Events(self.paths)

    def has_group(self, group: str) -> bool:
        """Whether a cgroup is there in any hierarchy; cheaper than making its manager."""
        mounts = {self.layout.unified, *self.layout.controllers.values()}
        return any(os.path.isdir(mount + group) for mount in mounts if mount)

    def group(self, group: str) -> Manager:
        """The manager of one container's cgroup."""
        from pyctr.core.cgroups import manager

        return manager(self.layout, group)
