"""The image that is unpacked, loaded and pulled: one layer of this host's own files, another one for every turn.

About 8,200 files, 77 MB packed with gzip. Turns differ in one small file, which is a gzip member of its own behind the
others, so that no turn finds anything of the one before and nothing has to be removed between them: on ext4, making
files where many have just been deleted takes several times as long (recently_deleted() in fs/ext4/ialloc.c), whoever
makes them.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

FILES, PACKED = 8_200, 77 << 20
_MIDDLE, _LARGEST, _SLACK = 16 << 10, 2 << 20, 1 << 20
_ROOTS = ("/usr/lib", "/usr/share", "/usr/bin", "/usr/sbin")
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Material:
    """What all turns have in common."""

    def __init__(self, work: Path) -> None:
        self.work = work / "material"
        self.work.mkdir()
        self.common = self.work / "common.gz"
        self.files = 0
        self.plain = sha256()
        with self.common.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packer:
            # without the two empty blocks that end an archive: a file of the turn follows
            for path in _sources():
                size = path.stat().st_size
                # small ones while there is too much already, large ones while there is too little
                ahead = raw.tell() - PACKED * self.files // FILES
                if (ahead > _SLACK and size > _MIDDLE) or (ahead < -_SLACK and size < _MIDDLE):
                    continue
                content = _member(str(path)[1:], path.read_bytes(), path.stat())
                self.plain.update(content)
                packer.write(content)
                self.files += 1
                if self.files >= FILES:
                    break
        self.size = self.common.stat().st_size
        self.packed = sha256(self.common.read_bytes())
        self._turns: dict[int, Turn] = {}

    @property
    def words(self) -> str:
        return f"{self.size / 1e6:.0f} MB, {self.files:,} files"

    def turn(self, number: int) -> Turn:
        """The image of one turn, the same one for every contender."""
        if number not in self._turns:
            self._turns[number] = Turn(self, number)
        return self._turns[number]


class Turn:
    """One image as file, as OCI layout, as docker-archive and in a registry."""

    def __init__(self, material: Material, number: int) -> None:
        self.name = f"big{number}"
        self._pushed: set[str] = set()
        self.place = material.work / self.name
        self.layout = self.place / "layout"
        self.blobs = self.layout / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        end = _member("turn", f"{number}\n".encode(), None) + b"\0" * 1024
        packed = gzip.compress(end, mtime=0)
        plain, digest = material.plain.copy(), material.packed.copy()
        plain.update(end)
        digest.update(packed)
        self.packed = self.blobs / digest.hexdigest()
        shutil.copyfile(material.common, self.packed)
        with self.packed.open("ab") as file:
            file.write(packed)
        layer = {
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": f"sha256:{digest.hexdigest()}",
            "size": self.packed.stat().st_size,
        }
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        self.config = self._add(
            {
                "architecture": machine,
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{plain.hexdigest()}"]},
            },
            "application/vnd.oci.image.config.v1+json",
        )
        self.manifest = self._add(
            {"schemaVersion": 2, "mediaType": _MANIFEST, "config": self.config, "layers": [layer]}, _MANIFEST
        )
        named = {**self.manifest, "annotations": {"org.opencontainers.image.ref.name": self.name}}
        (self.layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
        (self.layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def _add(self, document: object, kind: str) -> dict[str, object]:
        content = json.dumps(document).encode()
        digest = sha256(content).hexdigest()
        (self.blobs / digest).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    @property
    def archive(self) -> Path:
        """As docker save packs it."""
        path = self.place / "docker.tar"
        if not path.exists():
            config = self.blobs / str(self.config["digest"])[7:]
            listed = [{"Config": config.name, "RepoTags": [f"{self.name}:latest"], "Layers": ["layer.tar"]}]
            (self.place / "manifest.json").write_text(json.dumps(listed))
            with tarfile.open(path, "w") as tar:
                tar.add(config, config.name)
                tar.add(self.packed, "layer.tar")
                tar.add(self.place / "manifest.json", "manifest.json")
        return path

    def push(self, registry: str) -> str:
        """Into a registry without a password; the name to pull (distribution-spec, "Pushing a blob monolithically")."""
        name = f"{registry}/{self.name}:1"
        if name in self._pushed:
            return name
        self._pushed.add(name)
        server = http.client.HTTPConnection(registry)

        def call(method: str, path: str, status: int, body: object = None, kind: str = "") -> str:
            headers = {"Content-Type": kind or "application/octet-stream"}
            server.request(method, path, body, headers)  # type: ignore[arg-type]
            answer = server.getresponse()
            said = answer.read()
            if answer.status != status:
                raise RuntimeError(f"{method} {path} -> {answer.status}: {said[:400]!r}")
            return answer.headers.get("Location") or ""

        for blob in self.blobs.iterdir():
            if blob.name == str(self.manifest["digest"])[7:]:
                continue
            place = urlsplit(call("POST", f"/v2/{self.name}/blobs/uploads/", 202))
            with blob.open("rb") as file:
                call("PUT", f"{place.path}?{place.query}&digest=sha256:{blob.name}", 201, file)
        manifest = (self.blobs / str(self.manifest["digest"])[7:]).read_bytes()
        call("PUT", f"/v2/{self.name}/manifests/1", 201, manifest, _MANIFEST)
        server.close()
        return name


def _member(name: str, content: bytes, like: os.stat_result | None) -> bytes:
    """A file in a tar archive, with its padding."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    if like is not None:
        info.mode, info.mtime = like.st_mode & 0o7777, like.st_mtime
    return info.tobuf(tarfile.PAX_FORMAT) + content + b"\0" * (-len(content) % 512)


def _sources() -> Iterator[Path]:
    """Files of the host, not the largest, always in the same order."""
    for top in _ROOTS:
        for directory, names, files in os.walk(top):
            names.sort()
            for name in sorted(files):
                path = Path(directory, name)
                if path.is_file() and path.stat().st_size <= _LARGEST:
                    yield path
