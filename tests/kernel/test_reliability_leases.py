"""A start that fails gives its address and ports back, at the latest when the container goes."""

from __future__ import annotations

import pytest

from tests.support.host import Host


@pytest.mark.parametrize("command", [["nosuch"], ["/etc/passwd"]])
def test_a_failed_start_holds_no_address_after_the_container_is_gone(host: Host, command: list[str]) -> None:
    assert host.run("run", "--rm", "localhost/base", *command, check=False).returncode in (126, 127)
    assert not host.leases()
    assert host.run("run", "--name", "kept", "localhost/base", *command, check=False).returncode in (126, 127)
    host.run("rm", "kept")
    assert not host.leases()
