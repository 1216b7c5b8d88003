"""Where things live, and the names this pyctr owns on the host.

Everything is a plain string path. Tests, and users with several independent pyctrs on one host, choose
other roots by flag or environment; nothing outside `Paths` may spell a default.
"""

from __future__ import annotations

import os

from pyctr.core.errors import UsageError
from pyctr.core.record import Record


class Paths(Record):
    """The roots of one pyctr. Environment: PYCTR_ROOT, PYCTR_RUNROOT, PYCTR_CGROUP_PARENT, PYCTR_BRIDGE."""

    root: str = "/var/lib/pyctr"
    """Survives a reboot: images, layers, containers, volumes, networks, events."""
    run: str = "/run/pyctr"
    """Gone after a reboot: sockets, locks."""
    cgroup_parent: str = "pyctr"
    """Name of our subtree below the root of every cgroup hierarchy."""
    bridge: str = "pyctr0"
    """Default bridge; also names our firewall table."""
    cgroup_root: str = "/sys/fs/cgroup"
    proc: str = "/proc"
    sys: str = "/sys"
    host: str = ""
    """Before every path of another program, such as docker's records: a recorded host's directory, else nothing."""

    @classmethod
    def from_environment(cls, **flags: str | None) -> Paths:
        """Defaults, overridden by the environment, overridden by flags that are not None.

        Without root the defaults are $XDG_DATA_HOME/pyctr and $XDG_RUNTIME_DIR/pyctr.
        """
        values = {}
        if os.geteuid() != 0:
            home = os.path.expanduser("~")
            values["root"] = os.path.join(
                os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local/share"), "pyctr"
            )
            values["run"] = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/pyctr-{os.geteuid()}", "pyctr")
        for name, variable in (
            ("root", "PYCTR_ROOT"),
            ("run", "PYCTR_RUNROOT"),
            ("cgroup_parent", "PYCTR_CGROUP_PARENT"),
            ("bridge", "PYCTR_BRIDGE"),
        ):
            chosen = flags.get(name) or os.environ.get(variable)
            if chosen:
                values[name] = os.path.abspath(chosen) if name in ("root", "run") else chosen
        paths = cls(**values)
        _check(paths)
        return paths

    @property
    def containers(self) -> str:
        return f"{self.root}/containers"

    @property
    def names(self) -> str:
        """One symbolic link per container, name -> id: taking a name is one symlink(2), finding one a readlink(2)."""
        return f"{self.root}/names"

    @property
    def pending(self) -> str:
        """One directory per container that a verb is working on right now."""
        return f"{self.root}/pending"

    @property
    def images(self) -> str:
        """An OCI image layout (image-spec, image-layout.md)."""
        return f"{self.root}/images"

    @property
    def layers(self) -> str:
        """Unpacked layers by diffID."""
        return f"{self.root}/layers"

    @property
    def volumes(self) -> str:
        return f"{self.root}/volumes"

    @property
    def networks(self) -> str:
        return f"{self.root}/networks"

    @property
    def cache(self) -> str:
        """May be deleted at any time."""
        return f"{self.root}/cache"

    @property
    def build(self) -> str:
        """Of `pyctr build`: cache/ (its records), mounts/ (RUN --mount=type=cache), work/ (builds at work)."""
        return f"{self.root}/build"

    @property
    def build_cache(self) -> str:
        return f"{self.build}/cache"

    @property
    def events(self) -> str:
        return f"{self.root}/events.jsonl"

    def container(self, id: str, *more: str) -> str:
        """A path in a container's directory: state.json config.json upper work log hosts birth.json."""
        return "/".join((self.containers, id, *more))

    def runtime(self, id: str, *more: str) -> str:
        """A path in a container's volatile directory: shim.sock."""
        return "/".join((self.run, "containers", id, *more))


def _check(paths: Paths) -> None:
    """What becomes part of other names. Raises UsageError."""
    group, bridge = paths.cgroup_parent, paths.bridge
    for flag, directory in (("--root", paths.root), ("--runroot", paths.run)):
        if not os.path.isdir(directory) and os.path.lexists(directory):
            raise UsageError(f"{flag}: '{directory}' is not a directory", hint="name one, or one that can be made")
    if group.startswith("/") or not all(map(_is_group, group.split("/"))):
        # the subtree must be ours alone: the root of a hierarchy is everybody's
        raise UsageError(f"bad cgroup parent '{group}'", hint="a name below the root, like pyctr or system/pyctr")
    if not 1 <= len(os.fsencode(bridge)) <= 15 or bridge in (".", "..") or set(bridge) & set("/: \t\n"):
        # IFNAMSIZ, and what dev_valid_name of the kernel refuses
        raise UsageError(f"bad bridge name '{bridge}'", hint="at most 15 characters, without spaces, ':' or '/'")


def _is_group(part: str) -> bool:
    """The kernel takes no newline, and keeps names such as cgroup.procs for itself; readers split at blanks."""
    return (
        bool(part.strip(".")) and len(part) < 200 and part.isprintable() and " " not in part and part[:7] != "cgroup."
    )
