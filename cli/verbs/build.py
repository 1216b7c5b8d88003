"""`pyctr build`."""

from __future__ import annotations

import os
import sys

from pyctr.cli import output, values
from pyctr.core.errors import PyctrError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.build.build import Request
    from pyctr.core.build.context import Context
    from pyctr.core.build.dockerfile import Dockerfile
    from pyctr.core.images.model import Image

_HEAD = 1 << 16
_LARGEST = 16 << 20
"""Bytes of the longest Dockerfile read."""
_NAMES = ("Dockerfile", "Containerfile")
_REMOTE = ("http://", "https://", "git://", "git@", "ssh://", "github.com/")


def configure(parser: Declares) -> None:
    add = parser.add_argument
    many: dict[str, Any] = {"action": "append"}
    add("-f", "--file", default="", metavar="FILE", help="the Dockerfile, or - for stdin; CONTEXT/Dockerfile otherwise")
    add("-t", "--tag", **many, metavar="NAME[:TAG]", help="a name for the image")
    add("--build-arg", **many, metavar="NAME[=VALUE]", help="the value of an ARG; without one that of the environment")
    add("--target", default="", metavar="STAGE", help="the stage to build, the last one otherwise")
    add("--no-cache", action="store_true", help="do every instruction again")
    add("--pull", action="store_true", help="ask the registry for newer base images")
    add("--platform", default="", metavar="OS/ARCH", help="of the image, this host's otherwise")
    add("--label", **many, type=values.label, metavar="KEY=VALUE", help="a label of the image")
    add("--secret", **many, metavar="id=NAME[,src=FILE|,env=NAME]", help="a file for RUN --mount=type=secret")
    add("--ssh", **many, metavar="default|ID[=SOCKET]", help="an agent for RUN --mount=type=ssh")
    add("--build-context", **many, metavar="NAME=DIR", help="a directory (or docker-image://NAME) for COPY --from=NAME")
    add("--network", default="", metavar="MODE", help="of RUN: default, none, host, or a network's name")
    add("--add-host", **many, type=values.add_host, metavar="NAME:IP", help="a line of /etc/hosts for RUN")
    add("--iidfile", default="", metavar="FILE", help="write the image's id to a file")
    add("--progress", default="auto", choices=("auto", "plain", "tty", "quiet"), help="how to show what happens")
    add("-q", "--quiet", action="store_true", help="print the id alone")
    add("--rm", action="store_true", default=True, help="accepted for habit: no container of a step is kept")
    add("--force-rm", action="store_true", help="likewise")
    add("--load", action="store_true", help="likewise: the image is here anyway")
    add("context", metavar="CONTEXT", help="a directory, or - for a tar archive (or a Dockerfile alone) on stdin")


def run(call: Call, args: Arguments) -> int:
    call.need_root("building an image")
    import contextlib

    from pyctr.cli import buildview
    from pyctr.core.build.build import Build
    from pyctr.core.build.progress import Cancelled

    with contextlib.ExitStack() as stack:
        request = _request(call, args, stack)
        view = buildview.view("quiet" if args.quiet else args.progress)
        try:
            with view:
                made = Build(call.engine, request, view).run()
        except Cancelled:
            raise KeyboardInterrupt from None
        except PyctrError as error:
            if tail := getattr(error, "tail", []):
                view.tail(tail, request.file, getattr(error, "line", 0))
            raise
    call.engine.events.record("build", made.id, args.tag[0] if args.tag else "", type="image")
    if args.iidfile:
        _write_id(args.iidfile, made)
    output.write(made.id)
    return 0


def _request(call: Call, args: Arguments, stack: Any) -> Request:
    from pyctr.cli.verbs.pull import fetch
    from pyctr.core.build.build import Request, arguments
    from pyctr.core.images import platforms

    if args.platform:
        if "," in args.platform:
            raise UsageError("--platform: one platform per build", hint="build each, then put them under one name")
        platforms.parse(args.platform)
    quiet = args.quiet or args.progress == "quiet"
    file, context = _sources(call, args, stack)
    given = arguments(args.build_arg, os.environ)
    return Request(
        file=file,
        context=context,
        fetch=lambda name, platform: fetch(call, name, platform=platform, quiet=quiet),
        tags=args.tag,
        arguments=given,
        labels=dict(args.label),
        contexts=dict(_named(args.build_context)),
        secrets=dict(_secret(text) for text in args.secret),
        agents=dict(_agent(text) for text in args.ssh),
        target=args.target,
        platform=args.platform,
        network={"": "bridge", "default": "bridge"}.get(args.network, args.network),
        add_hosts=args.add_host,
        no_cache=args.no_cache,
        pull=args.pull,
        epoch=_epoch(given),
    )


