"""Snapshots for tests of screens and widgets, built from the real classes."""

from __future__ import annotations

from pyctr.tui.snapshot import ContainerRow, Cost, HostRow, Snapshot

NOW = 1_795_230_847.0
MIB = 1 << 20

HOST = HostRow(
    name="web-01",
    cpus=8,
    cpu=37.0,
    cpu_spark=(10.0, 20.0, 40.0, 60.0, 90.0, 60.0, 40.0, 37.0),
    memory=10e9,
    memory_total=16e9,
    memory_percent=61.0,
    psi_cpu=2.1,
    psi_memory=0.0,
    psi_io=0.4,
    load=1.2,
)


def running(name: str, **changes: object) -> ContainerRow:
    """A healthy container under limits."""
    values: dict[str, object] = {
        "id": f"{name.encode().hex():0<64}"[:64],
        "name": name,
        "image": "acme/api:2.4",
        "status": "running",
        "pid": 4242,
        "command": "/usr/bin/python3 -m api",
        "created_at": NOW - 300000,
        "started_at": NOW - 3 * 86400,
        "wanted": "running",
        "network": "bridge",
        "address": "10.88.0.7/24",
        "cpu": 4.0,
        "cpu_limit": 2.0,
        "cpu_of_limit": 2.0,
        "throttled": 0.0,
        "memory": 96.0 * MIB,
        "memory_limit": 512.0 * MIB,
        "memory_of_limit": 18.75,
        "pids": 9,
        "net_rx": 0.0,
        "net_tx": 0.0,
        "io_read": 0.0,
        "io_write": 0.0,
        "spark": (3.0, 4.0, 5.0, 4.0, 3.0, 4.0, 5.0, 4.0),
    }
    return ContainerRow(**{**values, **changes})  # type: ignore[arg-type]


def ended(name: str, code: int = 0, **changes: object) -> ContainerRow:
    return running(
        name,
        **{
            "status": "stopped",
            "exit_code": code,
            "pid": 0,
            "finished_at": NOW - 300,
            "ran": 14.0,
            "cpu": None,
            "memory": None,
            "memory_of_limit": None,
            "pids": None,
            "net_rx": None,
            "net_tx": None,
            "io_read": None,
            "io_write": None,
            "spark": (),
            **changes,
        },
    )


def some() -> tuple[ContainerRow, ...]:
    """One of each kind."""
    return (
        running(
            "api-1",
            cpu=83.1,
            cpu_of_limit=41.0,
            throttled=12.0,
            memory=412.0 * MIB,
            memory_of_limit=80.0,
            pids=48,
            net_rx=1.2e6,
            net_tx=340e3,
            io_write=12e3,
            spark=(20.0, 30.0, 50.0, 70.0, 90.0, 70.0, 70.0, 90.0),
            health="healthy",
            ports=("8080→80",),
        ),
        running("batch-7", status="paused", cpu=0.0, cpu_of_limit=0.0, started_at=NOW - 7200),
        running("db", image="postgres:16", memory=1100.0 * MIB, memory_of_limit=27.0, started_at=NOW - 41 * 86400),
        ended("migrate"),
        ended("worker-3", 137, oom_killed=True, status="restarting", restarts=3, image="acme/worker:1.9"),
        ended("seed", 3, image="acme/seed:1"),
        ended("fresh", None, status="created", finished_at=0.0, exit_code=None, ran=None, created_at=NOW - 60),  # type: ignore[arg-type]
    )


def snapshot(rows: tuple[ContainerRow, ...] | None = None, **changes: object) -> Snapshot:
    values: dict[str, object] = {
        "time": NOW,
        "monotonic": 1000.0,
        "containers": some() if rows is None else rows,
        "host": HOST,
        "good_at": NOW,
        "cost": Cost(2.0, 41.0 * MIB),
    }
    return Snapshot(**{**values, **changes})  # type: ignore[arg-type]
