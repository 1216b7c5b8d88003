"""The flags of `run` and `create`, and the `ContainerSpec` they ask for."""

from __future__ import annotations

from pyctr.cli import values
from pyctr.cli.flags import REMAINDER
from pyctr.core import parse
from pyctr.core.errors import UsageError
from pyctr.core.parse import BadValue
from pyctr.core.spec import ContainerSpec, Health, Limits, Mount, Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctr.cli.flags import Arguments, Declares


def configure(parser: Declares) -> None:
    """Docker's flags. Names, letters and meanings are those of `docker run`."""
    add = parser.add_argument
    on: dict[str, Any] = {"action": "store_true"}
    many: dict[str, Any] = {"action": "append"}

    add("--name", type=values.name, help="name of the container; otherwise one is made up")
    add("-i", "--interactive", **on, help="keep stdin open")
    add("-t", "--tty", **on, help="give it a terminal")
    add("-a", "--attach", **many, choices=("stdin", "stdout", "stderr"), help="connect only these")
    add("--rm", **on, help="remove it when it has exited")
    add("--cidfile", help="write its id to this file")
    add("--pull", choices=("always", "missing", "never"), default="missing", help="when to fetch the image")
    add("--platform", metavar="OS/ARCH[/VARIANT]", default="", help="the platform to fetch")
    add("--dry-run", **on, help="print the plan, do nothing")

    add("-e", "--env", **many, type=_environment, metavar="NAME[=VALUE]", help="an environment variable")
    add("--env-file", **many, type=values.env_file, metavar="FILE", help="variables from a file")
    add("-u", "--user", default="", metavar="USER[:GROUP]", help="user and group, names or numbers")
    add("--group-add", **many, metavar="GROUP", help="a further group")
    add("-w", "--workdir", default="", metavar="DIR", help="working directory")
    add("--entrypoint", metavar="COMMAND", help="replaces the image's entrypoint")
    add("-h", "--hostname", default="", type=values.host_name, metavar="NAME", help="host name inside")
    add("--domainname", default="", metavar="NAME", help="NIS domain name inside")
    add("--init", **on, help="a small init that reaps and forwards signals")
    add(
        "--restart",
        default="no",
        type=values.restart,
        metavar="POLICY",
        help="no, on-failure[:N], always, unless-stopped",
    )
    add("-l", "--label", **many, type=values.label, metavar="KEY=VALUE", help="metadata")
    add("--label-file", **many, type=values.label_file, metavar="FILE", help="labels from a file")
    add("--annotation", **many, type=values.pair, metavar="KEY=VALUE", help="an OCI annotation")
    add("--stop-signal", default="", metavar="SIGNAL", help="what 'stop' sends first")
    add("--stop-timeout", type=values.patience, metavar="SECONDS", help="how long 'stop' waits before SIGKILL")

    add("-m", "--memory", type=values.size, metavar="SIZE", help="memory limit, such as 512m; 6m is the least")
    add("--memory-reservation", type=values.size, metavar="SIZE", help="soft limit")
    add("--memory-high", type=values.size, metavar="SIZE", help="throttle and reclaim above this (cgroup v2)")
    add("--memory-swap", type=values.size_or_unlimited, metavar="SIZE", help="memory plus swap; -1 unlimited swap")
    add("--cpus", type=values.cpus, metavar="N", help="number of CPUs, from 0.01 to all; 0 is no limit")
    add(
        "-c",
        "--cpu-shares",
        type=values.integer(0, 262144, "a weight"),
        metavar="N",
        help="relative weight, 1024 normal",
    )
    add("--cpu-period", type=values.integer(1000, 1000000, "microseconds"), metavar="US", help="CFS period")
    add("--cpu-quota", type=values.integer(-1, 1 << 40, "microseconds"), metavar="US", help="CFS quota per period")
    add("--cpuset-cpus", default="", type=values.cpus_of_host, metavar="LIST", help="CPUs it may use, such as 0-3,6")
    add("--cpuset-mems", default="", type=values.nodes_of_host, metavar="LIST", help="memory nodes it may use")
    add("--pids-limit", type=values.integer(-1, 1 << 22, "a number of processes"), metavar="N", help="-1 unlimited")
    add("--blkio-weight", type=values.integer(0, 1000, "a weight"), metavar="N", help="10 to 1000, 0 off")
    for way in ("read", "write"):
        add(
            f"--device-{way}-bps",
            **many,
            type=values.device_bytes,
            metavar="DEVICE:RATE",
            help=f"{way} bytes per second",
        )
        add(
            f"--device-{way}-iops",
            **many,
            type=values.device_operations,
            metavar="DEVICE:RATE",
            help=f"{way}s per second",
        )
    add("--oom-score-adj", type=values.integer(-1000, 1000, "a score"), metavar="N", help="-1000 to 1000")
    add("--oom-kill-disable", **on, help="never OOM-kill (cgroup v1)")
    add("--ulimit", **many, type=values.ulimit, metavar="NAME=SOFT[:HARD]", help="a resource limit of its processes")
    add("--shm-size", type=values.human_size, metavar="SIZE", help="size of /dev/shm, 64m otherwise")
    add("--sysctl", **many, type=values.pair, metavar="KEY=VALUE", help="a kernel parameter of its namespaces")

    add("-v", "--volume", **many, type=values.volume, metavar="[SOURCE:]TARGET[:OPTIONS]", help="a volume or host path")
    add(
        "--mount", **many, type=values.mount, metavar="FIELDS", help="type=bind|volume|tmpfs,source=,target=[,readonly]"
    )
    add("--tmpfs", **many, type=values.tmpfs, metavar="TARGET[:OPTIONS]", help="memory file system")
    add(
        "--secret",
        **many,
        type=values.secret,
        metavar="NAME[,FIELDS]",
        help="a secret's name, or id=NAME,src=FILE|env=VARIABLE; and target=, uid=, gid=, mode=, type=mount|env",
    )
    add("--read-only", **on, help="read-only root file system")
    add(
        "--read-only-tmpfs", action="store_true", default=True, help="with a tmpfs on /run, /tmp, /var/tmp (=false not)"
    )

    add(
        "--storage-opt", **many, type=values.storage_option, metavar="size=SIZE", help="how much its own files may take"
    )

    add(
        "--network",
        "--net",
        **many,
        type=_network,
        metavar="NETWORK",
        help="bridge, none, host, container:NAME or a name; several times for several, name=N,ip=A,alias=B",
    )
    add("--network-rx-bps", type=values.size, metavar="SIZE", help="bytes per second it receives on each link")
    add("--network-tx-bps", type=values.size, metavar="SIZE", help="bytes per second it sends on each link")
    add(
        "--network-class", default="", type=values.traffic_class, metavar="CLASS", help="traffic class of what it sends"
    )
    add("--network-alias", "--net-alias", **many, metavar="NAME", help="a further name on the network")
    add("--ip", default="", type=values.address, metavar="ADDRESS", help="its address")
    add("--ip6", default="", type=values.address, metavar="ADDRESS", help="its IPv6 address")
    add("--mac-address", default="", type=values.mac, metavar="ADDRESS", help="its MAC address")
    add(
        "-p",
        "--publish",
        **many,
        type=values.ports,
        metavar="[[IP:]HOST:]PORT[/udp]",
        help="publish a port on the host",
    )
    add("-P", "--publish-all", **on, help="publish every exposed port on a free one")
    add("--expose", **many, type=_port, metavar="PORT", help="ports for --publish-all")
    add("--add-host", **many, type=values.add_host, metavar="NAME:IP", help="a line of /etc/hosts")
    add("--dns", **many, type=values.address, metavar="ADDRESS", help="a name server")
    add("--dns-search", **many, metavar="DOMAIN", help="a search domain")
    add("--dns-option", "--dns-opt", **many, metavar="OPTION", help="an option of resolv.conf")

    add("--privileged", **on, help="all capabilities and devices, no filter")
    add("--cap-add", **many, metavar="CAP", help="add a capability, or ALL")
    add("--cap-drop", **many, metavar="CAP", help="drop a capability, or ALL")
    add("--security-opt", **many, metavar="OPTION", help="no-new-privileges, seccomp=FILE|unconfined …")
    add("--device", **many, type=values.device, metavar="HOST[:INSIDE[:rwm]]", help="a device of the host")
    add("--device-cgroup-rule", **many, type=values.device_rule, metavar="RULE", help="such as 'c 42:* rmw'")
    add("--pid", default="", type=_namespace, metavar="NS", help="host or container:NAME")
    add("--ipc", default="", type=_namespace, metavar="NS", help="host, private, shareable, none or container:NAME")
    add("--uts", default="", type=_namespace, metavar="NS", help="host")
    add("--cgroupns", default="", choices=("host", "private"), help="cgroup namespace")

    add("--health-cmd", metavar="COMMAND", help="a probe, run by the shell")
    add("--health-interval", type=values.duration, metavar="TIME", help="between probes, 30s")
    add("--health-timeout", type=values.duration, metavar="TIME", help="of one probe, 30s")
    add("--health-retries", type=int, metavar="N", help="failures in a row that make it unhealthy, 3")
    add("--health-start-period", type=values.duration, metavar="TIME", help="during which failures do not count")
    add("--health-start-interval", type=values.duration, metavar="TIME", help="between probes of that period, 5s")
    add("--no-healthcheck", **on, help="ignore the image's HEALTHCHECK")
    add("--log-opt", **many, type=values.pair, metavar="KEY=VALUE", help="max-size=10m, max-file=3")

    add("image", metavar="IMAGE", help="name, tag, digest or id")
    add("command", nargs=REMAINDER, metavar="COMMAND", help="replaces the image's command")


