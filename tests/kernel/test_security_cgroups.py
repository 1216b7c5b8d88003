"""What a container sees of control groups: its own, never the host's tree."""

from __future__ import annotations

from tests.support.host import Host


def test_no_hierarchy_shows_the_groups_of_others(host: Host) -> None:
    host.run("run", "-d", "--name", "other", "--network", "none", "localhost/base", "sleep", "60")
    seen = host.run(
        *("run", "--rm", "--network", "none", "localhost/base"),
        *("sh", "-c", "cd /sys/fs/cgroup && ls && find . -name '*.procs' -exec cat {} + && find . -type d"),
    ).stdout.splitlines()
    assert any(line.endswith("pids") or line == "cgroup.procs" for line in seen)
    other = host.run("inspect", "-f", "{{.Id}}", "other").stdout.strip()
    assert not [line for line in seen if other in line or host.paths.cgroup_parent in line]
    # only processes of this pid namespace appear: a 0 would be one outside of it
    assert "0" not in seen
