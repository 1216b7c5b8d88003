"""`pyctr pull`."""

from __future__ import annotations

import sys

from pyctr.cli import output, transfers
from pyctr.cli.diagnostics import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.errors import ImageNotFound
    from pyctr.core.images.access import Access
    from pyctr.core.images.model import Image


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-a", "--all-tags", action="store_true", help="every tag of the repository")
    add("-q", "--quiet", action="store_true", help="no progress")
    add("--platform", metavar="OS/ARCH[/VARIANT]", default="", help="another platform than this host's")
    transfers.declare(parser)
    add("image", nargs="+", metavar="IMAGE")


def run(call: Call, args: Arguments) -> int:
    from pyctr.cli.each import each

    access = transfers.access(args)

    def one(name: str) -> None:
        names = _all_tags(name, access) if args.all_tags else [name]
        for each_name in names:
            fetch(call, each_name, platform=args.platform, access=access, quiet=args.quiet)
            output.write(_whole(call, each_name))

    return each(args.image, one, echo=False)


def fetch(call: Call, name: str, *, platform: str = "", access: Access | None = None, quiet: bool = False) -> Image:
    """Pull one image with progress on stderr. Ctrl-C ends it; what has come is kept for the next time."""
    from pyctr.core.images.pull import pull

    engine = call.engine
    before = engine.images.find(name)
    with transfers.Display(quiet=quiet) as display:
        found = pull(engine.images, engine.layers, name, platform=platform, access=access, progress=display)
    if not quiet:
        newer = before is None or before.id != found.id
        sys.stderr.write(f"Digest: {found.digest}\n")
        sys.stderr.write(f"Status: {'Downloaded newer image for' if newer else 'Image is up to date for'} {name}\n")
    engine.events.record("pull", found.id, name, type="image")
    return found


def refresh(call: Call, name: str, *, platform: str = "") -> None:
    """--pull always. What can only be here (the base image, an id) is left as it is."""
    if not _is_local(name):
        fetch(call, name, platform=platform)


def supply(call: Call, name: str, missing: ImageNotFound, *, platform: str = "") -> None:
    """--pull missing, after the image was not found. Raises ImageNotFound with both reasons."""
    from pyctr.core.errors import ImageNotFound, NetworkError

    if _is_local(name):
        raise missing
    sys.stderr.write(f"Unable to find image '{safe(name)}' locally\n")
    # a shim that was started for this command would not wait for minutes
    waited = call.take_spawn()
    if waited is not None:
        waited.cancel()
    try:
        fetch(call, name, platform=platform)
    except (NetworkError, ImageNotFound) as error:
        guess = missing.hint if missing.hint.startswith("did you mean") else ""
        raise ImageNotFound(f"{missing.message} here; {error.message}", hint=guess or error.hint) from None


def _is_local(name: str) -> bool:
    from pyctr.core.images.base import is_base

    return is_base(name) or name.startswith(("localhost/", "sha256:"))


def _whole(call: Call, name: str) -> str:
    from pyctr.core.images.reference import parse

    found = call.engine.images.resolve(name)
    whole = str(parse(name))
    return whole if whole in found.names or not found.names else found.names[-1]


def _all_tags(name: str, access: Access) -> list[str]:
    from pyctr.core.errors import UsageError
    from pyctr.core.images import registries
    from pyctr.core.images.reference import parse

    reference = parse(name)
    if reference.digest or name.rpartition("/")[2].find(":") >= 0:
        raise UsageError(f"--all-tags: '{name}' names one image", hint="give the repository alone")
    configuration = registries.load()
    [reference, *_] = configuration.candidates(name)
    transport = access.transport()
    try:
        registry = access.open(configuration.endpoints(reference)[-1], transport)
        return [f"{reference.name}:{tag}" for tag in registry.tags()]
    finally:
        transport.close()
