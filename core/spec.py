"""What a user asks for when creating a container, in pyctr's own words and units.

Bytes are ints, cpus are floats, times are seconds. `-1` means "unlimited" where the kernel knows that,
None means "not asked". `parse` reads what users type; the translation to an OCI `config.json` is in `runtime/oci.py`.
"""

from __future__ import annotations

from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Limits(Record):
    """Resource limits; field by field the flags of `docker run`."""

    cpus: float | None = None
    cpu_shares: int | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    memory: int | None = None
    memory_reservation: int | None = None
    memory_high: int | None = None
    memory_swap: int | None = None
    """Memory plus swap, as in Docker; -1 unlimited swap."""
    pids: int | None = None
    blkio_weight: int | None = None
    rx_bps: int | None = None
    """Bytes per second that it receives at most on each of its links; likewise `tx_bps` what it sends."""
    tx_bps: int | None = None
    net_class: str = ""
    """Traffic class of what it sends beyond its network, "1:10" as tc(8) has it, or a priority; "" or "0" for none."""
    device_read_bps: dict[str, int] = {}
    device_write_bps: dict[str, int] = {}
    device_read_iops: dict[str, int] = {}
    device_write_iops: dict[str, int] = {}
    oom_score_adj: int | None = None
    oom_kill_disable: bool = False


class Port(Record):
    """A published port. `host_port` 0 asks for a free one; `host_ip` "" means every address."""

    container_port: int
    host_port: int = 0
    host_last: int = 0
    """With it any free one from `host_port` up to this one is meant."""
    host_ip: str = ""
    protocol: str = "tcp"

    def asked(self) -> str:
        """The host's port in the words of -p: "8080", "8000-8010", "" for a free one."""
        return f"{self.host_port}-{self.host_last}" if self.host_last else str(self.host_port or "")


class Mount(Record):
    """One `-v`, `--mount` or `--tmpfs`.

    `kind` is bind, volume or tmpfs; `source` a host path or a volume name ("" for an anonymous volume).
    """

    kind: str
    target: str
    source: str = ""
    readonly: bool = False
    options: list[str] = []
    """Further mount options in the words of mount(8): propagation (rslave), tmpfs size=…, mode=…, exec."""
    nocopy: bool = False
    subpath: str = ""
    """The part of a volume to mount, relative to it; links on the way stay inside the volume."""
    labels: dict[str, str] = {}
    """Of a volume that this mount makes."""
    driver_opts: dict[str, str] = {}


class Secret(Record):
    """One `--secret`: which value, and what becomes of it inside."""

    name: str
    source: str = ""
    """"" for the store, file, env."""
    origin: str = ""
    """The path or the variable."""
    kind: str = "mount"
    """mount, a file in memory, or env."""
    target: str = ""
    """Absolute path, or the name of a variable."""
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


class Health(Record):
    """A HEALTHCHECK. `test` is ["CMD", …], ["CMD-SHELL", "…"] or ["NONE"]; times in seconds.

    0 (or no test) leaves a field to the image, and then to the defaults of `health`.
    """

    test: list[str] = []
    interval: float = 0.0
    timeout: float = 0.0
    start_period: float = 0.0
    start_interval: float = 0.0
    """Between probes during the start period."""
    retries: int = 0


class ContainerSpec(Record):
    """Everything one container is made from."""

    nested = {"limits": Limits, "ports": Port, "mounts": Mount, "secrets": Secret, "health": Health}

    image: str
    name: str = ""
    command: list[str] | None = None
    """Replaces the image's Cmd; None keeps it."""
    entrypoint: list[str] | None = None
    """Replaces the image's Entrypoint; None keeps it, [] clears it."""
    env: list[str] = []
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    user: str = ""
    groups: list[str] = []
    workdir: str = ""
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    stdin_open: bool = False
    init: bool = False
    auto_remove: bool = False
    restart: str = "no"
    """no, on-failure[:n], always, unless-stopped"""
    stop_signal: str = ""
    stop_timeout: float | None = None
    limits: Limits = Limits()
    ulimits: dict[str, list[int]] = {}
    """Name without RLIMIT_ (nofile) -> [soft, hard]; -1 unlimited."""
    sysctls: dict[str, str] = {}
    devices: list[str] = []
    """HOST[:CONTAINER[:rwm]]"""
    device_cgroup_rules: list[str] = []
    mounts: list[Mount] = []
    secrets: list[Secret] = []
    readonly_rootfs: bool = False
    readonly_tmpfs: bool = True
    """A read-only root file system has a tmpfs on /run, /tmp and /var/tmp nevertheless, unless other mounts are."""
    storage_size: int = 0
    """Bytes that the container's own files may take on disk; 0 for as much as there is."""
    shm_size: int | None = None
    privileged: bool = False
    cap_add: list[str] = []
    cap_drop: list[str] = []
    security_opt: list[str] = []
    """no-new-privileges[=false], seccomp=unconfined|FILE, apparmor=PROFILE, label=…, systempaths=unconfined"""
    network: str = "bridge"
    """bridge, none, host, container:NAME, or a user-defined network."""
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    network_aliases: list[str] = []
    endpoints: dict[str, dict[str, Any]] = {}
    """Further networks by name, with what is wished there: {"ip", "mac", "aliases"}, each of them optional."""
    ports: list[Port] = []
    add_hosts: list[str] = []
    dns: list[str] = []
    dns_search: list[str] = []
    dns_options: list[str] = []
    pid: str = ""
    """"", host, container:NAME; likewise `ipc`, `uts`, `cgroupns`."""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    health: Health | None = None
    log_max_size: int = 10 * 1024 * 1024
    log_max_files: int = 3