def _sources(call: Call, args: Arguments, stack: Any) -> tuple[Dockerfile, Context]:
    """The Dockerfile and the context, wherever they come from."""
    import io

    from pyctr.core.build import dockerfile
    from pyctr.core.build.context import Context
    from pyctr.core.files import archives

    where = args.context
    if where.startswith(_REMOTE) or where.endswith(".git"):
        raise UsageError(f"a remote context is not supported: '{where}'", hint="clone it, and give the directory")
    if args.file == "-" and where == "-":
        raise UsageError("-f - and the context - cannot both come from stdin", hint="give one of them as a path")
    if where == "-":
        head = _head(sys.stdin.buffer)
        scratch = _scratch(call)
        if not args.file and not archives.is_archive(io.BytesIO(head)):
            os.mkdir(scratch, 0o700)
            root = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            text = _text(head + sys.stdin.buffer.read(_LARGEST), "stdin")
            return dockerfile.parse(text, "stdin"), stack.enter_context(Context(root, scratch=scratch))
        context = stack.enter_context(Context.archive(_Rest(head, sys.stdin.buffer), scratch))
    else:
        context = stack.enter_context(Context.directory(where))
    name, text = _dockerfile(args, context)
    ignore = _ignore(args, context, name)
    if ignore is not None:
        context.ignore = ignore
    return dockerfile.parse(text, name), context


class _Rest:
    """A stream whose beginning was read already."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def read(self, count: int, /) -> bytes:
        if self._head:
            piece, self._head = self._head[:count], self._head[count:]
            return piece
        return self._stream.read(count)


def _head(stream: BinaryIO) -> bytes:
    """Enough of a stream to tell an archive by."""
    head = b""
    while len(head) < _HEAD and (piece := stream.read(_HEAD - len(head))):
        head += piece
    return head


def _scratch(call: Call) -> str:
    from pyctr.core.fsutil import make_private_directory

    make_private_directory(f"{call.engine.paths.build}/work")
    return f"{call.engine.paths.build}/work/context-{os.getpid()}-{os.urandom(4).hex()}"


def _dockerfile(args: Arguments, context: Context) -> tuple[str, str]:
    if args.file == "-":
        return "stdin", _text(sys.stdin.buffer.read(_LARGEST), "stdin")
    if args.file and (args.context != "-"):
        # as with docker: a path of its own, or else one in the context
        path = args.file if os.path.exists(args.file) else os.path.join(args.context, args.file)
        try:
            with open(path, "rb") as file:
                return args.file, _text(file.read(_LARGEST), path)
        except FileNotFoundError:
            raise UsageError(f"--file: no '{args.file}'", hint="a path, from here or from the context") from None
        except IsADirectoryError:
            raise UsageError(f"--file: '{args.file}' is a directory") from None
    for name in [args.file] if args.file else _NAMES:
        content = context.read(name)
        if content is not None:
            return name, _text(content, name)
    raise UsageError(
        f"no {args.file or 'Dockerfile'} in the context '{args.context}'", hint="-f FILE names another one"
    )


def _ignore(args: Arguments, context: Context, name: str) -> Any:
    """NAME.dockerignore beside the Dockerfile, or else .dockerignore of the context."""
    from pyctr.core.build.ignore import Ignore

    own = f"{args.file}.dockerignore" if args.file and args.file != "-" else ""
    if own and args.context != "-":
        for path in (own, os.path.join(args.context, own)):
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    return Ignore.read(_text(file.read(_LARGEST), own), own)
    for file_name in (f"{name}.dockerignore", ".dockerignore", ".containerignore"):
        content = context.read(file_name)
        if content is not None:
            return Ignore.read(_text(content, file_name), file_name)
    return None


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{name}:{line}: not UTF-8: this is no Dockerfile") from None


def _named(words: list[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"--build-context: '{word}' is not NAME=DIR")
        if value.startswith(_REMOTE):
            raise UsageError(f"--build-context: a remote context is not supported: '{value}'")
        if not value.startswith("docker-image://") and not os.path.isdir(value):
            raise UsageError(f"--build-context: '{value}' is no directory")
        yield name, value


def _secret(text: str) -> tuple[str, tuple[str, str]]:
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    id, path = fields.pop("id", ""), fields.pop("src", "") or fields.pop("source", "")
    kind, variable = fields.pop("type", ""), fields.pop("env", "")
    if not id or fields or kind not in ("", "file", "env"):
        raise UsageError(f"--secret: '{text}' is not understood", hint="id=NAME,src=FILE or id=NAME,env=VARIABLE")
    if variable or (kind == "env" and not path):
        return id, ("env", variable or id)
    if kind == "env":
        return id, ("env", path)
    if not path and id in os.environ:
        return id, ("env", id)
    path = path or id
    if not os.path.isfile(path):
        raise UsageError(f"--secret: no file '{path}'", hint="id=NAME,src=FILE")
    return id, ("file", os.path.abspath(path))


def _agent(text: str) -> tuple[str, str]:
    import stat

    id, _, path = text.partition("=")
    path = path or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise UsageError(f"--ssh {text}: no agent runs", hint="SSH_AUTH_SOCK is not set: start ssh-agent")
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        is_socket = False
    if not is_socket:
        raise UsageError(f"--ssh: '{path}' is no agent's socket", hint="keys go into an agent: ssh-add FILE")
    return id or "default", os.path.abspath(path)


def _epoch(given: dict[str, str]) -> int | None:
    text = given.get("SOURCE_DATE_EPOCH", os.environ.get("SOURCE_DATE_EPOCH", ""))
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise UsageError(f"SOURCE_DATE_EPOCH: '{text}' is no number of seconds since 1970")
    given.setdefault("SOURCE_DATE_EPOCH", text)
    return int(text)


def _write_id(path: str, made: Image) -> None:
    from pyctr.core.errors import from_oserror

    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(made.id)
    except OSError as error:
        raise from_oserror(error, "--iidfile") from error
