"""What the create form asks of the core, each in a thread, each answered by one message."""

from __future__ import annotations

import threading

from textual.message import Message

from pyctr.core import errors
from pyctr.core.engine import Engine
from pyctr.tui import form
from pyctr.tui import format as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.paths import Paths
    from pyctr.core.spec import ContainerSpec

BASE_ABOUT = "the host's own shell and tools"


class Planned(Message):
    """What would be done for `spec`, or why it cannot be and which field says so."""

    def __init__(
        self,
        spec: ContainerSpec,
        steps: list[tuple[str, str]],
        problem: str = "",
        hint: str = "",
        field: str = "",
    ) -> None:
        super().__init__()
        self.spec = spec
        self.steps = steps
        self.problem = problem
        self.hint = hint
        self.field = field


class Offered(Message):
    """Images and networks that are there: (value, label, about)."""

    def __init__(self, images: list[tuple[str, str, str]], networks: list[tuple[str, str, str]]) -> None:
        super().__init__()
        self.images = images
        self.networks = networks


class Made(Message):
    """A container, or why there is none."""

    def __init__(
        self, id: str = "", name: str = "", *, started: bool = False, problem: str = "", hint: str = ""
    ) -> None:
        super().__init__()
        self.id = id
        self.name = name
        self.started = started
        self.problem = problem
        self.hint = hint


def in_thread(name: str, work: Callable[[], object]) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


class Planner:
    """One thread that describes the latest spec; what was typed over meanwhile is never planned."""

    def __init__(self, post: Callable[[Planned], object]) -> None:
        self._post = post
        self._lock = threading.Lock()
        self._wanted: tuple[Paths, ContainerSpec] | None = None
        self._busy = False

    def want(self, paths: Paths, spec: ContainerSpec) -> None:
        with self._lock:
            self._wanted = (paths, spec)
            if self._busy:
                return
            self._busy = True
        in_thread("plan", self._run)

    def _run(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, None
                if wanted is None:
                    self._busy = False
                    return
            paths, spec = wanted
            self._post(describe(Engine(paths), spec))


def describe(engine: Engine, spec: ContainerSpec) -> Planned:
    """The plan; nothing is made, not even the base image, which any other use would make."""
    from pyctr.core import dryrun
    from pyctr.core.images import base

    try:
        if base.is_base(spec.image) and engine.images.find(spec.image) is None:
            return Planned(
                spec, [("resolve image", f"{spec.image} is made first, from the host's own shell and tools")]
            )
        return Planned(spec, dryrun.describe(engine, spec))
    except errors.ImageNotFound as error:
        return Planned(spec, [], str(error), error.hint, "image")
    except errors.NotFound as error:
        return Planned(spec, [], str(error), error.hint, "network")
    except (errors.PyctrError, OSError) as error:
        return Planned(spec, [], str(error), getattr(error, "hint", ""))


def choices(engine: Engine) -> Offered:
    """What can be chosen. A store that cannot be read offers what needs none."""
    images = [(form.DEFAULT_IMAGE, form.DEFAULT_IMAGE, BASE_ABOUT)]
    networks: list[tuple[str, str, str]] = []
    try:
        for image in engine.images.list():
            # a name that is not what it looks like is not offered
            names = [name for name in image.names or [image.short_id] if f.neutral(name) == name]
            images += [(name, name, f.size(image.size)) for name in names if name != f"{form.DEFAULT_IMAGE}:latest"]
        known = [one for one in engine.networks.list() if one.name != form.DEFAULT_NETWORK]
        networks += [(one.name, one.name, one.subnet) for one in known if f.neutral(one.name) == one.name]
    except (errors.PyctrError, OSError):
        pass  # the plan says what is wrong with what was chosen
    return Offered(images, networks)


def make(engine: Engine, spec: ContainerSpec, *, start: bool) -> Made:
    """A container, started if asked. One that cannot be started is taken back, so that the form can be tried again."""
    from pyctr.core import lifecycle

    verb = "create"
    try:
        container = lifecycle.create(engine, spec)
        if start:
            verb = "start"
            try:
                lifecycle.start(engine, container).close()
            except (errors.PyctrError, OSError):
                try:
                    lifecycle.remove(engine, container.id, force=True, volumes=True)
                except errors.NotFound:
                    pass  # made with auto-remove: gone by itself
                raise
    except (errors.PyctrError, OSError) as error:
        words = [f.neutral(text) for text in (str(error), getattr(error, "hint", "")) if text]
        return Made(problem=f"cannot {verb} {f.neutral(spec.name or 'the container')}", hint="\n".join(words))
    return Made(container.id, container.name, started=start)
