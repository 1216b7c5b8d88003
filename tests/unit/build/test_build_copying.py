"""COPY and ADD on real files: where things go, what they are there, and what the digest says."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.build.context import Context
from pyctr.core.build.copying import Copy, CopyJob
from pyctr.core.build.ignore import Ignore
from pyctr.core.errors import NetworkError, NotFound, PyctrError, StorageError, UsageError

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")


class Place:
    """A context directory, a rootfs, and COPY between them."""

    def __init__(self, top: Path) -> None:
        self.source, self.target, self.scratch = top / "context", top / "rootfs", top / "scratch"
        for directory in (self.source, self.target, self.scratch):
            directory.mkdir()
            directory.chmod(0o755)

    def files(self, **texts: str) -> Place:
        for name, text in texts.items():
            self.file(name, text)
        return self

    def file(self, name: str, text: str | bytes = "x", mode: int = 0o644, top: Path | None = None) -> Path:
        path = (top or self.source) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    def job(self, copy: Copy, **how: Any) -> CopyJob:
        context = how.pop("context", None) or Context.directory(str(self.source), Ignore.read(how.pop("ignore", "")))
        with context:
            return CopyJob(copy, context, str(self.scratch))

    def copy(self, *words: str, ignore: str = "", stage: bool = False, **how: Any) -> None:
        fd = os.open(self.source, os.O_RDONLY)
        context = Context.rootfs(fd) if stage else Context.directory(str(self.source), Ignore.read(ignore))
        os.close(fd)
        root = os.open(self.target, os.O_RDONLY)
        try:
            with context, CopyJob(Copy([*words[:-1]], words[-1], **how), context, str(self.scratch)) as job:
                job.write(root)
        finally:
            os.close(root)
        assert os.listdir(self.scratch) == []

    def digest(self, *words: str, ignore: str = "", **how: Any) -> str:
        with (
            Context.directory(str(self.source), Ignore.read(ignore)) as context,
            CopyJob(Copy([*words[:-1]], words[-1], **how), context, str(self.scratch)) as job,
        ):
            return job.digest()

    def tree(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.target)) + ("/" if path.is_dir() and not path.is_symlink() else "")
            for path in self.target.rglob("*")
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_where_sources_go(place: Place) -> None:
    """One row per rule of the Dockerfile reference."""
    place.file("file"), place.file("dir/a"), place.file("dir/sub/b")
    rows: list[tuple[tuple[str, ...], dict[str, Any], list[str]]] = [
        (("file", "/new"), {}, ["new"]),
        (("file", "/new/"), {}, ["new/", "new/file"]),
        (("/file", "."), {"workdir": "/w"}, ["w/", "w/file"]),
        (("file", "name"), {"workdir": "/w"}, ["w/", "w/name"]),
        (("../../file", "/deep/er/name"), {}, ["deep/", "deep/er/", "deep/er/name"]),
        (("dir", "/to"), {}, ["to/", "to/a", "to/sub/", "to/sub/b"]),
        (("dir/", "/to/"), {}, ["to/", "to/a", "to/sub/", "to/sub/b"]),
        (("file", "dir", "/to/"), {}, ["to/", "to/a", "to/file", "to/sub/", "to/sub/b"]),
        (("d*", "/to/"), {}, ["to/", "to/a", "to/sub/", "to/sub/b"]),
        (("dir/*", "/to/"), {}, ["to/", "to/a", "to/b"]),
        (("fil?", "dir/[a-b]", "/to/"), {}, ["to/", "to/a", "to/file"]),
        (("none*", "file", "/to/"), {}, ["to/", "to/file"]),
        (("dir/sub/b", "/to/"), {"parents": True}, ["to/", "to/dir/", "to/dir/sub/", "to/dir/sub/b"]),
        (("./dir/./sub/b", "/to/"), {"parents": True}, ["to/", "to/sub/", "to/sub/b"]),
        (("**/b", "/to/"), {"parents": True}, ["to/", "to/dir/", "to/dir/sub/", "to/dir/sub/b"]),
        (("dir", "/to/"), {"parents": True}, ["to/", "to/dir/", "to/dir/a", "to/dir/sub/", "to/dir/sub/b"]),
        (("dir", "/to/"), {"exclude": ["sub"]}, ["to/", "to/a"]),
        (("*", "/to/"), {"exclude": ["fi*", "**/b"]}, ["to/", "to/a", "to/sub/"]),
        ((".", "/to"), {"exclude": ["*", "!dir/sub/b"]}, ["to/", "to/dir/", "to/dir/sub/", "to/dir/sub/b"]),
    ]
    for words, how, expected in rows:
        place.copy(*words, **how)
        assert place.tree() == expected, words
        place.target = place.target.with_name(place.target.name + "+")
        place.target.mkdir()


def test_a_file_goes_into_a_directory_that_is_there_and_through_links_within_the_rootfs(place: Place) -> None:
    place.file("file", "new")
    (place.target / "there").mkdir()
    place.copy("file", "/there")
    (place.target / "link").symlink_to("/there/other")
    place.copy("file", "/link")
    (place.target / "opt").symlink_to("../../../there")
    place.copy("file", "/opt/third")
    assert place.tree() == ["link", "opt", "there/", "there/file", "there/other", "there/third"]
    assert os.readlink(place.target / "link") == "/there/other"


def test_several_sources_want_a_directory(place: Place) -> None:
    for how in ({}, {"add": True}):
        with pytest.raises(UsageError, match="several sources to '/x'"):
            Copy(["a", "b"], "/x", **how)  # type: ignore[arg-type]


def test_a_directory_and_a_file_do_not_replace_each_other(place: Place) -> None:
    place.file("dir/a"), place.file("name", top=place.source / "over")
    (place.target / "f").write_text("x")
    with pytest.raises(PyctrError, match="is a directory, and what is there is none"):
        place.copy("dir", "/f")
    (place.target / "to/name").mkdir(parents=True)
    with pytest.raises(StorageError, match="'name' is a file, and what is there is a directory"):
        place.copy("over", "/to")


def test_missing_and_ignored_sources_are_told_apart(place: Place) -> None:
    place.file("secret")
    with pytest.raises(NotFound) as gone:
        place.copy("nothing", "/")
    with pytest.raises(NotFound) as hidden:
        place.copy("secret", "/", ignore="secret")
    with pytest.raises(NotFound):
        place.copy("secret", "/", ignore="*\n!other")
    assert ".dockerignore" not in gone.value.hint and ".dockerignore" in hidden.value.hint


def test_ignored_files_stay_behind_wherever_they_are(place: Place) -> None:
    for name in ("a.log", "keep.log", "dir/b.log", "dir/c", "node/deep/x", "node/keep"):
        place.file(name)
    place.copy(".", "/", ignore="**/*.log\n!keep.log\nnode\n!node/keep\n")
    assert place.tree() == ["dir/", "dir/c", "keep.log", "node/", "node/keep"]


@root_only
def test_files_of_a_context_become_roots_and_those_of_a_stage_keep_their_owner(place: Place) -> None:
    path = place.file("dir/file", mode=0o4640)
    os.chown(path, 1000, 1001)
    os.chown(path.parent, 1002, 1003)
    os.chmod(path, 0o4640)
    os.utime(path, ns=(1, 1_500_000_000_123_456_789))
    os.utime(path.parent, ns=(1, 1_400_000_000_000_000_001))
    place.copy("dir", "/a/b")
    place.copy("dir", "/stage", stage=True)
    made, kept = place.target / "a/b/file", place.target / "stage/file"
    assert [(made.stat().st_uid, made.stat().st_gid), (made.parent.stat().st_uid)] == [(0, 0), 0]
    assert (kept.stat().st_uid, kept.stat().st_gid, kept.parent.stat().st_gid) == (1000, 1001, 1003)
    assert made.stat().st_mode & 0o7777 == kept.stat().st_mode & 0o7777 == 0o4640
    assert made.stat().st_mtime_ns == 1_500_000_000_123_456_789
    assert made.parent.stat().st_mtime_ns == 1_400_000_000_000_000_001


@root_only
@pytest.mark.parametrize(
    ("chown", "expected"),
    [("app", (7, 8)), ("app:wheel", (7, 10)), ("12", (12, 12)), ("12:13", (12, 13)), ("app:14", (7, 14)),
     ("12:wheel", (12, 10))],
)  # fmt: skip
def test_names_of_chown_are_those_of_the_rootfs(place: Place, chown: str, expected: tuple[int, int]) -> None:
    place.file("etc/passwd", "root:x:0:0::/:\napp:x:7:8::/:\n", top=place.target)
    place.file("etc/group", "wheel:x:10:\n", top=place.target)
    place.file("dir/file")
    place.copy("dir", "/new/to", chown=chown)
    for name in ("new", "new/to", "new/to/file"):
        found = (place.target / name).stat()
        assert (found.st_uid, found.st_gid) == expected, name


def test_an_unknown_user_of_chown_is_a_mistake_of_the_dockerfile(place: Place) -> None:
    place.file("file")
    with pytest.raises(UsageError, match="--chown=nobody: no user 'nobody'"):
        place.copy("file", "/", chown="nobody")


@pytest.mark.parametrize(
    ("chmod", "file", "directory"),
    [("0600", 0o600, 0o600), ("u=rwX,go=rX", 0o644, 0o755), ("go-rwx", 0o600, 0o700), ("a+x", 0o755, 0o755),
     ("4711", 0o4711, 0o4711), ("u+s,o=u", 0o4646, 0o4757), ("+t", 0o1644, 0o1755), ("g=u-w", 0o654 & 0o644, 0o755)],
)  # fmt: skip
def test_chmod_is_octal_or_symbolic(place: Place, chmod: str, file: int, directory: int) -> None:
    place.file("dir/file", mode=0o644)
    (place.source / "dir").chmod(0o755)
    place.copy("dir", "/to", chmod=chmod)
    found = [stat.S_IMODE((place.target / name).stat().st_mode) for name in ("to/file", "to")]
    assert [f"{mode:o}" for mode in found] == [f"{mode:o}" for mode in (file, directory)]


@pytest.mark.parametrize("chmod", ["8", "77777", "u", "x=r", "u=rq", ","])
def test_a_mode_that_is_none_is_refused_before_anything_is_copied(chmod: str) -> None:
    with pytest.raises(UsageError, match="is no mode"):
        Copy(["a"], "/", chmod=chmod)


def test_a_destination_that_is_there_keeps_its_mode_and_a_new_one_gets_the_sources(place: Place) -> None:
    place.file("dir/sub/file")
    (place.source / "dir").chmod(0o711)
    (place.source / "dir/sub").chmod(0o711)
    (place.target / "old/sub").mkdir(parents=True)
    for name in ("old", "old/sub"):
        (place.target / name).chmod(0o1777)
    place.copy("dir", "/old")
    place.copy("dir", "/new")
    modes = [stat.S_IMODE((place.target / name).stat().st_mode) for name in ("old", "old/sub", "new", "new/sub")]
    assert modes == [0o1777, 0o711, 0o711, 0o711]


def test_hard_links_holes_and_xattrs_arrive(place: Place) -> None:
    first = place.file("dir/a", "content")
    os.link(first, place.source / "dir/b")
    with open(place.source / "dir/sparse", "wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"island")
    os.setxattr(first, "user.note", b"kept")
    place.copy("dir", "/to")
    to = place.target / "to"
    assert (to / "a").stat().st_ino == (to / "b").stat().st_ino and (to / "a").stat().st_nlink == 2
    assert os.getxattr(to / "b", "user.note") == b"kept"
    assert (to / "sparse").stat().st_size == 64 << 20 and (to / "sparse").stat().st_blocks * 512 < 4 << 20
    with open(to / "sparse", "rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(
            bytes(32 << 20) + b"island" + bytes((32 << 20) - 6)
        ).digest()  # fmt: skip


def test_no_link_leads_out_of_the_context_or_the_rootfs(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (place.source / "out").symlink_to(outside)
    (place.source / "up").symlink_to("../outside/secret")
    for word in ("out/secret", "up", "out/*"):
        try:
            place.copy(word, "/got/")
        except NotFound:
            continue
    assert not (place.target / "got/secret").exists()
    (place.target / "out").symlink_to(outside)
    (place.target / "rel").symlink_to("../outside")
    place.file("file")
    place.copy("file", "/out/x")
    place.copy("file", "/rel/y")
    place.copy("file", "/rel/z/../../../../w")
    assert os.listdir(outside) == ["secret"]


def test_named_links_are_followed_and_others_stay_links(place: Place) -> None:
    place.file("real", "r"), place.file("dir/x")
    (place.source / "named").symlink_to("real")
    (place.source / "dir/inner").symlink_to("../real")
    (place.source / "also").symlink_to("/dir")
    place.copy("named", "/a/")
    place.copy("dir", "/b")
    place.copy("also", "/c")
    assert (place.target / "a/named").read_text() == "r" and not (place.target / "a/named").is_symlink()
    assert os.readlink(place.target / "b/inner") == "../real"
    assert (place.target / "c/x").is_file()


def test_a_fifo_and_a_socket_in_the_context_hold_nobody(place: Place) -> None:
    import socket

    place.file("dir/file")
    os.mkfifo(place.source / "dir/fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place.source / "dir/socket"))
    place.copy("dir", "/to")
    assert place.tree() == ["to/", "to/fifo", "to/file"]
    place.copy("dir/fifo", "/pipe", add=True)
    assert stat.S_ISFIFO((place.target / "pipe").stat().st_mode)


def archive(write: Callable[[tarfile.TarFile], None]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        write(tar)
    return out.getvalue()


def member(tar: tarfile.TarFile, name: str, content: bytes = b"", **fields: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o640
    for key, value in fields.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(content))


def ordinary(tar: tarfile.TarFile) -> None:
    member(tar, "d/", type=tarfile.DIRTYPE, mode=0o711, uid=5, gid=6, mtime=1_300_000_000)
    member(tar, "d/.wh.file", b"no whiteout", uid=5, gid=6, mtime=1_200_000_000)
    member(tar, "d/link", type=tarfile.SYMTYPE, linkname="/etc")
    member(tar, "d/hard", type=tarfile.LNKTYPE, linkname="d/.wh.file")


def zstd(data: bytes) -> bytes:
    from pyctr.core.images.decompress import zstd_module

    return bytes(zstd_module().compress(data))


@root_only
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd])
def test_add_unpacks_local_archives_of_every_compression(place: Place, pack: Callable[[bytes], bytes]) -> None:
    place.file("x.any", pack(archive(ordinary)))
    place.copy("x.any", "/to", add=True)
    assert place.tree() == ["to/", "to/d/", "to/d/.wh.file", "to/d/hard", "to/d/link"]
    found = (place.target / "to/d/hard").stat()
    assert (found.st_uid, found.st_nlink, found.st_mode & 0o777, found.st_mtime) == (5, 2, 0o640, 1_200_000_000)
    above = (place.target / "to/d").stat()
    assert (above.st_gid, above.st_mode & 0o777, above.st_mtime) == (6, 0o711, 1_300_000_000)


def test_copy_and_add_without_unpacking_leave_archives_alone(place: Place) -> None:
    content = gzip.compress(archive(ordinary))
    place.file("x.tgz", content), place.file("fake.tar", "no archive at all"), place.file("short.gz", content[:20])
    place.copy("x.tgz", "/a/")
    place.copy("x.tgz", "/b/", add=True, unpack=False)
    place.copy("fake.tar", "short.gz", "/c/", add=True)
    assert place.tree() == ["a/", "a/x.tgz", "b/", "b/x.tgz", "c/", "c/fake.tar", "c/short.gz"]


@pytest.mark.parametrize(
    "evil",
    [
        lambda tar: member(tar, "../out", b"x"),
        lambda tar: member(tar, "a/../../out", b"x"),
        lambda tar: (member(tar, "l", type=tarfile.SYMTYPE, linkname="../.."), member(tar, "l/out", b"x")),
        lambda tar: (member(tar, "l", type=tarfile.SYMTYPE, linkname="/../../.."), member(tar, "l/out", b"x")),
        lambda tar: member(tar, "l", type=tarfile.LNKTYPE, linkname="../out"),
        lambda tar: (member(tar, "s", type=tarfile.SYMTYPE, linkname="../../victim"), member(tar, "s", b"x")),
    ],
)
def test_an_archive_writes_nothing_outside_of_the_rootfs(
    place: Place, tmp_path: Path, evil: Callable[[tarfile.TarFile], None]
) -> None:
    (tmp_path / "victim").write_text("safe")
    before = sorted(os.listdir(tmp_path))
    place.file("x.tar", archive(evil))
    try:
        place.copy("x.tar", "/to/", add=True)
    except StorageError:
        pass  # refused is as good as kept inside
    assert sorted(os.listdir(tmp_path)) == before and (tmp_path / "victim").read_text() == "safe"


def test_a_cut_archive_is_one_clear_error(place: Place) -> None:
    whole = archive(lambda tar: member(tar, "big", os.urandom(100_000)))
    place.file("x.tar", whole[:50_000]), place.file("y.tgz", gzip.compress(whole)[:60_000])
    for name in ("x.tar", "y.tgz"):
        with pytest.raises(StorageError, match=r"ends in the middle|cut short"):
            place.copy(name, "/to/", add=True)


def test_a_context_can_be_an_archive(tmp_path: Path) -> None:
    stream = io.BytesIO(gzip.compress(archive(ordinary)))
    scratch = str(tmp_path / "s")
    with Context.archive(stream, scratch) as context:
        assert context.read("d/.wh.file") == b"no whiteout" and context.read("nothing") is None
    assert os.listdir(tmp_path) == []
    with pytest.raises(StorageError):
        Context.archive(io.BytesIO(b"FROM scratch\n" * 100), scratch)
    assert os.listdir(tmp_path) == []


class Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"downloaded"
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/dir/file.txt")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/gone" else 200)
        if self.path == "/archive.tar":
            body = archive(ordinary)
        if self.path == "/named":
            self.send_header("Content-Disposition", 'attachment; filename="../../given"')
        self.send_header("Content-Length", str(len(body) + (5 if self.path == "/cut" else 0)))
        if self.path != "/named":
            self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_add_fetches_urls(place: Place, web: str) -> None:
    digest = "sha256:" + hashlib.sha256(b"downloaded").hexdigest()
    place.copy(f"{web}/dir/file.txt?query=1", "/to/", add=True, checksum=digest)
    place.copy(f"{web}/moved", "/plain", add=True, chmod="644")
    place.copy(f"{web}/named", "/to/", add=True)
    place.copy(f"{web}/archive.tar", "/to/", add=True)
    assert place.tree() == ["plain", "to/", "to/archive.tar", "to/file.txt", "to/given"]
    fetched, plain, named = ((place.target / name).stat() for name in ("to/file.txt", "plain", "to/given"))
    assert (fetched.st_mode & 0o777, plain.st_mode & 0o777) == (0o600, 0o644)
    assert (fetched.st_mtime, named.st_mtime) == (1445412480, 0)
    place.copy(f"{web}/archive.tar", "/unpacked/", add=True, unpack=True)
    assert (place.target / "unpacked/d/hard").is_file()


def test_a_url_that_fails_leaves_nothing(place: Place, web: str) -> None:
    with pytest.raises(UsageError, match="really is 'sha256:"):
        place.copy(f"{web}/x", "/to/", add=True, checksum="sha256:" + "0" * 64)
    with pytest.raises(NetworkError, match="404"):
        place.copy(f"{web}/gone", "/to/", add=True)
    with pytest.raises(NetworkError, match="cut"):
        place.copy(f"{web}/cut", "/to/", add=True)
    with pytest.raises(UsageError, match="name for the file"):
        place.copy(f"{web}/", "/to/", add=True)
    assert place.tree() == [] and os.listdir(place.scratch) == []


def test_heredocs_become_files(place: Place) -> None:
    place.copy("/etc/motd", heredocs=[("EOF", b"hello\n")])
    place.copy("/usr/bin/", heredocs=[("run.sh", b"#!/bin/sh\n"), ("b", b"")], chmod="755")
    assert (place.target / "etc/motd").read_text() == "hello\n"
    assert stat.S_IMODE((place.target / "etc/motd").stat().st_mode) == 0o644
    assert stat.S_IMODE((place.target / "usr/bin/run.sh").stat().st_mode) == 0o755


def test_the_digest_changes_with_what_will_be_there_and_with_nothing_else(place: Place) -> None:
    path = place.file("dir/file", "one")
    place.file("dir/log")
    first = place.digest("dir", "/x", ignore="**/log")
    seen = {first}

    def changed(**how: Any) -> bool:
        now = place.digest("dir", "/x", **{"ignore": "**/log", **how})
        new = now not in seen
        seen.add(now)
        return new

    os.utime(path, (1, 1))
    place.file("dir/log", "other")
    os.chown(path, 7, 7) if os.geteuid() == 0 else None
    assert not changed()
    path.chmod(0o600)
    assert changed() and not changed(chmod="") and changed(chmod="0600")
    path.write_text("two")
    assert changed()
    path.rename(path.with_name("file2"))
    assert changed() and changed(ignore="") and changed(exclude=["file2"])
    (place.source / "dir/link").symlink_to("a")
    assert changed()
    (place.source / "dir/link").unlink()
    (place.source / "dir/link").symlink_to("b")
    assert changed()
    os.link(place.source / "dir/file2", place.source / "dir/hard")
    assert changed()
    os.setxattr(place.source / "dir/file2", "user.x", b"1")
    assert changed()
