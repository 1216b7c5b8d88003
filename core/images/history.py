"""How an image came to be: its history, each step with the layer it made."""

from __future__ import annotations

from pyctr.core.images.model import timestamp
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.images.layers import LayerStore
    from pyctr.core.images.model import Image, Layer


class Step(Record):
    """One line of `pyctr history`."""

    nested = {}

    instruction: str
    """As a Dockerfile would say it."""
    created: float
    """Seconds since the epoch, 0 when unknown."""
    size: int
    """Bytes of the layer's files; of its blob while it is not unpacked; 0 for a step without a layer."""
    comment: str = ""
    layer: Layer | None = None


def history(image: Image, layers: LayerStore | None = None) -> list[Step]:
    """The steps, first one first. Layers that the history does not mention get a step without an instruction."""
    rest = list(image.layers)
    steps = []
    for entry in image.history:
        layer = rest.pop(0) if rest and not entry.get("empty_layer") else None
        steps.append(
            Step(
                instruction=instruction(str(entry.get("created_by") or "")),
                created=timestamp(str(entry.get("created") or "")),
                size=_size(layer, layers),
                comment=str(entry.get("comment") or ""),
                layer=layer,
            )
        )
    return [*steps, *(Step(instruction="", created=image.created, size=_size(one, layers), layer=one) for one in rest)]


def instruction(created_by: str) -> str:
    """What a builder recorded, as a Dockerfile would say it.

    Docker's old builder wrote "/bin/sh -c #(nop) CMD …" and "/bin/sh -c make", BuildKit writes
    "RUN /bin/sh -c make # buildkit".
    """
    text = created_by.strip().removesuffix("# buildkit").strip()
    for shell in ("/bin/sh -c", "/bin/bash -c", "RUN /bin/sh -c", "RUN /bin/bash -c"):
        if text.startswith(shell):
            rest = text[len(shell) :].strip()
            return rest[len("#(nop)") :].strip() if rest.startswith("#(nop)") else f"RUN {rest}"
    if text.startswith("|"):  # |2 ARG=value … /bin/sh -c make
        _, shell, rest = text.partition("/bin/sh -c ")
        if shell:
            return f"RUN {rest.strip()}"
    return text


def _size(layer: Layer | None, layers: LayerStore | None) -> int:
    if layer is None:
        return 0
    known = layers.info(layer.diff_id).get("size") if layers is not None else None
    return layer.size if known is None else int(known)
