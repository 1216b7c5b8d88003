"""LXC and systemd-nspawn: containers that boot a system, named rather than numbered.

LXC     <lxcpath>/<name>/config: `lxc.rootfs.path = dir:...`, one key a line (lxc.container.conf(5))
nspawn  /run/systemd/machines/<name>: NAME= SERVICE= SCOPE= LEADER= ROOT= CLASS= REALTIME= (systemd, machine.c)
"""

from __future__ import annotations

from pyctr.core.engines.model import Foreign, Log, Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engines.trees import Tree

LXC = "/var/lib/lxc"
MACHINES = "/run/systemd/machines"


def lxc(tree: Tree, path: str) -> list[Foreign]:
    """All below one lxcpath. Raises PermissionError."""
    found = []
    for name in tree.names(path):
        if name[0] == "." or tree.stamp(f"{path}/{name}/config") is None:
            continue
        settings: dict[str, list[str]] = {}
        for line in tree.text(f"{path}/{name}/config").splitlines():
            key, sign, value = line.partition("=")
            if sign and not key.lstrip().startswith("#"):
                settings.setdefault(key.strip(), []).append(value.strip())

        def last(key: str, settings: dict[str, list[str]] = settings) -> str:
            return settings.get(key, [""])[-1]

        limit = last("lxc.cgroup2.memory.max") or last("lxc.cgroup.memory.limit_in_bytes")
        found.append(
            Foreign(
                engine="lxc",
                id=name,
                name=name,
                image=last("lxc.rootfs.path").removeprefix("dir:"),
                status="stopped",
                command=tuple((last("lxc.init.cmd") or last("lxc.execute.cmd") or "/sbin/init").split()),
                network=", ".join(filter(None, (last("lxc.net.0.type"), last("lxc.net.0.link")))),
                addresses=tuple(settings.get("lxc.net.0.ipv4.address", ())),
                mounts=tuple(mount for entry in settings.get("lxc.mount.entry", ()) if (mount := _mount(entry))),
                memory_limit=_size(limit),
                log=Log(why="LXC keeps none: its init has a journal or a syslog inside"),
                store=f"{path}/{name}",
                words=("lxc", "-P", path),
            )
        )
    return found


def _mount(entry: str) -> Mount | None:
    """`/srv srv none bind,ro 0 0`"""
    words = entry.split()
    if len(words) < 4 or "bind" not in words[3]:
        return None
    return Mount("bind", words[0], "/" + words[1].lstrip("/"), "ro" in words[3].split(","))


def _size(text: str) -> int | None:
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper(), 1)
    number = text[:-1] if scale > 1 else text
    return int(number) * scale if number.isdecimal() else None


def machines(tree: Tree) -> list[Foreign]:
    """What systemd-machined has registered."""
    found = []
    for name in tree.names(MACHINES):
        if name.startswith("unit:") or name[0] == ".":
            continue  # a link from the unit to the machine
        said = dict(line.partition("=")[::2] for line in tree.text(f"{MACHINES}/{name}").splitlines())
        if said.get("CLASS") != "container":
            continue
        leader, since = said.get("LEADER", ""), said.get("REALTIME", "")
        started = int(since) / 1e6 if since.isdecimal() else 0.0
        found.append(
            Foreign(
                engine="nspawn",
                id=said.get("NAME") or name,
                name=said.get("NAME") or name,
                image=said.get("ROOT", ""),
                pid=int(leader) if leader.isdecimal() else 0,
                created_at=started,
                started_at=started,
                log=Log(why=f"its journal is inside: journalctl -M {name}"),
                store=f"{MACHINES}/{name}",
                words=("machinectl",),
            )
        )
    return found
