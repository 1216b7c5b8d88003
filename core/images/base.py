"""The embedded base image: this host's own shell and core tools, so that the first run needs no registry.

Only names and lookups are here, since every start comes by; making it is in `basebuild`.
"""

from __future__ import annotations

from pyctr.core.errors import UsageError
from pyctr.core.images.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.images.layers import LayerStore
    from pyctr.core.images.model import Image
    from pyctr.core.images.store import ImageStore

NAME = "localhost/base:latest"


def is_base(text: str) -> bool:
    """Does a user mean the base image? "base" alone does, too, as long as there is no other."""
    try:
        reference = parse(text)
    except UsageError:
        return False
    return str(reference) == NAME or text in ("base", "base:latest")


def resolve(store: ImageStore, layers: LayerStore, text: str) -> Image:
    """`ImageStore.resolve`, and the base image is made when it is named for the first time."""
    found = store.find(text)
    if found is None and is_base(text):
        return ensure(store, layers)
    return found or store.resolve(text)


def mentioned(store: ImageStore, layers: LayerStore, *names: str) -> None:
    """A command named these images: the base image is made, if it is one of them and not there."""
    for name in names:
        if is_base(name) and store.find(name) is None:
            ensure(store, layers)


def ensure(store: ImageStore, layers: LayerStore) -> Image:
    """The base image, made if it is not there. Several pyctrs at once make it once."""
    found = store.find(NAME)
    if found is None:
        from pyctr.core.fsutil import Lock, make_private_directory
        from pyctr.core.images.basebuild import build

        make_private_directory(store.paths.cache)
        with Lock(f"{store.paths.cache}/base.lock"):
            found = store.find(NAME) or build(store)
    layers.ensure(found)
    return found