def spec(args: Arguments) -> ContainerSpec:
    """What the flags ask for. Raises UsageError where they contradict each other."""
    wanted = ContainerSpec(
        image=args.image,
        name=args.name or "",
        command=args.command or None,
        entrypoint=None if args.entrypoint is None else [args.entrypoint] if args.entrypoint else [],
        env=values.unique_environment([*(v for file in args.env_file for v in file), *args.env]),
        labels=dict([*(pair for file in args.label_file for pair in file), *args.label]),
        annotations=dict(args.annotation),
        user=args.user,
        groups=args.group_add,
        workdir=args.workdir,
        hostname=args.hostname,
        domainname=args.domainname,
        tty=args.tty,
        stdin_open=args.interactive,
        init=args.init,
        auto_remove=args.rm,
        restart=args.restart,
        stop_signal=args.stop_signal,
        stop_timeout=args.stop_timeout,
        limits=_limits(args),
        ulimits=dict(args.ulimit),
        sysctls=dict(args.sysctl),
        devices=args.device,
        device_cgroup_rules=args.device_cgroup_rule,
        mounts=_mounts(args),
        secrets=args.secret,
        readonly_rootfs=args.read_only,
        readonly_tmpfs=args.read_only_tmpfs,
        storage_size=args.storage_opt[-1] if args.storage_opt else 0,
        shm_size=args.shm_size,
        privileged=args.privileged,
        cap_add=args.cap_add,
        cap_drop=args.cap_drop,
        security_opt=args.security_opt,
        **_networks(args),
        ports=_ports(args),
        add_hosts=args.add_host,
        dns=args.dns,
        dns_search=args.dns_search,
        dns_options=args.dns_option,
        pid=args.pid,
        ipc=args.ipc,
        uts=args.uts,
        cgroupns=args.cgroupns,
        health=_health(args),
    )
    for key, value in args.log_opt:
        _log_option(wanted, key, value)
    _check(wanted)
    return wanted


