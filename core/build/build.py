"""A whole build: contexts, base images, stages in threads, and the image that comes out.

Nothing of a build is seen before it is through: layers are in the store but in no image, mounts belong to descriptors,
containers to this process, and what it keeps on disk meanwhile lies below a directory whose lock dies with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import threading
import time

from pyctr.core import whole
from pyctr.core.build import stages
from pyctr.core.build.cache import Cache
from pyctr.core.build.context import Context
from pyctr.core.build.dockerfile import Dockerfile
from pyctr.core.build.executor import Executor
from pyctr.core.build.progress import NOTE, Cancelled, Event, Stop
from pyctr.core.build.rootfs import Rootfs
from pyctr.core.build.state import State
from pyctr.core.errors import ImageNotFound, PyctrError, UsageError, from_oserror
from pyctr.core.fsutil import Lock, make_private_directory, remove_tree
from pyctr.core.images import base, platforms
from pyctr.core.images.model import platform_architecture

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyctr.core.engine import Engine
    from pyctr.core.images.model import Image
    from pyctr.core.images.platforms import Platform

_FAREWELL = 30.0
"""Seconds that the other stages get to end after one has failed."""


@dataclasses.dataclass
class Request:
    """What is asked of a build. `fetch` gets an image that is not here, by name and platform."""

    file: Dockerfile
    context: Context
    fetch: Callable[[str, str], Image]
    tags: list[str] = dataclasses.field(default_factory=list)
    arguments: dict[str, str] = dataclasses.field(default_factory=dict)
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    contexts: dict[str, str] = dataclasses.field(default_factory=dict)
    """--build-context: name -> directory, or docker-image://NAME."""
    secrets: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    agents: dict[str, str] = dataclasses.field(default_factory=dict)
    """--ssh: id -> socket."""
    target: str = ""
    platform: str = ""
    network: str = "bridge"
    add_hosts: list[str] = dataclasses.field(default_factory=list)
    no_cache: bool = False
    pull: bool = False
    epoch: int | None = None
    """SOURCE_DATE_EPOCH: no time in the image is later."""


