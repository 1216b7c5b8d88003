"""Making the base image: a skeleton, busybox if this host has one, and the host's own tools for what is then missing.

Layers are plain tar with fixed owners, sorted names and the times of the files they come from: the same host files
give the same digest, whatever the time, the user's umask or the version of zlib.
"""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile

from pyctr.core.errors import StorageError
from pyctr.core.images import base, model
from pyctr.core.images.blobs import Writer
from pyctr.core.images.elf import Linker, read
from pyctr.core.images.model import Image
from pyctr.core.images.store import ImageStore

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SEARCH = PATH.split(":")
_BUSYBOX = ("busybox", "busybox-static", "/usr/lib/initramfs-tools/bin/busybox", "/usr/lib/busybox/bin/busybox")

_WORDS = """
sh awk base64 basename cat chgrp chmod chown clear cmp cp cut date dd df diff dirname du echo egrep env expand expr
false fgrep find fold free getopt grep groups gzip gunzip head hexdump hostname httpd id ip kill killall less ln ls
md5sum mkdir mkfifo mknod mktemp more mount mv nc nl nproc nsenter od paste pidof ping printf ps pwd readlink realpath
renice reset rm rmdir sed seq setsid sha256sum shuf sleep sort stat stty su sync tac tail tar tee test timeout top
touch tr traceroute true truncate tty umount uname uniq unlink unshare uptime vi watch wc wget which who whoami xargs
xxd yes zcat
"""
_NOT_FROM_HOST = ("httpd", "vi")  # Apache under that name; vim with an interpreter in it
_PERL_HELPERS = ("httpd", "nc", "wget")
_SHELL_HELPERS = ("free", "ps")
_MORE = "bash install nice nohup pgrep pkill printenv split"
TOOLS = _WORDS.split()
"""What a container made from the base image is expected to have."""

_TERMINALS = (
    "dumb",
    "linux",
    "screen",
    "screen-256color",
    "tmux-256color",
    "vt100",
    "vt220",
    "xterm",
    "xterm-256color",
)

_TEXTS = {
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nbin:x:2:2:bin:/bin:/bin/false\n"
        "www-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
    ),
    "etc/group": (
        "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nmail:x:8:\nwww-data:x:33:\n"
        "utmp:x:43:\nusers:x:100:\nnogroup:x:65534:\n"
    ),
    "etc/shadow": "root:*:0:0:99999:7:::\nnobody:*:0:0:99999:7:::\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    "etc/hostname": "localhost\n",
    "etc/resolv.conf": "",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "etc/services": "ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\nhttp 80/tcp\nhttps 443/tcp\n",
    "etc/protocols": "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\n",
    "etc/shells": "/bin/sh\n",
    "etc/profile": f"export PATH={PATH}\n",
    "etc/os-release": (
        'NAME="pyctr base"\nID=pyctr-base\nPRETTY_NAME="pyctr base (made from the host\'s own tools)"\n'
        'HOME_URL="https://github.com/opencontainers/image-spec"\n'
    ),
}
_PLACES = """
dev etc home mnt opt proc run srv sys usr usr/bin usr/lib usr/lib64 usr/local usr/local/bin usr/local/sbin
usr/sbin usr/share var var/cache var/lib var/log var/spool var/www
"""
_LINKS = {
    "bin": "usr/bin",
    "sbin": "usr/sbin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "etc/mtab": "/proc/mounts",
    "var/run": "/run",
}


