"""Unpacked layers: each once, named by its diffID, shared by every image and container that has it.

    <root>/layers/<hex>/diff        the directory overlayfs stacks
    <root>/layers/<hex>/layer.json  {"diff_id", "size", "entries", "opaque", "boot"}
    <root>/layers/<hex>.lock .tmp   of the pyctr unpacking it just now
    <root>/layers/l/<short>         -> ../<hex>/diff   short, because 500 lower directories must fit in one page of
                                    mount options; -> ../<hex>/diff/. when the layer hides everything below it

A link exists only after its layer is complete and on disk, so one readlink(2) per layer tells a warm start everything.
"""

from __future__ import annotations

import os

from pyctr.core.errors import StorageError
from pyctr.core.fsutil import Lock, make_private_directory, read_json, write_json
from pyctr.core.images.reference import is_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any, Protocol

    from pyctr.core.images.model import Image, Layer
    from pyctr.core.paths import Paths

    class Source(Protocol):
        """What a layer's bytes are read from."""

        def read(self, count: int, /) -> bytes: ...


_SHORT = 6


class LayerStore:
    """All unpacked layers of one pyctr."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.root = paths.layers
        self.links = f"{paths.layers}/l"
        self.snapshots = f"{paths.root}/snapshots"
        """Of the btrfs driver."""
        self.datasets = f"{paths.root}/datasets"
        """Of the zfs driver."""

    def path(self, diff_id: str) -> str:
        """The directory of an unpacked layer (or where it would be)."""
        return f"{self.root}/{_hex(diff_id)}/diff"

    def has(self, diff_id: str) -> bool:
        return self._link(_hex(diff_id)) is not None

    def info(self, diff_id: str) -> dict[str, Any]:
        """What was counted while unpacking: "size" in bytes of files, "entries". Empty when not unpacked."""
        try:
            document: dict[str, Any] = read_json(f"{self.root}/{_hex(diff_id)}/layer.json")
        except (OSError, ValueError):
            return {}
        return document

    def lower(self, image: Image) -> list[str] | None:
        """Short absolute paths for overlayfs's lowerdir, topmost first; None when a layer is not unpacked."""
        stack = []
        seen = set()
        for layer in reversed(image.layers):
            if layer.diff_id in seen:
                continue  # overlayfs refuses a directory twice; the upper one alone says the same
            seen.add(layer.diff_id)
            link = self._link(_hex(layer.diff_id))
            if link is None:
                return None
            short, opaque = link
            stack.append(f"{self.links}/{short}")
            if opaque:
                break
        return stack

    def ensure(
        self,
        image: Image,
        progress: Callable[[Layer, int, int], None] | None = None,
        checked: Collection[str] = (),
    ) -> list[str]:
        """Unpack what is missing, each layer once however many pyctrs want it; then like `lower`.

        `progress` is called with a layer, its number from 1 and how many are being unpacked. `checked` are digests of
        blobs that the caller has just written and found right. Raises StorageError for damaged or hostile layers;
        nothing of such a layer stays.
        """
        stack = self.lower(image)
        if stack is not None:
            return stack
        missing = [layer for layer in image.layers if not self.has(layer.diff_id)]
        make_private_directory(self.links)
        self._sweep()
        for number, layer in enumerate(missing, 1):
            if progress:
                progress(layer, number, len(missing))
            self._ensure_one(layer, checked=checked)
        self._to_disk()
        for layer in missing:
            self._make_link(_hex(layer.diff_id))
        stack = self.lower(image)
        if stack is None:
            raise StorageError(f"a layer of image '{image.short_id}' vanished while it was unpacked")
        return stack

    def receive(self, layer: Layer, blob: Source) -> None:
        """Unpack a layer from bytes that may still be on their way. `ensure` makes it usable. Raises as `ensure`."""
        if not self.has(layer.diff_id):
            make_private_directory(self.links)
            self._ensure_one(layer, blob)

    def adopt(self, digest: str) -> str:
        """Unpack a blob that was just written, whose diffID nobody knows; returns it. `ensure` makes it usable.

        Raises as `ensure`.
        """
        from shutil import rmtree

        from pyctr.core.images.blobs import Blobs

        make_private_directory(self.links)
        self._sweep()
        work = f"{self.root}/new-{_hex(digest)}"
        with Lock(f"{work}.lock") as lock:
            try:
                if os.path.exists(f"{work}.tmp"):
                    rmtree(f"{work}.tmp")  # of a pyctr that died
                with Blobs(self.paths.images).open(digest) as blob:
                    diff_id = self._unpack(blob, f"{work}.tmp", sure=digest)
                name = _hex(diff_id)
                with Lock(f"{self.root}/{name}.lock") as other:
                    try:
                        if self._missing(diff_id):
                            self._remove(name)
                            os.rename(f"{work}.tmp", f"{self.root}/{name}")
                        else:
                            rmtree(f"{work}.tmp")
                    finally:
                        os.unlink(other.path)
                return diff_id
            finally:
                os.unlink(lock.path)

    def flush(self) -> None:
        """Bring everything written to this filesystem to disk."""
        make_private_directory(self.links)
        self._to_disk()

    def collect(self, needed: set[str]) -> list[str]:
        """Remove layers that neither `needed` (diffIDs) nor any container's rootfs names. Returns diffIDs."""
        used = self.in_use(needed)
        removed = []
        for name in self._names():
            if f"sha256:{name}" not in used:
                with Lock(f"{self.root}/{name}.lock") as lock:
                    self._remove(name)
                    os.unlink(lock.path)
                removed.append(f"sha256:{name}")
        if os.path.isdir(self.snapshots):
            from pyctr.core import snapshots

            snapshots.collect(self.snapshots, self.root)
        if os.path.isdir(self.datasets):
            from pyctr.core import datasets

            datasets.collect(self.datasets, self.root)
        return removed

    def in_use(self, needed: set[str]) -> set[str]:
        """`needed` and the diffIDs of all layers that a container's rootfs names."""
        return needed | {f"sha256:{name}" for name in self._used_by_containers()}

    def sweep_links(self) -> None:
        """Remove links whose layer is gone: a removal was cut short by an older pyctr, or by a crash."""
        try:
            names = sorted(os.listdir(self.links), key=len, reverse=True)
        except FileNotFoundError:
            return
        for name in names:
            target = os.readlink(f"{self.links}/{name}").removeprefix("../").partition("/")[0]
            if len(target) == 64 and not os.path.isdir(f"{self.root}/{target}"):
                with Lock(f"{self.root}/{target}.lock") as lock:
                    if not os.path.isdir(f"{self.root}/{target}"):
                        self._unlink_short(name)
                    os.unlink(lock.path)

    def all(self) -> list[str]:
        """DiffIDs of the unpacked layers."""
        return [f"sha256:{name}" for name in self._names()]

    # inside

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.root) if len(name) == 64)
        except FileNotFoundError:
            return []

    def _link(self, name: str) -> tuple[str, bool] | None:
        """(short name, hides everything below) of a complete layer. Longer names exist only after collisions."""
        for length in range(_SHORT, 64):
            try:
                target = os.readlink(f"{self.links}/{name[:length]}")
            except FileNotFoundError:
                return None
            if target.startswith(name, 3):
                return name[:length], target.endswith("/.")
        return None

    def _ensure_one(self, layer: Layer, blob: Source | None = None, checked: Collection[str] = ()) -> None:
        name = _hex(layer.diff_id)
        temporary = f"{self.root}/{name}.tmp"
        with Lock(f"{self.root}/{name}.lock") as lock:
            try:
                if self._missing(layer.diff_id):
                    self._remove(name)
                    if blob is not None:
                        self._unpack(blob, temporary, layer)
                    else:
                        from pyctr.core.images.blobs import Blobs

                        with Blobs(self.paths.images).open(layer.digest) as own:
                            self._unpack(own, temporary, layer, layer.digest if layer.digest in checked else "")
                    os.rename(temporary, f"{self.root}/{name}")
            finally:
                os.unlink(lock.path)  # while it is held; who waits for it sees that and takes a new one

    def _missing(self, diff_id: str) -> bool:
        """Nothing is there, or a layer without a link that was not on disk for sure when the machine went down."""
        return self._link(_hex(diff_id)) is None and self.info(diff_id).get("boot") != self._boot()

    def _unpack(self, blob: Source, temporary: str, layer: Layer | None = None, sure: str = "") -> str:
        """Unpack into a new directory, with its record; the diffID. Nothing of it stays when it is not `layer`."""
        from shutil import rmtree

        from pyctr.core.images.decompress import Plain
        from pyctr.core.images.unpack import Unpacker

        os.mkdir(temporary, 0o700)
        try:
            os.mkdir(f"{temporary}/diff", 0o700)
            root = os.open(f"{temporary}/diff", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                plain = Plain(blob, digest=sure)
                unpacker = Unpacker(root)
                pieces = iter(plain)
                try:
                    unpacker.unpack(pieces)
                finally:
                    pieces.close()  # type: ignore[attr-defined]
                wanted = ((layer.digest, plain.digest), (layer.diff_id, plain.diff_id)) if layer is not None else ()
                for expected, found in wanted:
                    if found != expected:
                        raise StorageError(
                            f"layer '{expected}' really is '{found}'", hint="the image is damaged: get it again"
                        )
                document = {"diff_id": plain.diff_id, "size": unpacker.size, "entries": unpacker.count}
                document |= {"opaque": unpacker.opaque_root, "boot": self._boot()}
                write_json(f"{temporary}/layer.json", document, durable=False)
            finally:
                os.close(root)
        except BaseException:
            rmtree(temporary, ignore_errors=True)
            raise
        return plain.diff_id

    def _to_disk(self) -> None:
        """All new layers at once: an fsync per file would be a thousand times slower."""
        from pyctr.core.linux.libc import check, libc

        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            check(libc.syncfs(fd), "syncfs", self.root)
        finally:
            os.close(fd)

    def _boot(self) -> str:
        from pyctr.core.linux.procfs import boot_id

        return boot_id(self.paths.proc)

    def _make_link(self, name: str) -> None:
        opaque = read_json(f"{self.root}/{name}/layer.json").get("opaque")
        target = f"../{name}/diff{'/.' if opaque else ''}"
        for length in range(_SHORT, 64):
            try:
                os.symlink(target, f"{self.links}/{name[:length]}")
                return
            except FileExistsError:
                if os.readlink(f"{self.links}/{name[:length]}") == target:
                    return

    def _remove(self, name: str) -> None:
        from shutil import rmtree

        doomed = f"{self.root}/{name}.tmp"
        link = self._link(name)
        if os.path.exists(doomed):
            rmtree(doomed)  # of a pyctr that died: the caller holds the lock
        # the link first: it says that the layer is whole; then the name: no half of a layer has the good one
        if link is not None:
            self._unlink_short(link[0])
        try:
            os.rename(f"{self.root}/{name}", doomed)
        except FileNotFoundError:
            return
        rmtree(doomed)

    def _unlink_short(self, short: str) -> None:
        path = f"{self.links}/{short}"
        if any(other != short and other.startswith(short) for other in os.listdir(self.links)):
            # a longer name is only found while this one is taken
            os.symlink("../gone", f"{path}.{os.getpid()}")
            os.rename(f"{path}.{os.getpid()}", path)
        else:
            os.unlink(path)

    def _used_by_containers(self) -> set[str]:
        from pyctr.core.images.store import container_states

        used = set()
        for state in container_states(self.paths):
            for link in (state.get("rootfs") or {}).get("lower") or []:
                try:
                    used.add(os.readlink(link).split("/")[1])
                except (OSError, IndexError):
                    continue
        return used

    def _sweep(self) -> None:
        """Remove what dead pyctrs left half unpacked or half removed."""
        from shutil import rmtree

        for name in os.listdir(self.root):
            if name.endswith(".tmp"):
                lock = Lock(f"{self.root}/{name[:-4]}.lock")
                if lock.try_acquire():
                    try:
                        rmtree(f"{self.root}/{name}", ignore_errors=True)
                        os.unlink(lock.path)
                    finally:
                        lock.release()


def _hex(diff_id: str) -> str:
    if not is_digest(diff_id):
        raise StorageError(f"'{diff_id}' is no diffID pyctr can use", hint="only sha256 is supported")
    return diff_id[7:]
