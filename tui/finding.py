"""Which layer has this path: a search through the files of all layers and containers, in a thread of its own."""

from __future__ import annotations

import threading

from pyctr.core import errors
from pyctr.core.images.layerfiles import File
from pyctr.core.images.tree import IMAGE, Node
from pyctr.tui import format as f
from pyctr.tui import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Found:
    """What was found so far. `files` has the matching paths of a node by `layer_table.key`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.files: dict[str, list[File]] = {}
        self.titles: set[str] = set()
        """Keys of nodes that are called so themselves."""
        self.done = False
        self.problem = ""

    @property
    def keys(self) -> set[str]:
        return self.titles | self.files.keys()

    @property
    def paths(self) -> int:
        return sum(map(len, self.files.values()))


class Search:
    """`told` is called in the thread after every node with something in it, and at the end."""

    def __init__(self, text: str, roots: Sequence[Node], told: Callable[[], None]) -> None:
        self.found = Found(text)
        self._roots = list(roots)
        self._told = told
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"find {text}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends with the layer that is being read."""
        self._stopping = True

    def _run(self) -> None:
        from pyctr.core.images import tree

        wanted = pattern.compile(self.found.text)
        if wanted is None:
            return
        nodes = [node for root in self._roots for _, node in root.walk()]
        self.found.titles = {node_key(node) for node in nodes if wanted.search(node.title)}
        for node in nodes:
            if self._stopping:
                return
            if node.kind == IMAGE:
                continue  # its files are those of its layers
            try:
                files = [file for file in tree.files(node) if wanted.search(file.path)]
            except (OSError, errors.PyctrError) as problem:
                self.found.problem = f.reason(problem)
                continue
            if files:
                self.found.files[node_key(node)] = files
                self._told()
        self.found.done = True
        self._told()


def node_key(node: Node) -> str:
    """One node of the tree, over refreshes."""
    return f"{node.kind} {node.key}"
