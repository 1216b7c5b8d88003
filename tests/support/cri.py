"""Pods as kubelet makes them: containerd's CRI plugin asked over its socket (k8s.io/cri-api, runtime.v1).

A message is a list of (field, value): bytes, text, numbers and messages. gRPC is HTTP/2 with five bytes before each
message, which curl speaks.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

from pyctr.core.engines.containerd import PODS
from tests.kernel.test_interop_runtime_containerd import IMAGE, Containerd

Message = list[tuple[int, "str | int | Message"]]

NODE = 2
"""A namespace mode: the host's."""
CONFIGURATION = """
version = 2
root = "{base}/c"
state = "{base}/cs"
[grpc]
address = "{base}/c.sock"
[ttrpc]
address = "{base}/c.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{base}/cni"
conf_dir = "{base}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{base}/runc"
"""


def missing() -> str:
    """What this machine has not got; "" if everything is there."""
    if absent := [name for name in ("containerd", "ctr", "curl", "runc") if shutil.which(name) is None]:
        return f"needs {', '.join(absent)}"
    said = subprocess.run(["curl", "--version"], capture_output=True, text=True, timeout=20).stdout
    return "" if "HTTP2" in said else "needs a curl that speaks HTTP/2"


def encode(message: Message) -> bytes:
    out = b""
    for field, value in message:
        if isinstance(value, int):
            out += _varint(field << 3) + _varint(value)
        else:
            content = value.encode() if isinstance(value, str) else encode(value)
            out += _varint(field << 3 | 2) + _varint(len(content)) + content
    return out


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


class Pods(Containerd):
    """A containerd whose CRI plugin is on. Logs of its pods go where kubelet puts them, and are removed with it."""

    configuration = CONFIGURATION

    def __init__(self) -> None:
        super().__init__()
        self.base_words = (*self.base_words, "-n", "k8s.io")
        self._logs: list[str] = []
        self._sandboxes: list[str] = []

    def call(self, method: str, message: Message) -> str:
        """The first field of the answer: an id."""
        body = encode(message)
        asked, said = Path(f"{self.base}/asked"), Path(f"{self.base}/said")
        asked.write_bytes(b"\0" + struct.pack(">I", len(body)) + body)
        said.write_bytes(b"")
        words = ["curl", "-sS", "-v", "--http2-prior-knowledge", "--unix-socket", f"{self.base}/c.sock", "-m", "50"]
        words += ["-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", f"@{asked}"]
        url = f"http://localhost/runtime.v1.RuntimeService/{method}"
        done = subprocess.run(self.enter(*words, "-o", str(said), url), capture_output=True, text=True, timeout=60)
        assert "grpc-status: 0" in done.stderr, f"{method}: {done.stderr[-1500:]}"
        answer = said.read_bytes()[5:]
        return answer[2 : 2 + answer[1]].decode() if len(answer) > 2 else ""

    def pod(self, name: str, uid: str) -> tuple[str, Message]:
        """Start one: (id of its sandbox, what it was asked to be)."""
        self._logs.append(f"{PODS}/shop_{name}_{uid}")
        config: Message = [
            (1, [(1, name), (2, uid), (3, "shop")]),
            (3, self._logs[-1]),
            (6, [(1, "app"), (2, "till")]),
            (6, [(1, "io.kubernetes.pod.name"), (2, name)]),
            (6, [(1, "io.kubernetes.pod.namespace"), (2, "shop")]),
            (6, [(1, "io.kubernetes.pod.uid"), (2, uid)]),
            # the last: security_context.namespace_options.network, so that no plugin of CNI is needed
            (8, [(1, f"{self.group}/kubepods/burstable/pod{uid}"), (2, [(1, [(1, NODE)])])]),
        ]
        self._sandboxes.append(self.call("RunPodSandbox", [(1, config)]))
        return self._sandboxes[-1], config

    def container(self, sandbox: str, config: Message, name: str, script: str, memory: int = 0) -> str:
        """Start one in it."""
        asked: Message = [
            (1, [(1, name), (2, 0)]),
            (2, [(1, IMAGE)]),
            (3, "/bin/sh"),
            (3, "-c"),
            (3, script),
            (9, [(1, "io.kubernetes.container.name"), (2, name)]),
            (11, f"{name}/0.log"),
            (15, [(1, [(4, memory)]), (2, [(3, [(1, NODE)])])]),
        ]
        id = self.call("CreateContainer", [(1, sandbox), (2, asked), (3, config)])
        self.call("StartContainer", [(1, id)])
        return id

    def remove_pod(self, sandbox: str) -> None:
        self.call("StopPodSandbox", [(1, sandbox)])
        self.call("RemovePodSandbox", [(1, sandbox)])
        self._sandboxes.remove(sandbox)

    def close(self) -> None:
        """Pods that a test has left when it failed; the groups of pods are kubelet's to remove, and so ours."""
        for sandbox in [*self._sandboxes]:
            self.remove_pod(sandbox)
        for group in sorted(self.host.groups(), key=len, reverse=True):
            if "/kubepods" in group:
                os.rmdir(group)
        for directory in self._logs:
            shutil.rmtree(directory, ignore_errors=True)
        try:
            os.rmdir(PODS)
        except OSError:
            pass  # there are pods on this machine, or none were started
        super().close()
