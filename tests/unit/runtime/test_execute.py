"""How a further process of a container comes into being, as far as no kernel is needed."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from pyctr.core.runtime import execute, sync


def test_what_the_second_process_says_before_the_first_has_told_of_it_is_not_lost() -> None:
    """Whichever runs first after the clone: a question for a listener that goes unheard hangs for ever."""
    ours, theirs = sync.packets()
    context: Any = SimpleNamespace(packets=ours, manager=object(), pid=0, pidfd=-1)
    theirs.send(sync.LISTENER, b"take it")
    theirs.send(sync.CHILD, b"77", (theirs.socket.fileno(),))
    theirs.send(sync.WARNING, b"later")
    execute._await_second(context, patient=False)
    assert context.pid == 77
    assert [ours.receive()[:2] for _ in range(2)] == [(sync.LISTENER, b"take it"), (sync.WARNING, b"later")]
    os.close(context.pidfd)
    ours.close()
    theirs.close()
