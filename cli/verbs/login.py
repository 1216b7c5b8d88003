"""`pyctr login`."""

from __future__ import annotations

import sys

from pyctr.cli import output, transfers
from pyctr.core.errors import NetworkError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.cli.flags import Arguments, Declares
    from pyctr.cli.main import Call
    from pyctr.core.images.access import Access


def configure(parser: Declares) -> None:
    add = parser.add_argument
    add("-u", "--username", metavar="NAME", default="", help="otherwise it is asked for")
    add("-p", "--password", metavar="PASSWORD", help="seen by everybody on this host; better --password-stdin")
    add("--password-stdin", action="store_true", help="read the password from stdin")
    add("--get-login", action="store_true", help="only print who is logged in")
    transfers.declare(parser)
    add("registry", nargs="?", metavar="REGISTRY", help="docker.io when left out")


def run(call: Call, args: Arguments) -> int:
    from pyctr.core.errors import NotFound
    from pyctr.core.images.auth import Credentials, Keyring

    registry = host(args.registry)
    keyring = Keyring(args.authfile)
    if args.get_login:
        found = keyring.find(registry)
        if not found:
            raise NotFound(f"not logged in to '{registry}'", hint=f"pyctr login {registry}")
        output.write(found.username)
        return 0
    username, password = _ask(args, keyring.find(registry).username)
    access = transfers.access(args)
    access.creds = ""
    _check(registry, Credentials(username=username, password=password), access)
    where = keyring.login(registry, Credentials(username=username, password=password))
    sys.stderr.write(f"Kept in {where}\n")
    output.write("Login Succeeded")
    return 0


def host(text: str | None) -> str:
    """The registry of "docker.io", "https://index.docker.io/v1/", "127.0.0.1:5000". Raises UsageError."""
    from pyctr.core.images.reference import DEFAULT_REGISTRY, parse

    name = (text or DEFAULT_REGISTRY).partition("://")[2] or text or DEFAULT_REGISTRY
    name = name.partition("/")[0]
    if name in ("index.docker.io", "registry-1.docker.io", DEFAULT_REGISTRY):
        return DEFAULT_REGISTRY
    try:
        found = parse(f"{name}/x").registry
    except UsageError:
        found = ""
    if found != name:
        raise UsageError(f"'{text}' is no registry", hint="like quay.io or registry.example.com:5000")
    return name


def _ask(args: Arguments, known: str) -> tuple[str, str]:
    username = args.username or args.creds.partition(":")[0]
    password = args.password if args.password is not None else args.creds.partition(":")[2] or None
    if args.password is not None:
        from pyctr.cli.diagnostics import warn

        warn("--password is seen by everybody on this host, --password-stdin is not")
    if args.password_stdin:
        if not username:
            raise UsageError("--password-stdin: needs --username too")
        password = sys.stdin.read().rstrip("\r\n") if sys.stdin is not None else ""
    if not username or password is None:
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError("no terminal to ask on", hint="give --username and --password-stdin")
        if not username:
            sys.stderr.write(f"Username{f' ({known})' if known else ''}: ")
            sys.stderr.flush()
            username = sys.stdin.readline().strip() or known
        if password is None:
            from getpass import getpass

            password = getpass("Password: ", stream=sys.stderr)
    if not username or not password or ":" in username:
        raise UsageError("a user name without ':' and a password are needed")
    return username, password


def _check(registry: str, credentials: object, access: Access) -> None:
    """Does the registry believe them? Raises NetworkError."""
    from pyctr.core.images import registries
    from pyctr.core.images.registries import Endpoint
    from pyctr.core.images.registry import Answer

    transport = access.transport()
    try:
        endpoint = Endpoint(registry=registry, repository="", insecure=registries.load().insecure(registry))
        opened = access.open(endpoint, transport)
        opened.credentials = credentials  # type: ignore[assignment]
        opened.ping()
    except Answer as answer:
        if answer.status in (401, 403):
            raise NetworkError(f"'{registry}' does not accept this user name and password") from None
        raise
    finally:
        transport.close()
