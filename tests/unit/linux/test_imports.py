"""The shim imports the floor before exec: what that costs is fixed by which modules come along."""

import subprocess
import sys

import pytest

HEAVY = {
    "argparse",
    "asyncio",
    "contextlib",
    "dataclasses",
    "datetime",
    "json",
    "logging",
    "pathlib",
    "re",
    "shutil",
    "subprocess",
    "tempfile",
    "typing",
    "urllib",
    "uuid",
}


@pytest.mark.parametrize(
    "module",
    [
        "libc",
        "const",
        "namespaces",
        "mount",
        "inroot",
        "caps",
        "process",
        "pty",
        "procfs",
        "devices",
        "keyring",
        "seccomp",
    ],
)
def test_the_floor_brings_nothing_heavy(module: str, pytestconfig: pytest.Config) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(pytestconfig.rootpath)!r}); "
        f"import pyctr.core.linux.{module}; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & HEAVY == set()
