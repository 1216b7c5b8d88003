"""What an act of the kernel can be done to: a container of ours, or of any other engine."""

from __future__ import annotations

from typing import NamedTuple

from pyctr.core import containers, errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.cgroups.group import Manager
    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.engines.model import Foreign

OURS = "pyctr"


class Target(NamedTuple):
    id: str
    name: str
    engine: str
    group: str
    """Its cgroup, such as "/pyctr/<id>" or "/docker/<id>"."""
    pid: int
    """Of its first process, as we count; 0 when it does not run."""

    @property
    def ours(self) -> bool:
        return self.engine == OURS

    def manager(self, engine: Engine) -> Manager:
        """Of its cgroup. Raises IllegalTransition when it does not run."""
        if not self.pid or not self.group:
            raise errors.IllegalTransition(f"container '{self.name}' does not run", hint="there is no cgroup to act on")
        return engine.group(self.group)


def of(container: Container) -> Target:
    """One of ours."""
    return Target(container.id, container.name, OURS, container.state.group, container.pid or 0)


def foreign(one: Foreign) -> Target:
    """One of another engine's."""
    return Target(one.id, one.name or one.id[:12], one.engine, one.group, one.pid)


def find(engine: Engine, ref: str) -> Target:
    """Ours by name, id or prefix, else another engine's, `docker:web` if need be. Raises NotFound, Ambiguous."""
    try:
        return of(containers.find(engine, ref))
    except errors.NotFound as unknown:
        from pyctr.core.engines import lookup

        try:
            found = lookup.find(engine, ref)
        except errors.NotFound:
            # what is near among ours is the better hint for a word without an engine
            if ":" in ref:
                raise
            raise unknown from None
    return foreign(found)
