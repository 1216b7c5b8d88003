"""`pyctr save`."""

from __future__ import annotations

import os
import sys

from pyctr.core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-o", "--output", metavar="FILE", default="", help="otherwise stdout")
    add("--format", choices=("docker-archive", "oci-archive", "oci-dir"), default="docker-archive",
        help="docker-archive is read by every tool")  # fmt: skip
    add("-q", "--quiet", action="store_true", help="accepted for habit")
    add("image", nargs="+", metavar="IMAGE")


def run(call: Call, args: Arguments) -> int:
    from pyctr.core.images import base
    from pyctr.core.images.save import OCI_DIRECTORY, save, save_directory

    images = call.engine.images
    base.mentioned(images, call.engine.layers, *args.image)
    if args.format == OCI_DIRECTORY:
        if not args.output:
            raise UsageError("--format oci-dir: needs --output", hint="the directory to write")
        save_directory(images, args.image, args.output)
        return 0
    if args.output:
        with Whole(args.output) as file:
            save(images, args.image, file, args.format)
        return 0
    if sys.stdout.isatty():
        raise UsageError("an archive is nothing for a terminal", hint="--output FILE, or a pipe")
    save(images, args.image, sys.stdout.buffer, args.format)
    sys.stdout.buffer.flush()
    return 0


class Whole:
    """A file that is there complete or not at all; what is no regular file (a pipe, /dev/null) is written as it is."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.direct = os.path.exists(path) and not os.path.isfile(path)
        self.temporary = path if self.direct else f"{path}.{os.getpid()}.tmp"

    def __enter__(self):  # type: ignore[no-untyped-def]
        from pyctr.core.errors import from_oserror

        try:
            self.file = open(self.temporary, "wb")
        except OSError as error:
            raise from_oserror(error, f"writing '{self.path}'", hint="is the directory there?") from None
        return self.file

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.file.close()
            if error is None and not self.direct:
                os.rename(self.temporary, self.path)
        finally:
            if error is not None and not self.direct:
                os.unlink(self.temporary)