class Tree:
    """Files of one layer: path without leading slash -> what is there."""

    def __init__(self, created_by: str) -> None:
        self.created_by = created_by
        self.entries: dict[str, tuple[str, int, str | bytes]] = {}
        """(kind, mode, source path | contents | link target)"""
        self.newest = 0

    def directory(self, path: str, mode: int = 0o755) -> None:
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.directory(parent)
        self.entries.setdefault(path, ("directory", mode, ""))

    def text(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        self.entries[path] = ("text", mode, content.encode() if isinstance(content, str) else content)

    def link(self, path: str, target: str) -> None:
        self.entries.setdefault(path, ("link", 0o777, target))

    def copy(self, source: str) -> str:
        """A host file at the same (merged-usr) place; returns that place."""
        place = image_path(os.path.realpath(source))
        if place not in self.entries:
            found = os.stat(source)
            # no set-user-ID bits: su or mount would be a way up that nobody asked for
            self.entries[place] = ("file", 0o755 if found.st_mode & stat.S_IXUSR else 0o644, os.path.realpath(source))
            self.newest = max(self.newest, int(found.st_mtime))
            self.directory(os.path.dirname(place))
        return place

    def write(self, out: Writer, when: int) -> None:
        """As a tar archive. `when` dates everything that has no date of its own."""
        for path in list(self.entries):
            if parent := os.path.dirname(path):
                self.directory(parent)
        for path in sorted(self.entries):
            kind, mode, what = self.entries[path]
            content = b""
            member = tarfile.TarInfo(path)
            member.mode, member.mtime = mode, when
            if kind == "directory":
                member.type = tarfile.DIRTYPE
            elif kind == "link":
                member.type = tarfile.SYMTYPE
                member.linkname = str(what)
            else:
                if isinstance(what, bytes):
                    content = what
                else:
                    with open(what, "rb") as file:
                        content = file.read()
                    member.mtime = int(os.stat(what).st_mtime)
                member.size = len(content)
            out.write(member.tobuf(tarfile.PAX_FORMAT))
            out.write(content + bytes(-len(content) % 512))
        out.write(bytes(1024))


def image_path(path: str) -> str:
    """Where a host path lives in the image, which has one /usr for everything."""
    path = os.path.normpath(path).lstrip("/")
    if path.split("/")[0] in ("bin", "sbin", "lib", "lib64", "lib32", "libx32"):
        path = f"usr/{path}"
    return path


def build(store: ImageStore, *, busybox: bool = True, tools: tuple[str, ...] | list[str] = TOOLS) -> Image:
    """Make the image and give it its name. `busybox=False` ignores the host's busybox.

    Raises StorageError when the host has not even a shell.
    """
    trees = layers(busybox=busybox, tools=tools)
    when = max(tree.newest for tree in trees)
    created = model.rfc3339(when)
    with store.adding():
        descriptors = []
        for tree in trees:
            with store.blobs.writer() as writer:
                tree.write(writer, when)
                digest = writer.commit()
                descriptors.append({"mediaType": model.LAYER, "digest": digest, "size": writer.size})
        configuration = {
            "created": created,
            "architecture": model.platform_architecture(),
            "os": "linux",
            "config": {
                "Env": [f"PATH={PATH}"],
                "Cmd": ["/bin/sh"],
                "WorkingDir": "/",
                "Labels": {
                    "org.opencontainers.image.title": "pyctr base",
                    "org.opencontainers.image.description": "the host's own shell and core tools",
                },
            },
            "rootfs": {"type": "layers", "diff_ids": [descriptor["digest"] for descriptor in descriptors]},
            "history": [
                *({"created": created, "created_by": tree.created_by} for tree in trees),
                {"created": created, "created_by": 'CMD ["/bin/sh"]', "empty_layer": True},
            ],
        }
        import json

        content = json.dumps(configuration, sort_keys=True, separators=(",", ":")).encode()
        digest = store.blobs.add(content)
        manifest = {
            "schemaVersion": 2,
            "mediaType": model.MANIFEST,
            "config": {"mediaType": model.CONFIG, "digest": digest, "size": len(content)},
            "layers": descriptors,
        }
        return store.add(manifest, base.NAME)


def layers(*, busybox: bool = True, tools: tuple[str, ...] | list[str] = TOOLS) -> list[Tree]:
    """The layers, bottom first: skeleton, busybox, host tools that busybox does not have."""
    trees = [_skeleton()]
    have: set[str] = set()
    if busybox and (found := _find_busybox()):
        path, applets, version = found
        trees.append(_busybox(path, applets, version))
        have.update(applets)
    rest = [tool for tool in tools if tool not in have]
    if "sh" not in have:
        rest += _MORE.split()  # what busybox does not have everywhere is not worth a second C library
    helpers, helped = _helpers([name for name in rest if name in (*_PERL_HELPERS, *_SHELL_HELPERS)])
    tree, made = _host_tools([name for name in rest if name not in helped and name not in _NOT_FROM_HOST])
    have.update(made)
    if made:
        trees.append(tree)
    if helped:
        trees.append(helpers)
    if "sh" not in have:
        raise StorageError(
            "this host has neither busybox nor /bin/sh to make a base image from", hint="install busybox-static"
        )
    return trees


def _skeleton() -> Tree:
    tree = Tree("skeleton: /etc, /tmp, /root, merged /usr")
    for directory in _PLACES.split():
        tree.directory(directory)
    tree.directory("root", 0o700)
    tree.directory("tmp", 0o1777)
    tree.directory("var/tmp", 0o1777)
    for path, text in _TEXTS.items():
        tree.text(path, text, 0o640 if path == "etc/shadow" else 0o644)
    for path, target in _LINKS.items():
        tree.link(path, target)
    return tree


def which(name: str) -> str | None:
    """A program of the host, looked for where systems keep theirs and not in the caller's PATH."""
    for directory in [""] if name.startswith("/") else _SEARCH:
        path = f"{directory}/{name}" if directory else name
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _find_busybox() -> tuple[str, list[str], str] | None:
    """(path, applets, version) of a busybox that has a shell."""
    for name in _BUSYBOX:
        path = which(name)
        if path is None:
            continue
        try:
            listed = subprocess.run(
                [path, "--list"], capture_output=True, text=True, timeout=10, check=True, env={"PATH": PATH}
            )
        except (OSError, subprocess.SubprocessError):
            continue  # of another architecture, or no busybox at all
        applets = [applet for applet in listed.stdout.split() if "/" not in applet]
        if "sh" in applets:
            banner = subprocess.run([path], capture_output=True, text=True, timeout=10, check=False, env={"PATH": PATH})
            words = banner.stdout.split()
            version = words[1].removeprefix("v") if len(words) > 1 and words[0] == "BusyBox" else ""
            return path, applets, version
    return None


def _busybox(path: str, applets: list[str], version: str) -> Tree:
    tree = Tree(f"busybox {version}: {len(applets)} tools from {path}")
    _add_program(tree, path, Linker())
    place = image_path(os.path.realpath(path))
    if place != "usr/bin/busybox":
        tree.link("usr/bin/busybox", f"/{place}")
    for applet in applets:
        if applet != "busybox":
            tree.link(f"usr/bin/{applet}", "busybox")
    return tree


def _host_tools(names: list[str]) -> tuple[Tree, list[str]]:
    tree = Tree("")
    linker = Linker()
    made = []
    for name in names:
        path = which(name)
        if path is not None and _add_program(tree, path, linker):
            made.append(name)
            place = image_path(os.path.realpath(path))
            if place != f"usr/bin/{name}":
                tree.link(f"usr/bin/{name}", f"/{place}")
    for library in ("libnss_files.so.2", "libnss_dns.so.2"):
        # opened by name at run time by glibc before 2.34; later ones have them built in
        for where in linker.cache().get(library, [])[:1]:
            if made:
                _add_library(tree, where)
    if made:
        locale = "/usr/lib/locale/C.utf8"
        if os.path.isdir(locale):
            for directory, _, names_in in os.walk(locale):
                for file in names_in:
                    tree.copy(f"{directory}/{file}")
        for terminal in _TERMINALS:
            for directory in ("/lib/terminfo", "/usr/share/terminfo", "/etc/terminfo"):
                source = f"{directory}/{terminal[0]}/{terminal}"
                if os.path.isfile(source):
                    tree.copy(source)
                    break
    tree.created_by = f"{len(made)} tools of this host and their libraries: {' '.join(made[:12])}" + (
        " …" if len(made) > 12 else ""
    )
    return tree, made


def _helpers(names: list[str]) -> tuple[Tree, list[str]]:
    """Small stand-ins of ours: web server, client and netcat on the host's perl; ps and free in shell."""
    from pkgutil import get_data

    tree = Tree("")
    made = [name for name in names if name in _SHELL_HELPERS and which(name) is None]
    perl = which("perl")
    wanted = [name for name in names if name in _PERL_HELPERS]
    if perl and wanted and (files := _perl_files(perl)) and _add_program(tree, perl, Linker()):
        if image_path(os.path.realpath(perl)) != "usr/bin/perl":
            tree.link("usr/bin/perl", f"/{image_path(os.path.realpath(perl))}")
        for file in files:
            if not file.endswith(".so") or _add_program(tree, file, Linker()):
                tree.copy(file)
        made += wanted
    for name in made:
        kind = "pl" if name in _PERL_HELPERS else "sh"
        tree.text(f"usr/bin/{name}", get_data("pyctr.core.images", f"helpers/{name}.{kind}") or b"", 0o755)
    tree.created_by = f"helpers: {' '.join(made)}" + (f" with {perl}" if perl else "")
    return tree, made


def _perl_files(perl: str) -> list[str]:
    """The modules and shared objects that the helpers make perl load."""
    script = 'use Socket; use POSIX (); print map {"$_\\n"} sort values %INC, @DynaLoader::dl_shared_objects'
    try:
        listed = subprocess.run(
            [perl, "-e", script], capture_output=True, text=True, timeout=10, check=True, env={"PATH": PATH}
        )
    except (OSError, subprocess.SubprocessError):
        return []  # broken or cut down: then there is no web server in the image
    return [file for file in listed.stdout.splitlines() if os.path.isfile(file)]


def _add_program(tree: Tree, path: str, linker: Linker) -> bool:
    """Copy a program with everything it needs; False when it cannot work in the image."""
    real = os.path.realpath(path)
    try:
        elf = read(real)
        if elf is None:
            with open(real, "rb") as file:
                first = file.readline(256).split()
            if first[:1] not in ([b"#!/bin/sh"], [b"#!/usr/bin/sh"]):
                return False  # a script for an interpreter that is not there
        else:
            for where, library in linker.closure([real]).items():
                place = tree.copy(library)
                if image_path(where) != place:
                    tree.directory(os.path.dirname(image_path(where)))
                    tree.link(image_path(where), f"/{place}")
    except (OSError, StorageError):
        return False  # it would not run here either
    tree.copy(real)
    return True


def _add_library(tree: Tree, where: str) -> None:
    try:
        place = tree.copy(where)
    except OSError:
        return  # the cache is older than the file's removal
    if image_path(where) != place:
        tree.link(image_path(where), f"/{place}")
