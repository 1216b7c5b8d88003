"""An image from a registry: its manifest and the layers this host does not have, checked, unpacked, only then named.

Downloads run in threads, each layer is unpacked while it still arrives. The order that makes a crash harmless: blobs
and layers complete under names nobody looks at; one syncfs(2); blobs get their names; layers their links; the index its
entry. What was downloaded before a failure or a Ctrl-C is taken up by the next pull; see `download`.
"""

from __future__ import annotations

import threading

from pyctr.core.errors import ImageNotFound, NetworkError, PyctrError, StorageError
from pyctr.core.fsutil import sync_directory
from pyctr.core.images import documents, platforms, registries
from pyctr.core.images.access import Access
from pyctr.core.images.download import Partial, Reader, Restarted, fetch
from pyctr.core.images.model import INDEXES, Image, image
from pyctr.core.images.progress import DONE, DOWNLOADING, EXISTS, NOTE, UNPACKING, WAITING, Progress
from pyctr.core.images.transport import Cancel, Cancelled, Transport
from pyctr.core.images.workers import together
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyctr.core.images.layers import LayerStore
    from pyctr.core.images.model import Layer
    from pyctr.core.images.reference import Reference
    from pyctr.core.images.registry import Registry
    from pyctr.core.images.store import ImageStore
    from pyctr.core.images.workers import Tell

PARALLEL = 4
_DEPTH = 3
"""Indexes in indexes that are followed."""


class Found(Record):
    """What a reference leads to."""

    reference: Reference
    registry: Registry
    top: bytes
    """The manifest or index that the reference names."""
    top_digest: str
    manifest: bytes
    """Of the chosen platform; the same as `top` when that is no index."""
    document: dict[str, Any]
    digest: str


def pull(
    images: ImageStore,
    layers: LayerStore,
    text: str,
    *,
    platform: str = "",
    access: Access | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancel: Cancel | None = None,
) -> Image:
    """Fetch an image, whatever is here already. `progress` is called in this thread.

    Raises ImageNotFound, NetworkError, StorageError, Unsupported, UsageError, Cancelled; the image is then not there,
    or still the one it was.
    """
    cancel = cancel or Cancel()
    tell = progress or (lambda event: None)
    access = access or Access()
    transport = access.transport(cancel)
    try:
        with images.adding():
            found = locate(text, platform, access, transport, lambda note: tell(Progress(what=NOTE, text=note)))
            return _Pull(images, layers, found, transport, tell).run(keep_index=not platform)
    except StorageError:
        images.collect()  # nothing of a broken image stays, unless others need it
        raise
    finally:
        transport.close()


def locate(text: str, platform: str, access: Access, transport: Transport, note: Callable[[str], None]) -> Found:
    """Ask every place the configuration names, in order. Raises the most telling of their errors."""
    configuration = registries.load()
    problem: PyctrError | None = None
    for reference in configuration.candidates(text):
        for endpoint in configuration.endpoints(reference):  # a blocked one ends it: the next may be an impostor's
            registry = access.open(endpoint, transport, note)
            try:
                return _locate(registry, reference, platform)
            except (NetworkError, ImageNotFound) as error:
                # a mirror may lack it or be away; what counts then is what the registry itself says
                problem = error
                if endpoint.mirror:
                    note(f"mirror: {error.message}")
    raise problem or ImageNotFound(f"no registry is configured for '{text}'")


def _locate(registry: Registry, reference: Reference, platform: str) -> Found:
    what = f"the manifest of '{reference.familiar}'"
    content, media_type, digest = registry.manifest(reference.digest or reference.tag)
    top, top_digest = content, digest
    document, kind = documents.manifest(content, media_type, what)
    for _ in range(_DEPTH):
        if kind not in INDEXES:
            break
        entry = platforms.choose(document["manifests"], platform)
        if entry is None:
            wanted = platform or platforms.words(platforms.runnable()[0])
            there = ", ".join(platforms.offered(document["manifests"])[:12])
            raise ImageNotFound(
                f"'{reference.familiar}' has nothing for {wanted}", hint=f"it has {there}" if there else "it is empty"
            )
        content, media_type, digest = registry.manifest(entry["digest"])
        if len(content) != entry["size"]:
            raise StorageError(f"{what} has {len(content)} bytes, its index says {entry['size']}")
        document, kind = documents.manifest(content, media_type, what)
    else:
        raise StorageError(f"{what} is an index of indexes of indexes", hint="it is broken or hostile")
    return Found(
        reference=reference,
        registry=registry,
        top=top,
        top_digest=top_digest,
        manifest=content,
        document=document,
        digest=digest,
    )