def exposed(args: Arguments, image_config: dict[str, Any]) -> list[Port]:
    """The further ports that --publish-all asks for: those of --expose and the image's, not published yet."""
    if not args.publish_all:
        return []
    taken = {(port.container_port, port.protocol) for ports in args.publish for port in ports}
    wanted = []
    for text in [*args.expose, *(image_config.get("ExposedPorts") or {})]:
        for port in _read_exposed(text):
            key = (port.container_port, port.protocol)
            if key not in taken:
                taken.add(key)
                wanted.append(port)
    return wanted


def _read_exposed(text: str) -> list[Port]:
    try:
        return values.ports(text)
    except BadValue as error:
        raise UsageError(f"--expose: {error}", hint=error.hint) from None


def _port(text: str) -> str:
    values.ports(text)
    return text


def _environment(text: str) -> str:
    return values.environment(text)


def _namespace(text: str) -> str:
    known = ("", "host", "private", "shareable", "none")
    if text not in known and not (text.startswith("container:") and len(text) > 10):
        raise BadValue(f"'{text}' is not a namespace", "give host, private or container:NAME")
    return "" if text == "private" else text


def _limits(args: Arguments) -> Limits:
    return Limits(
        cpus=args.cpus,
        cpu_shares=args.cpu_shares or None,
        cpu_period=args.cpu_period,
        cpu_quota=args.cpu_quota,
        cpuset_cpus=args.cpuset_cpus,
        cpuset_mems=args.cpuset_mems,
        memory=args.memory or None,
        memory_reservation=args.memory_reservation or None,
        memory_high=args.memory_high or None,
        memory_swap=args.memory_swap or None,
        pids=args.pids_limit or None,
        blkio_weight=args.blkio_weight or None,
        rx_bps=args.network_rx_bps or None,
        tx_bps=args.network_tx_bps or None,
        net_class=args.network_class,
        device_read_bps=dict(args.device_read_bps),
        device_write_bps=dict(args.device_write_bps),
        device_read_iops=dict(args.device_read_iops),
        device_write_iops=dict(args.device_write_iops),
        oom_score_adj=args.oom_score_adj,
        oom_kill_disable=args.oom_kill_disable,
    )