class Build:
    """One build at work; the stages' executors ask it for all that they share."""

    def __init__(self, engine: Engine, request: Request, watch: Callable[[Event], None]) -> None:
        self.engine = engine
        self.request = request
        self.file = request.file
        self.arguments = request.arguments
        self.secrets, self.agents = request.secrets, request.agents
        self.no_cache, self.network, self.epoch = request.no_cache, request.network, request.epoch
        self.add_hosts = request.add_hosts
        self.graph = stages.graph(
            request.file,
            request.arguments,
            target=request.target,
            platform=request.platform,
            contexts=tuple(request.contexts),
        )
        self.platform: Platform = self.parsed_platform(request.platform)
        self.cache = Cache(engine.paths, engine.images)
        self.caches = f"{engine.paths.build}/mounts"
        self.stop = Stop()
        self.used: set[str] = set(self.graph.globals)
        self.now = float(request.epoch) if request.epoch is not None else time.time()
        self._watch = watch
        self._lock = threading.Lock()
        self._steps = 0
        self._serial = 0
        self._events: queue.SimpleQueue[Event | tuple[int, BaseException | None]] = queue.SimpleQueue()
        self._results: dict[int, State] = {}
        self._images: dict[tuple[str, str], tuple[threading.Lock, list[State]]] = {}
        self._work = f"{engine.paths.build}/work/{os.getpid()}-{os.urandom(4).hex()}"

    def run(self) -> Image:
        """The image, tagged. Raises BuildFailure, UsageError and others; then nothing of it is seen."""
        from pyctr.core.images.reference import parse

        for tag in self.request.tags:
            if parse(tag).digest:
                raise UsageError(f"--tag: '{tag}' is a digest, not a name", hint="NAME:TAG")
        try:
            with self._place(), self.engine.images.adding():
                # made once, before several threads ask for it
                self.engine.storage.ready()
                self._stages()
                self._complain()
                return self._store(self._results[self.graph.target])
        except OSError as error:
            raise from_oserror(error, "building") from error
        finally:
            self.stop.close()

    # for executors, from any thread

    def tell(self, event: Event) -> None:
        self._events.put(event)

    def begin(self) -> int:
        """The number of a step that begins now."""
        with self._lock:
            self._steps += 1
            return self._steps

    def scratch(self) -> str:
        """A path in the build's own directory where nothing is yet."""
        with self._lock:
            self._serial += 1
            return f"{self._work}/{self._serial}"

    def scratch_directory(self) -> str:
        path = self.scratch()
        os.mkdir(path, 0o700)
        return path

    @property
    def run_directory(self) -> str:
        """In a tmpfs, usually: what must not come to a disk."""
        return f"{self.engine.paths.run}/build/{os.path.basename(self._work)}"

    @staticmethod
    def parsed_platform(text: str) -> Platform:
        return platforms.parse(text or platform_architecture())

    def result(self, index: int) -> State:
        """A stage that is through. Raises UsageError for one that was not known to be needed (ONBUILD COPY --from)."""
        if index not in self._results:
            title = self.graph.stages[index].title
            raise UsageError(f"stage '{title}' is not built yet", hint=f"COPY --from={title} needs no ONBUILD here")
        return self._results[index]

    def base(self, name: str, platform: str = "") -> State:
        """An image to build on, from a --build-context, from here, or fetched; each once."""
        meant = self.request.contexts.get(name, name)
        if meant != name and not meant.startswith("docker-image://"):
            raise UsageError(f"--build-context {name}: FROM needs an image", hint="docker-image://NAME")
        name, platform = meant.removeprefix("docker-image://"), platform or self.request.platform
        with self._lock:
            lock, known = self._images.setdefault((name, platform), (threading.Lock(), []))
        with lock:
            if not known:
                known.append(State.of(self.engine.images, self._image(name, platform)))
        return known[0].copy()

    @contextlib.contextmanager
    def context_of(self, name: str) -> Iterator[Context]:
        """Where COPY --from=NAME takes files from: "" the context, a named one, a stage, an image."""
        if not name:
            yield self.request.context
            return
        given = self.request.contexts.get(name, "")
        if given and not given.startswith("docker-image://"):
            with Context.directory(given) as context:
                yield context
            return
        index = -1 if given else self.graph.find(name)
        state = self.result(index) if index >= 0 else self.base(name)
        with Rootfs(self.engine, state, self.scratch()) as files, Context.rootfs(files.fd) as context:
            yield context

    # inside

    def _image(self, name: str, platform: str) -> Image:
        images = self.engine.images
        local = name.startswith(("localhost/", "sha256:")) or base.is_base(name)
        if self.request.pull and not local:
            return self.request.fetch(name, platform)
        try:
            found = base.resolve(images, self.engine.layers, name)
        except ImageNotFound:
            if local:
                raise
            return self.request.fetch(name, platform)
        if platform and platforms.normal(found.os, found.architecture, "")[:2] != platforms.parse(platform)[:2]:
            if local:
                raise UsageError(f"image '{name}' is for {found.os}/{found.architecture}, not {platform}")
            return self.request.fetch(name, platform)
        return found

    def _stages(self) -> None:
        """Every stage as soon as what it needs is there; the first error ends all of them."""
        left = list(self.graph.order)
        running: dict[int, threading.Thread] = {}
        limit = max(4, (os.cpu_count() or 1) * 2)
        try:
            while left or running:
                for index in left[:]:
                    if len(running) < limit and self.graph.stages[index].needs <= self._results.keys():
                        left.remove(index)
                        thread = threading.Thread(target=self._stage, args=(index,), daemon=True)
                        running[index] = thread
                        thread.start()
                event = self._events.get()
                if isinstance(event, Event):
                    self._watch(event)
                    continue
                index, error = event
                running.pop(index).join()
                if error is not None:
                    raise error
        except BaseException:
            self.stop.set()
            deadline = time.monotonic() + _FAREWELL
            for thread in running.values():
                thread.join(max(0.0, deadline - time.monotonic()))
            self._drain()
            raise
        self._drain()

    def _stage(self, index: int) -> None:
        try:
            self._results[index] = Executor(self, self.graph.stages[index]).run()
        except BaseException as error:
            self._events.put((index, error))
        else:
            self._events.put((index, None))

    def _drain(self) -> None:
        while not self._events.empty():
            event = self._events.get()
            if isinstance(event, Event):
                self._watch(event)

    def _complain(self) -> None:
        unused = sorted(set(self.arguments) - self.used - stages.PREDEFINED - self.graph.declared)
        unused = [name for name in unused if name != "SOURCE_DATE_EPOCH"]
        if unused:
            self._watch(Event(NOTE, text=f"--build-arg {', '.join(unused)}: no ARG takes it"))

    def _store(self, state: State) -> Image:
        if self.request.labels:
            state.config["Labels"] = {**(state.config.get("Labels") or {}), **self.request.labels}
        engine = self.engine
        if state.layers:
            engine.layers.ensure(state.image())
        tags = self.request.tags or [""]
        made = [state.store(engine.images, tag) for tag in tags]
        return made[0]

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """The build's own directory; those of killed builds go."""
        parent = os.path.dirname(self._work)
        make_private_directory(parent)
        for name in os.listdir(parent):
            if name.endswith(".lock"):
                _sweep(self.engine, f"{parent}/{name}")
        lock = Lock(f"{self._work}.lock")
        with lock:
            os.mkdir(self._work, 0o700)
            try:
                yield
            finally:
                remove_tree(self.run_directory)
                remove_tree(self._work)
                os.unlink(lock.path)


def _sweep(engine: Engine, path: str) -> None:
    lock = Lock(path)
    if lock.try_acquire():
        work = path.removesuffix(".lock")
        try:
            remove_tree(f"{engine.paths.run}/build/{os.path.basename(work)}")
            whole.remove_all(engine.layers, engine.paths.replace(root=work).containers)
            remove_tree(work)
            os.unlink(path)
        finally:
            lock.release()


def arguments(words: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    """--build-arg NAME=VALUE, or NAME alone: the value of the environment's variable, if there is one."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            found[name] = value
        elif name in environment:
            found[name] = environment[name]
    return found


__all__ = ["Build", "Cancelled", "PyctrError", "Request", "arguments"]