class _Pull:
    """One image on its way."""

    def __init__(
        self,
        images: ImageStore,
        layers: LayerStore,
        found: Found,
        transport: Transport,
        tell: Callable[[Progress], None],
    ) -> None:
        self.images = images
        self.layers = layers
        self.found = found
        self.registry = found.registry
        self.cancel = transport.cancel
        self.tell = tell

    def run(self, *, keep_index: bool) -> Image:
        found, blobs = self.found, self.images.blobs
        wanted = self._image(self._configuration())
        self._layers(wanted)
        self.cancel.check()
        self.layers.ensure(wanted)
        keep_index = keep_index and found.top_digest != found.digest
        if keep_index:
            blobs.add(found.manifest)
        reference = found.reference
        name = f"{reference.name}@{reference.digest}" if reference.digest else str(reference)
        return self.images.add(found.top if keep_index else found.manifest, name)

    def _configuration(self) -> dict[str, Any]:
        descriptor = self.found.document["config"]
        digest, size = documents.descriptor(descriptor, "the manifest")
        what = f"the configuration of '{self.found.reference.familiar}'"
        blobs = self.images.blobs
        count = len(self.found.document["layers"])
        if blobs.has(digest):
            return documents.configuration(blobs.read(digest), count, what)
        if size > documents.LIMIT:
            raise StorageError(f"{what} is bigger than {documents.LIMIT >> 20} MiB", hint="it is no container image")
        content = self.registry.read(self.registry.blob(digest), documents.LIMIT, what)
        if len(content) != size:
            raise StorageError(f"{what} has {len(content)} bytes, its manifest says {size}", hint="it is broken")
        document = documents.configuration(content, count, what)
        with blobs.writer() as writer:
            writer.write(content)
            writer.commit(digest)
        return document

    def _image(self, configuration: dict[str, Any]) -> Image:
        return image(self.found.digest, [], self.found.document, configuration)

    def _layers(self, wanted: Image) -> None:
        """Every layer's blob in the store, its files unpacked."""
        missing: dict[str, Layer] = {}
        for layer in wanted.layers:
            if self.images.blobs.has(layer.digest):
                self.tell(Progress(what=EXISTS, digest=layer.digest, done=layer.size, total=layer.size))
            elif layer.digest not in missing:
                missing[layer.digest] = layer
                self.tell(Progress(what=WAITING, digest=layer.digest, total=layer.size))
        while missing:
            mine, others = [], []
            for layer in missing.values():
                partial = Partial(self.images.blobs, layer.digest, layer.size)
                if not partial.acquire():
                    others.append(layer)
                elif self.images.blobs.has(layer.digest):
                    partial.fail(StorageError("not needed"))
                    partial.close()  # another pyctr was just ready with it
                else:
                    mine.append((layer, partial))
            if mine:
                _Batch(self, mine).run()
            elif others:
                # another pyctr pulls it: nothing of ours is held meanwhile, so that two cannot wait for each other
                self.cancel.wait(0.2)
            missing = {layer.digest: layer for layer in others if not self.images.blobs.has(layer.digest)}


class _Batch:
    """The layers that this pyctr downloads itself, several at once."""

    def __init__(self, pull: _Pull, work: list[tuple[Layer, Partial]]) -> None:
        self.pull = pull
        self.work = work
        self.todo = list(work)
        self.lock = threading.Lock()

    def run(self) -> None:
        jobs = [self._unpack, *[self._download] * min(PARALLEL, len(self.work))]
        try:
            together(jobs, self.pull.tell, self.pull.cancel, self._fail)
            self._publish()
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for _, partial in self.work:
                partial.close()

    def _fail(self, error: BaseException) -> None:
        for _, partial in self.work:
            partial.fail(error)

    def _publish(self) -> None:
        blobs = self.pull.images.blobs
        self.pull.layers.flush()
        sync_blobs(blobs.ingest, self.pull.layers.root)
        for _, partial in self.work:
            partial.publish()
        sync_directory(blobs.directory)

    def _download(self, tell: Tell) -> None:
        while True:
            with self.lock:
                if not self.todo:
                    return
                layer, partial = self.todo.pop(0)
            try:
                fetch(self.pull.registry, partial, _Meter(tell, layer).bytes, _resumption(tell, layer))
            except BaseException as error:
                partial.fail(error)
                raise
            tell(Progress(what=UNPACKING, digest=layer.digest, done=layer.size, total=layer.size))

    def _unpack(self, tell: Tell) -> None:
        for layer, partial in self.work:
            try:
                self._receive(layer, partial)
                while partial.read(1, partial.size):
                    pass  # a layer that was unpacked already: wait until its blob is right
            except Cancelled:
                if partial.failure is None or isinstance(partial.failure, Cancelled):
                    raise
                return  # the download says why
            tell(Progress(what=DONE, digest=layer.digest, done=layer.size, total=layer.size))

    def _receive(self, layer: Layer, partial: Partial) -> None:
        while True:
            try:
                self.pull.layers.receive(layer, Reader(partial))
                return
            except Restarted:
                continue


def _resumption(tell: Tell, layer: Layer) -> Callable[[int], None]:
    def resumed(have: int) -> None:
        tell(Progress(what=NOTE, digest=layer.digest, text=f"{layer.digest[7:19]}: going on at byte {have}"))

    return resumed


class _Meter:
    """Tells of bytes, but not of every one."""

    def __init__(self, tell: Tell, layer: Layer) -> None:
        self.tell = tell
        self.layer = layer
        self.next = 0

    def bytes(self, have: int) -> None:
        if have >= self.next or have == self.layer.size:
            self.next = have + max(1 << 18, self.layer.size // 200)
            self.tell(Progress(what=DOWNLOADING, digest=self.layer.digest, done=have, total=self.layer.size))


def sync_blobs(directory: str, flushed: str) -> None:
    """The filesystem of the blobs, if that is another one than that of the layers."""
    import os

    from pyctr.core.linux.libc import check, libc

    if os.stat(directory).st_dev == os.stat(flushed).st_dev:
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        check(libc.syncfs(fd), "syncfs", directory)
    finally:
        os.close(fd)