def check_limits(limits: Limits) -> None:
    """Raises UsageError for limits that exclude each other; Docker's rules."""
    if limits.cpus is not None and (limits.cpu_quota is not None or limits.cpu_period is not None):
        raise UsageError("--cpus: excludes --cpu-period and --cpu-quota", hint="give one or the other")
    if limits.memory_swap is not None and limits.memory_swap != -1:
        if limits.memory is None:
            raise UsageError("--memory-swap: needs --memory", hint="the value is memory and swap together")
        if limits.memory_swap < limits.memory:
            raise UsageError(
                "--memory-swap: smaller than --memory", hint="the value is memory and swap together, -1 unlimited"
            )
    if limits.memory_reservation and limits.memory and limits.memory_reservation > limits.memory:
        raise UsageError("--memory-reservation: larger than --memory", hint="the soft limit lies below the hard one")
    if limits.blkio_weight is not None and limits.blkio_weight < 10:
        raise UsageError(
            f"--blkio-weight: '{limits.blkio_weight}' is out of range", hint="give 10 to 1000, or 0 for off"
        )


def _mounts(args: Arguments) -> list[Mount]:
    mounts: list[Mount] = [*args.volume, *args.mount, *args.tmpfs]
    try:
        parse.check_mounts([*mounts, *(secret for secret in args.secret if secret.kind == "mount")])
    except BadValue as error:
        raise UsageError(str(error), hint=error.hint) from None
    return mounts


def _network(text: str) -> tuple[str, dict[str, Any]]:
    """One `--network`: a name, or name=N,alias=A,ip=I,mac-address=M as in Docker."""
    if not text.startswith("name=") and ",name=" not in text:
        return ("bridge" if text == "default" else text), {}
    name = ""
    wish: dict[str, Any] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key == "name":
            name = value
        elif key == "alias":
            wish.setdefault("aliases", []).append(value)
        elif key in ("ip", "ip6"):
            wish[key] = values.address(value)
        elif key == "mac-address":
            wish["mac"] = values.mac(value)
        else:
            raise BadValue(f"'{text}': '{key}' is not known", "known are name, alias, ip, ip6, mac-address")
    return name, wish


