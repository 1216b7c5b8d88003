"""A network namespace in which pyctr believes to be on its host: whatever firewalls and plugins do there, the machine's
own stays as it is."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys

from tests.support.host import Host


class Place:
    """The namespace, and the journal of repairs as it is written."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name = f"pt-{secrets.token_hex(3)}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.command("ip", "link", "set", "lo", "up")
        words = host.command("events", "--filter", "event=repair", "--format", "{{json .}}")
        self.journal = subprocess.Popen(words, env=host.env, stdout=subprocess.PIPE, text=True)

    def command(self, *words: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.name}", *words],
            env=self.host.env,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def pyctr(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.command(*self.host.command(*words), check=check)

    def repaired(self) -> str:
        """The network whose repair the journal tells of next."""
        assert self.journal.stdout is not None
        return str(json.loads(self.journal.stdout.readline())["Actor"]["Attributes"]["name"])

    def page(self) -> str:
        asking = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/', timeout=20).read().decode())"
        return self.command(sys.executable, "-c", asking, check=False).stdout.strip()

    def close(self) -> None:
        self.journal.terminate()
        self.journal.communicate(timeout=30)
        if names := self.pyctr("ps", "-aq").stdout.split():
            self.pyctr("rm", "-f", *names)
        subprocess.run(["ip", "netns", "delete", self.name], check=True)
