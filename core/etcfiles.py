"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container, as texts.

The part of a hosts file between two marker lines lists the other containers on the network. It is rewritten in place
while they come and go (the file is bind mounted, so its inode has to stay); what the container itself wrote outside
of the markers is kept, and a container that deleted the markers is left alone.
"""

from __future__ import annotations

import os

from pyctr.core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

BEGIN = "# pyctr: containers on this network\n"
END = "# pyctr: end\n"
_STATIC = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
RESOLVER = "127.0.0.11"
"""The name server of a container on a user-defined network, see `runtime/nameserver`."""
_LARGEST = 1 << 20
"""A container may write its hosts file: nothing larger is read back."""
RESOLVED = ("/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf")
"""Where the real nameservers are written when /etc/resolv.conf names a stub on this host."""


def hosts(
    attachment: dict[str, Any], hostname: str, add_hosts: Sequence[str] = (), others: str = "", *, etc: str = "/etc"
) -> str:
    """A hosts file. `others` are ready lines; in the host's network it is the host's file with `add_hosts`."""
    mode = attachment.get("mode")
    extra = "".join(_extra(item, attachment.get("gateway") or "") for item in add_hosts)
    if mode == "host":
        return _read(f"{etc}/hosts") + extra
    text = _STATIC + extra
    if mode in ("bridge", "cni"):
        address = attachment["address"].partition("/")[0]
        names = " ".join(dict.fromkeys((hostname, *attachment["names"])))
        text += f"{address}\t{names}\n"
        if attachment.get("address6"):
            text += f"{attachment['address6'].partition('/')[0]}\t{names}\n"
        if mode == "bridge" and "resolver" not in attachment:
            text += f"{BEGIN}{others}{END}"
    return text


def _extra(item: str, gateway: str) -> str:
    separator = "=" if "=" in item else ":"
    name, _, address = item.partition(separator)
    address = address.strip("[]")
    if address == "host-gateway":
        address = gateway
    if not name or not address or any(c.isspace() for c in name + address):
        raise errors.UsageError(f"'{item}' is not a host entry", hint="like --add-host db:10.0.0.5")
    return f"{address}\t{name}\n"


def replace_others(text: str, others: str) -> str | None:
    """A hosts file with other lines between the markers, None when there is nothing to change."""
    start, end = text.find(BEGIN), text.find(END)
    if start < 0 or end < start:
        return None
    new = text[: start + len(BEGIN)] + others + text[end:]
    return None if new == text else new


def refresh(path: str, others: str) -> bool:
    """Bring the marked part of a hosts file up to date, in place. A vanished file is fine."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        if os.fstat(fd).st_size > _LARGEST:
            return False
        text = replace_others(os.pread(fd, _LARGEST, 0).decode("utf-8", "surrogateescape"), others)
        if text is None:
            return False
        content = text.encode("utf-8", "surrogateescape")
        # written first and cut afterwards: a reader in between sees old lines at the end, never an empty file
        os.pwrite(fd, content, 0)
        os.ftruncate(fd, len(content))
        return True
    finally:
        os.close(fd)


def rewrite(path: str, text: str) -> None:
    """Other content for a file of a container that runs, in place: it is mounted there. A vanished file is fine."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        content = text.encode("utf-8", "surrogateescape")
        os.pwrite(fd, content, 0)
        os.ftruncate(fd, len(content))
    finally:
        os.close(fd)


def resolv_conf(
    attachment: dict[str, Any],
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    *,
    etc: str = "/etc",
    resolved: Iterable[str] = RESOLVED,
) -> str:
    """The host's resolv.conf as the container can use it.

    With a network of its own a container reaches no loopback address of the host and, here, no IPv6 one: such
    nameservers are left out, and if none is left those behind a local stub are taken. `dns`, `search` and `options`
    replace what the host has; `search` "." means none.
    """
    text = _read(f"{etc}/resolv.conf")
    own = attachment.get("mode") in ("bridge", "cni")
    dns = dns or attachment.get("nameservers") or ()
    if "resolver" in attachment:
        _, domains, opts = _parse(text)
        domains = list(search) or domains
        lines = [f"search {' '.join(domains)}\n"] if domains and domains != ["."] else []
        opts = list(options or opts)
        if not any(option.startswith("ndots:") for option in opts):
            opts.append("ndots:0")
        return "".join((*lines, f"nameserver {RESOLVER}\n", f"options {' '.join(opts)}\n"))
    if not own and not (dns or search or options):
        return text
    servers, domains, opts = _parse(text)
    if own:
        usable = [server for server in servers if _reachable(server)]
        if not usable and not dns:
            for path in resolved:
                other, more, _ = _parse(_read(path))
                usable = [server for server in other if _reachable(server)]
                if usable:
                    domains = domains or more
                    break
        servers = usable
    servers = list(dns) or servers
    domains = list(search) or domains
    lines = [f"search {' '.join(domains)}"] if domains and domains != ["."] else []
    lines += [f"nameserver {server}" for server in servers]
    if options or opts:
        lines.append(f"options {' '.join(options or opts)}")
    if not servers:
        lines.insert(0, "# no nameserver of the host can be reached from this network: give one with --dns")
    return "".join(f"{line}\n" for line in lines)


def _parse(text: str) -> tuple[list[str], list[str], list[str]]:
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and len(words) > 1:
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = words[1:]  # the last one counts, resolv.conf(5)
        elif words[0] == "options":
            options += words[1:]
    return servers, search, options


def _reachable(server: str) -> bool:
    return ":" not in server and not server.startswith(("127.", "0."))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
