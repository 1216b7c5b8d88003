"""The pull of the images screen against a real registry: stopped in the middle, gone on with where it ended."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from pyctr.core.engine import Engine
from pyctr.core.images.progress import Progress
from pyctr.core.images.push import push
from pyctr.core.paths import Paths
from pyctr.tui import format as f
from pyctr.tui import pulling
from pyctr.tui.table import Look
from tests.support import registry as registries
from tests.support.images import image, member
from tests.support.registry import Proxy, Registry

pytestmark = registries.needed
MIB = 1 << 20


class Watched(pulling.Pull):
    """A pull whose end is an event, and so is having got two MiB of a layer."""

    def __init__(self, paths: Paths) -> None:
        self.ended = threading.Event()
        self.far = threading.Event()
        super().__init__(paths, self._look)

    def _look(self) -> None:
        if not self.running:
            self.ended.set()

    def _hear(self, event: Progress) -> None:
        super()._hear(event)
        if event.done >= 2 * MIB:
            self.far.set()

    def start(self, name: str, platform: str = "") -> None:
        self.ended.clear()
        super().start(name, platform)


def test_a_pull_is_stopped_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    with Registry(tmp_path / "registry") as registry, Proxy(registry.port) as proxy:
        made = Engine(Paths(root=str(tmp_path / "made"), run=str(tmp_path / "run")))
        noise = random.Random(7).randbytes(6 * MIB)
        image(made.images, "app:1", [[member("small", "x")], [member("big", noise)]], compressed=False)
        push(made.images, "app:1", f"{registry.name}/app:1")
        paths = Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run"))
        pull = Watched(paths)
        proxy.cut = lambda number: 3 * MIB
        proxy.stall = True
        pull.start(f"{proxy.name}/app:1")
        assert proxy.stalled.wait(30) and pull.far.wait(30)
        assert pull.running
        pull.stop()
        assert pull.ended.wait(30)
        assert pull.state == pulling.STOPPED
        assert Engine(paths).images.list() == []  # nothing half-made is seen

        proxy.cut = lambda number: None
        asked = len(proxy.ranges())
        pull.start(f"{proxy.name}/app:1")
        assert pull.ended.wait(60)
        assert (pull.state, pull.problem) == (pulling.READY, "")
        [went_on] = proxy.ranges()[asked:]
        assert int(went_on.removeprefix("bytes=").rstrip("-")) >= MIB
        [found] = Engine(paths).images.list()
        assert found.layers[1].size > 6 * MIB
        shown = [f.plain(line) for line in pulling.lines(pull, 60, 20, Look(f.Glyphs()))]
        assert shown[-1].startswith("2 of 2 layers") and shown[-1].endswith("100%")


def test_a_pull_that_fails_says_why_and_can_be_tried_again(tmp_path: Path) -> None:
    with Registry(tmp_path / "registry") as registry:
        pull = Watched(Paths(root=str(tmp_path / "root"), run=str(tmp_path / "run")))
        pull.start(f"{registry.name}/nothing:1")
        assert pull.ended.wait(30)
        assert pull.state == pulling.FAILED and "nothing" in pull.problem
        made = Engine(Paths(root=str(tmp_path / "made"), run=str(tmp_path / "run")))
        image(made.images, "app:1", [[member("small", "x")]])
        push(made.images, "app:1", f"{registry.name}/nothing:1")
        pull.start(f"{registry.name}/nothing:1")
        assert pull.ended.wait(30)
        assert pull.state == pulling.READY
