"""CRI-O's record: the bundle of each container, whose annotations say everything (cri-o, pkg/annotations)."""

from __future__ import annotations

import json

from pyctr.core.engines.containerd import mounts
from pyctr.core.engines.model import Foreign, Log, integer, moment, part, texts, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.engines.trees import Stamp, Tree

RUN = "/run/containers/storage/overlay-containers"
_KEY = "io.kubernetes.cri-o."


class Store:
    """`bundles` are id -> directory with a config.json, as the conmons say."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known: dict[str, tuple[Stamp, Foreign]] = {}

    def look(self, bundles: dict[str, str]) -> list[Foreign]:
        known = {}
        for id, bundle in bundles.items():
            stamp = self._tree.stamp(f"{bundle}/config.json")
            if stamp is None:
                continue
            before = self._known.get(id)
            if before is not None and before[0] == stamp:
                known[id] = before
            else:
                known[id] = (stamp, self._read(id, bundle))
        self._known = known
        return [found for _, found in known.values()]

    def _read(self, id: str, bundle: str) -> Foreign:
        spec = self._tree.json(f"{bundle}/config.json")
        notes = texts(part(spec).get("annotations"))
        try:
            labels = texts(json.loads(notes.get(f"{_KEY}Labels") or "{}"))
        except ValueError:
            labels = {}
        infra = notes.get(f"{_KEY}ContainerType") == "sandbox"
        pod = notes.get("io.kubernetes.pod.name") or labels.get("io.kubernetes.pod.name", "")
        within = notes.get("io.kubernetes.pod.namespace") or labels.get("io.kubernetes.pod.namespace", "")
        inner = "pause" if infra else notes.get("io.kubernetes.container.name", "")
        log = notes.get(f"{_KEY}LogPath", "")
        return Foreign(
            engine="cri-o",
            id=id,
            name=f"{pod}/{inner}" if pod else notes.get(f"{_KEY}Name", ""),
            image=notes.get(f"{_KEY}ImageName") or notes.get(f"{_KEY}Image", ""),
            command=words(part(spec, "process").get("args")),
            created_at=moment(notes.get(f"{_KEY}Created")),
            labels=labels,
            pod=f"{within}/{pod}" if pod else "",
            infra=infra,
            mounts=mounts(spec),
            memory_limit=integer(part(spec, "linux", "resources", "memory").get("limit")) or None,
            log=Log("cri", self._tree.where(log)) if log.startswith("/") and not infra else Log(why="a pause has none"),
            store=bundle,
        )
