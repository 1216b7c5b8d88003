"""`pyctr create`."""

from __future__ import annotations

import os

from pyctr.cli import container_flags
from pyctr.core.errors import ImageNotFound, UsageError, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pyctr.cli.flags import Arguments
    from pyctr.cli.main import Call
    from pyctr.core.containers import Container
    from pyctr.core.spec import ContainerSpec

    T = TypeVar("T")

INTERSPERSED = False
configure = container_flags.configure


def run(call: Call, args: Arguments) -> int:
    if args.dry_run:
        return dry_run(call, args)
    call.need_root("creating a container")
    from pyctr.cli import output

    output.write(with_image(call, args, lambda: make(call, args)).id)
    return 0


def with_image(call: Call, args: Arguments, act: Callable[[], T]) -> T:
    """Do what needs the image, and fetch that first as --pull says: always, when it is missing, or never."""
    if args.pull == "always":
        from pyctr.cli.verbs import pull

        pull.refresh(call, args.image, platform=args.platform)
    try:
        return act()
    except ImageNotFound as missing:
        if args.pull != "missing":
            raise
        from pyctr.cli.verbs import pull

        pull.supply(call, args.image, missing, platform=args.platform)
    return act()


def wanted(call: Call, args: Arguments) -> ContainerSpec:
    """The spec, with the ports that only the image knows."""
    spec = container_flags.spec(args)
    if args.publish_all:
        from pyctr.core import creation

        spec.ports += container_flags.exposed(args, creation.find_image(call.engine, spec.image).config)
    return spec


def make(call: Call, args: Arguments) -> Container:
    """The container that the flags ask for, and its --cidfile."""
    from pyctr.core import lifecycle

    spec = wanted(call, args)
    with CidFile(args.cidfile) as cidfile:
        container = lifecycle.create(call.engine, spec)
        cidfile.write(container.id)
    return container


def dry_run(call: Call, args: Arguments) -> int:
    """Print what a start would do, step by step, and do none of it."""
    from pyctr.cli import output
    from pyctr.core import dryrun

    last = ""
    for step, text in dryrun.describe(call.engine, wanted(call, args)):
        output.write(f"{step if step != last else '':<17} {output.terminal_safe(text)}")
        last = step
    return 0


class CidFile:
    """The file of --cidfile: made before anything else, so that it cannot fail afterwards; gone if that fails."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.fd = -1

    def __enter__(self) -> CidFile:
        if self.path is None:
            return self
        try:
            self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise UsageError(f"--cidfile: '{self.path}' exists", hint="remove it if its container is gone") from None
        except OSError as error:
            raise from_oserror(error, "--cidfile", hint="give a file in a directory that exists") from None
        return self

    def write(self, id: str) -> None:
        if self.fd >= 0:
            os.write(self.fd, id.encode())

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            if error is not None and self.path is not None:
                os.unlink(self.path)
