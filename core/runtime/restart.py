"""Whether, and when, a container that ended is started again."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIRST = 0.1
LONGEST = 60.0
HEALTHY = 10.0
"""Seconds after which a run counts as good, and the next back-off starts from the beginning (Docker's values)."""


class Policy:
    """no, on-failure[:n], always, unless-stopped; with a delay that doubles while it keeps failing."""

    def __init__(self) -> None:
        self._delay = FIRST

    def again(self, policy: str, state: dict[str, Any], code: int) -> bool:
        """`state` is the record: the user's last word in it stands above the policy."""
        if state.get("desired") in ("stopped", "removing") or state.get("removing"):
            return False
        word, _, limit = policy.partition(":")
        if word in ("always", "unless-stopped"):
            return True
        if word != "on-failure" or code == 0:
            return False
        most = int(limit or 0)
        return not most or int(state.get("restarts") or 0) < most

    def delay(self, ran: float) -> float:
        """Seconds to wait after an incarnation that ran that long."""
        if ran >= HEALTHY:
            self._delay = FIRST
        wait, self._delay = self._delay, min(self._delay * 2, LONGEST)
        return wait
