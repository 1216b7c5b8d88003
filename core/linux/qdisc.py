"""Queueing disciplines as rtnetlink(7) messages: a token bucket that bounds what an interface sends (tc-tbf(8)).

What goes over the bucket waits in a queue of its own, and is dropped where that is full. The kernel's queue sends a
burst at once and refills it at the rate; both follow from the rate, so that one number is enough.
"""

from __future__ import annotations

import struct

from pyctr.core.linux.netlink import NLM_F_CREATE, NLM_F_REPLACE, Message, attribute, nested, text, u32

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
_TC = struct.Struct("=BxxxiIII")
"""struct tcmsg: family, interface, handle, parent, info."""
_ROOT = 0xFFFFFFFF
_KIND, _OPTIONS = 1, 2
_PARMS, _RATE64, _BURST = 1, 4, 6
_ETHERNET = 1
LEAST_BURST = 16384
"""Bytes: the largest frame with its headers fits, and a few of the usual size."""
_FILL = 50
"""The bucket holds the rate's bytes of 1/50 s."""
_QUEUE = 10
"""The queue holds the rate's bytes of 1/10 s."""


def burst(rate: int) -> int:
    """Bytes that may go at once."""
    return max(LEAST_BURST, rate // _FILL)


def limit(index: int, rate: int, name: str = "") -> Message:
    """At most `rate` bytes per second out of an interface, instead of whatever was there. Kernels without
    sch_tbf answer ENOENT."""
    slow = min(rate, 0xFFFFFFFF)
    # struct tc_ratespec twice (the peak rate is none), then limit, buffer and mtu of struct tc_tbf_qopt
    parms = struct.pack("=BBHhHI", 0, _ETHERNET, 0, 0, 0, slow) + bytes(12)
    parms += struct.pack("=III", min(burst(rate) + max(rate // _QUEUE, 2 * LEAST_BURST), 0xFFFFFFFF), 0, 0)
    options = attribute(_PARMS, parms) + u32(_BURST, min(burst(rate), 0xFFFFFFFF))
    if rate > slow:
        options += attribute(_RATE64, struct.pack("=Q", rate))
    body = _TC.pack(0, index, 0, _ROOT, 0) + text(_KIND, "tbf") + nested(_OPTIONS, options)
    return Message(f"limit to {rate} bytes per second", name, RTM_NEWQDISC, body, NLM_F_CREATE | NLM_F_REPLACE)


def free(index: int, name: str = "") -> Message:
    """No limit any more. ENOENT where there was none."""
    return Message("lift limit", name, RTM_DELQDISC, _TC.pack(0, index, 0, _ROOT, 0))
