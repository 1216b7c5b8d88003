"""What a kernel without some module answers, as the error of whoever asked for what is in it."""

from __future__ import annotations

import errno

from pyctr.core import errors

_MODULES = {"make macvlan": "macvlan", "make ipvlan": "ipvlan", "make vxlan": "vxlan", "limit to": "sch_tbf"}
"""What a request of `linux.links` and `linux.qdisc` is for, and the module that does it."""


def told(error: OSError) -> errors.Unsupported | None:
    """The error in the user's words where a module is what is missing."""
    text = error.strerror or ""
    for asked, module in _MODULES.items():
        if f"netlink: {asked}" not in text:
            continue
        # an unknown kind of link, an unknown queueing discipline
        if module == "sch_tbf" and error.errno == errno.ENOENT:
            return errors.Unsupported(
                "this kernel cannot bound what a container sends and receives",
                hint="'modprobe sch_tbf', or leave --network-rx-bps and --network-tx-bps out",
            )
        if module != "sch_tbf" and error.errno == errno.EOPNOTSUPP:
            network = {"vxlan": "an overlay", "ipvlan": "an ipvlan"}.get(module, f"a {module}")
            return errors.Unsupported(
                f"this kernel makes no {module} links, which {network} network is made of",
                hint=f"'modprobe {module}', or a network of another driver",
            )
    return None
