"""The birth certificate of a start, as `--trace` prints it on stderr."""

from __future__ import annotations

import sys

from pyctr.cli.diagnostics import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.birth import Certificate
    from pyctr.core.containers import Container

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR_MS = 0.125
"""Milliseconds that one eighth of a bar's cell stands for."""


def show(container: Container) -> None:
    """Print it, if the container's first breath has been written down."""
    from pyctr.core import birth

    certificate = birth.load(container.engine.paths, container.id)
    if certificate is not None:
        sys.stderr.write(text(certificate))
        sys.stderr.flush()


def text(certificate: Certificate) -> str:
    """A line per step: when it began (ms), what it did, how long it took, and a bar of that."""
    import time

    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(certificate.started_at))
    lines = [
        f"start of {safe(certificate.name)} · {certificate.total_us / 1000:.1f} ms · "
        f"{at}.{int(certificate.started_at % 1 * 1000):03d}"
    ]
    width = max([20, *(min(len(safe(step.text)), 64) for step in certificate.steps)])
    for step in certificate.steps:
        words = safe(step.text)
        words = words if len(words) <= 64 else words[:63] + "…"
        took = step.took_us / 1000
        lines.append(f"{step.at_us / 1000:6.1f}  {step.name:<17} {words:<{width}} {took:6.1f} ms {_bar(took)}".rstrip())
    return "\n".join(lines) + "\n"


def _bar(milliseconds: float) -> str:
    eighths = min(round(milliseconds / _BAR_MS), 8 * 20)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
