"""A plan says what it will do, in the order that the kernel and the security of a start demand."""

import marshal
from typing import Any

import pytest

from pyctr.core import errors
from pyctr.core.runtime import defaults, operation, plan
from pyctr.core.runtime.operation import Operation

WISHES: dict[str, Any] = {"id": "c1", "bundle": "/b", "run": "/run/c1", "group": "/t/c1", "seccomp": b"12345678"}


def config(**process: Any) -> dict[str, Any]:
    return {
        "process": {
            "args": ["sh"],
            "env": ["PATH=/x:/y"],
            "cwd": "/srv",
            "user": {"uid": 7, "gid": 8},
            "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]},
            "noNewPrivileges": True,
            **process,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "h",
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]}],
        "linux": {
            "namespaces": [{"type": kind} for kind in defaults.NAMESPACES],
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
            "resources": {"pids": {"limit": 9}},
            "sysctl": {"net.ipv4.ip_forward": "0"},
        },
    }


def names(plan: plan.Plan) -> list[str]:
    return [type(item).__name__ for item in plan.operations]


def before(order: list[str], *sequence: str) -> None:
    places = [order.index(name) for name in sequence]
    assert places == sorted(places), f"{sequence} in {order}"


def test_the_order_that_security_demands() -> None:
    order = names(plan.build(config(), WISHES))
    before(order, "MakeGroup", "Clone", "EnterGroup", "HideGroups")
    before(order, "Root", "Mount", "Masked", "Readonly", "Pivot")
    before(order, "LinkInside", "Sysctls", "Pivot")
    before(order, "NoNewPrivileges", "Bounding", "User", "Capabilities", "Directory", "Find", "Seccomp", "Execute")


def test_without_no_new_privs_the_filter_comes_while_capabilities_last() -> None:
    order = names(plan.build(config(noNewPrivileges=False), WISHES))
    before(order, "Seccomp", "Bounding", "User", "Execute")
    assert order.count("Seccomp") == 1


def test_a_plan_survives_the_wire() -> None:
    made = plan.build(config(), WISHES)
    again = plan.Plan.from_document(marshal.loads(marshal.dumps(made.to_document())))
    assert again.to_document() == made.to_document()
    assert again.describe() == made.describe()
    assert again.operations == made.operations


def test_every_operation_describes_itself_within_the_known_steps() -> None:
    lines = plan.build(config(), WISHES).describe()
    assert {step for step, _ in lines} <= set(operation.STEPS)
    text = "\n".join(line for _, line in lines)
    for expected in ("pids.max = 9", "bind /b/rootfs", "mask /proc/kcore", "net.ipv4.ip_forward = 0", "uid 7 gid 8"):
        assert expected in text
    for name, kind in plan.CLASSES.items():
        assert kind.describe is not Operation.describe, f"{name} has no words"


def test_a_plan_is_built_without_the_kernel_floor() -> None:
    import subprocess
    import sys

    code = "import sys; from pyctr.core.runtime import plan, launch; print('ctypes' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"namespaces": [{"type": "mount"}, {"type": "mount"}]}, "named twice"),
        ({"namespaces": [{"type": "moon"}]}, "moon"),
        ({"namespaces": [{"type": "pid"}]}, "mount namespace"),
        ({"sysctl": {"kernel.panic": "1"}}, "belongs to no namespace"),
        ({"namespaces": [{"type": "mount"}, {"type": "uts"}], "sysctl": {"net.core.x": "1"}}, "no network namespace"),
        ({"sysctl": {"net/../kernel/panic": "1"}}, "bad sysctl"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_before_anything_happens(change: dict[str, Any], words: str) -> None:
    document = config()
    document["linux"].update(change)
    with pytest.raises(errors.UsageError, match=words):
        plan.build(document, WISHES)


def test_a_shared_namespace_is_joined_not_made() -> None:
    made = plan.build(config(), {**WISHES, "join": {"network": 41}})
    clone = made.operations[1]
    assert "network" not in clone.new  # type: ignore[attr-defined]
    assert clone.join == {"network": "/proc/41/ns/net"}  # type: ignore[attr-defined]
    assert "LinkInside" not in names(made), "another container's network is configured already"
