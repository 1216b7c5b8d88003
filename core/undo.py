"""Steps that are taken back in reverse when a later one fails."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Undo:
    """`with Undo() as undo:` ... `undo(f, *args)` after each step; leaving with an exception calls them, last first.

    A failing undo does not hide the first error or stop the others: it becomes a note on it, and `failed` is called.
    """

    def __init__(self, failed: Callable[[], None] | None = None) -> None:
        self._failed = failed
        self._steps: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def __call__(self, step: Callable[..., object], *arguments: object) -> None:
        self._steps.append((step, arguments))

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        for step, arguments in reversed(self._steps):
            try:
                step(*arguments)
            except Exception as another:
                error.add_note(f"while undoing: {another}")
                if self._failed is not None:
                    self._failed()