def _networks(args: Arguments) -> dict[str, Any]:
    """The fields of a spec that the flags about networks give: single ones speak of the first network."""
    given: list[tuple[str, dict[str, Any]]] = args.network or [("bridge", {})]
    (first, wish), rest = given[0], given[1:]
    names = [name for name, _ in given]
    if len(set(names)) < len(names):
        raise UsageError(f"--network: '{max(names, key=names.count)}' is named twice", hint="each network once")
    return {
        "network": first,
        "endpoints": dict(rest),
        "ip": args.ip or wish.get("ip", ""),
        "ip6": args.ip6 or wish.get("ip6", ""),
        "mac": args.mac_address or wish.get("mac", ""),
        "network_aliases": [*args.network_alias, *wish.get("aliases", ())],
    }


def _ports(args: Arguments) -> list[Port]:
    ports: list[Port] = [port for several in args.publish for port in several]
    try:
        parse.check_ports(ports)
    except BadValue as error:
        raise UsageError(f"--publish: {error}", hint=error.hint) from None
    return ports


def _health(args: Arguments) -> Health | None:
    times = {
        name: getattr(args, f"health_{name}") or 0.0
        for name in ("interval", "timeout", "start_period", "start_interval")
    }
    retries = args.health_retries or 0
    given = bool(args.health_cmd or retries or any(times.values()))
    if args.no_healthcheck:
        if given:
            raise UsageError("--no-healthcheck: excludes every --health-…", hint="give one or the other")
        return Health(test=["NONE"])
    if not given:
        return None
    from pyctr.core import health

    if retries < 0:
        raise UsageError(f"--health-retries: '{retries}' is negative", hint="how many failures in a row, such as 3")
    for name, value in times.items():
        if 0 < value < health.SHORTEST:
            raise UsageError(f"--health-{name.replace('_', '-')}: too short", hint="1ms is the least")
    return Health(test=["CMD-SHELL", args.health_cmd] if args.health_cmd else [], retries=retries, **times)


def _log_option(wanted: ContainerSpec, key: str, value: str) -> None:
    try:
        if key == "max-size":
            wanted.log_max_size = values.size_or_unlimited(value)
        elif key == "max-file":
            wanted.log_max_files = int(value)
        else:
            raise UsageError(f"--log-opt: '{key}' is not known", hint="known are max-size and max-file")
    except ValueError:
        raise UsageError(
            f"--log-opt: '{key}={value}' has no valid value", hint="such as max-size=10m, max-file=3"
        ) from None


def _check(wanted: ContainerSpec) -> None:
    check_limits(wanted.limits)
    if wanted.auto_remove and wanted.restart != "no":
        raise UsageError("--rm: excludes --restart", hint="a container that is removed cannot be restarted")
    if wanted.endpoints and (wanted.network in ("host", "none") or wanted.network.startswith("container:")):
        raise UsageError(f"--network: '{wanted.network}' excludes others", hint="several must all be bridge networks")
    shares = wanted.network in ("host", "none") or wanted.network.startswith("container:")
    if shares and wanted.ports:
        raise UsageError(
            f"--publish: network '{wanted.network}' has no ports to publish", hint="publish needs a bridge network"
        )
    if shares and (wanted.limits.rx_bps or wanted.limits.tx_bps):
        raise UsageError(f"--network-rx-bps, --network-tx-bps: network '{wanted.network}' has no link to limit")
    if shares and wanted.limits.net_class:
        raise UsageError(f"--network-class: network '{wanted.network}' has no link to class")
    if shares and (wanted.ip or wanted.network_aliases):
        flag = "--ip" if wanted.ip else "--network-alias"
        raise UsageError(f"{flag}: network '{wanted.network}' has no addresses to give", hint="use a bridge network")
    if wanted.network.startswith("container:") and wanted.hostname:
        raise UsageError("--hostname: excludes --network container:…", hint="the host name is the other container's")
    if wanted.uts == "host" and wanted.hostname:
        raise UsageError("--hostname: excludes --uts host", hint="the host name would be the host's")
