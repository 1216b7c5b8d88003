"""What a request may not ask for, whoever asks: limits that no container can live with, names that break a file.

Docker's bounds where it has some. Memory beyond what the host has is no mistake: Docker takes it, it is simply never
reached.
"""

from __future__ import annotations

from pyctr.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.spec import ContainerSpec, Limits, Port

LEAST_MEMORY = 6 << 20
"""Bytes; Docker's minimum. Below it not even the process that becomes the container's command fits in reliably."""
LEAST_RATE = 1024
"""Bytes per second: a frame of the usual size passes in 1.5 s."""
LEAST_QUOTA = 1000
"""Microseconds (min_cfs_quota_period of the kernel's sched/core.c)."""
_LONGEST_NAME = 253
"""Letters of a host name (RFC 1035, 2.3.4, without the length octets)."""
_LONGEST_DOMAIN = 64
"""setdomainname(2), __NEW_UTS_LEN."""


def limits(wanted: Limits) -> None:
    """Raises UsageError naming the flag."""
    for flag, size in (
        ("--memory", wanted.memory),
        ("--memory-reservation", wanted.memory_reservation),
        ("--memory-high", wanted.memory_high),
    ):
        if size is not None and 0 < size < LEAST_MEMORY:
            raise errors.UsageError(f"{flag}: {size} bytes are too few", hint="6m is the least")
    for flag, rate in (("--network-rx-bps", wanted.rx_bps), ("--network-tx-bps", wanted.tx_bps)):
        if rate is not None and 0 < rate < LEAST_RATE:
            raise errors.UsageError(f"{flag}: {rate} bytes per second are too few", hint=f"{LEAST_RATE} are the least")
    if wanted.cpu_quota is not None and 0 < wanted.cpu_quota < LEAST_QUOTA:
        raise errors.UsageError(
            f"--cpu-quota: {wanted.cpu_quota} microseconds are too few",
            hint=f"{LEAST_QUOTA} are the least, -1 is no limit",
        )


def ports(wanted: list[Port]) -> None:
    """Raises Unsupported."""
    for port in wanted:
        if port.host_ip == "::1" and port.protocol == "sctp":
            raise errors.Unsupported(
                "an SCTP port cannot be published on '::1': the kernel routes nothing from there",
                hint="use 127.0.0.1",
            )


def names(spec: ContainerSpec) -> None:
    """Names that end up in hosts and resolv.conf, line by line. Raises UsageError."""
    for alias in spec.network_aliases:
        if not _is_host_name(alias):
            raise errors.UsageError(f"--network-alias: '{alias}' is not a host name", hint="letters, digits, '.', '-'")
    for domain in spec.dns_search:
        if domain != "." and not _is_host_name(domain.removesuffix(".")):
            raise errors.UsageError(
                f"--dns-search: '{domain}' is not a domain", hint="such as example.org, '.' for none"
            )
    for option in spec.dns_options:
        if not option or not option.isascii() or not option.isprintable() or " " in option:
            raise errors.UsageError(f"--dns-option: '{option}' is not an option", hint="such as ndots:2")
    if len(spec.domainname.encode("utf-8", "surrogateescape")) > _LONGEST_DOMAIN:
        raise errors.UsageError(
            f"--domainname: '{spec.domainname}' is too long", hint=f"at most {_LONGEST_DOMAIN} characters"
        )


def _is_host_name(text: str) -> bool:
    letters = text.replace(".", "").replace("-", "").replace("_", "")
    return 0 < len(text) <= _LONGEST_NAME and letters.isalnum() and text.isascii() and text[0] not in ".-"
