"""What a container learns from `--init`, which is a process of ours."""

from __future__ import annotations

from tests.support.host import REPOSITORY, Host


def test_the_init_process_tells_nothing_of_the_host(host: Host) -> None:
    script = "cat /proc/1/cmdline /proc/1/comm; cat /proc/1/environ; readlink /proc/1/exe; true"
    said = host.run("run", "--rm", "--init", "--network", "none", "localhost/base", "sh", "-c", script).stdout
    assert said == "pyctr-init\0002\0pyctr-init\n/memfd:pyctr-init (deleted)\n"
    for secret in (host.base, str(REPOSITORY), "python", "import"):
        assert secret not in said
