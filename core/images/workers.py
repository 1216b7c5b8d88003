"""Threads of one transfer, and their progress brought to the thread that asked for it."""

from __future__ import annotations

import queue
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyctr.core.images.progress import Progress
    from pyctr.core.images.transport import Cancel

    Tell = Callable[[Progress], None]
    Job = Callable[[Tell], None]

_FAREWELL = 5.0
"""Seconds that threads get to end after a failure; none of them holds what a later command needs."""


def together(
    jobs: Sequence[Job], tell: Tell, cancel: Cancel, failed: Callable[[BaseException], None] | None = None
) -> None:
    """Run jobs at once. `tell` is called in this thread. The first error ends all and is raised; so does Ctrl-C here.

    `failed` hears of the error before the threads are waited for, so that it can let them go.
    """
    events: queue.SimpleQueue[Progress | BaseException | None] = queue.SimpleQueue()

    def guard(job: Job) -> None:
        try:
            job(events.put)
            events.put(None)
        except BaseException as error:
            events.put(error)

    threads = [threading.Thread(target=guard, args=(job,), daemon=True) for job in jobs]
    try:
        for thread in threads:
            thread.start()
        left = len(threads)
        while left:
            event = events.get()
            if event is None:
                left -= 1
            elif isinstance(event, BaseException):
                raise event
            else:
                tell(event)
    except BaseException as error:
        if failed is not None:
            failed(error)
        cancel.set()
        raise
    finally:
        deadline = time.monotonic() + _FAREWELL
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
