"""How a command may reach registries: its flags and the user's credentials, and from these a `Registry`."""

from __future__ import annotations

from pyctr.core.errors import Unsupported, UsageError
from pyctr.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.images.registries import Endpoint
    from pyctr.core.images.registry import Registry
    from pyctr.core.images.transport import Cancel, Transport


class Access(Record):
    """What the user said about registries."""

    authfile: str = ""
    """The only file with credentials to look at."""
    creds: str = ""
    """ "user:password" instead of any file."""
    tls_verify: bool | None = None
    """None: loopback need not prove who it is, everybody else must."""
    cert_dir: str = ""

    def transport(self, cancel: Cancel | None = None) -> Transport:
        """Raises Unsupported where urllib3 is not installed."""
        try:
            import urllib3  # noqa: F401

            from pyctr.core.images.transport import Transport
        except ImportError as error:
            if error.name != "urllib3":
                raise
            raise Unsupported(
                "registries are spoken to with urllib3, which is not installed", hint="pip install urllib3"
            ) from None
        return Transport(cert_dir=self.cert_dir, cancel=cancel)

    def open(self, endpoint: Endpoint, transport: Transport, waiting: Callable[[str], None] | None = None) -> Registry:
        """The repository at an endpoint, with the credentials for it. Raises UsageError, StorageError."""
        from pyctr.core.images.auth import Credentials, Keyring
        from pyctr.core.images.registry import Registry

        if self.creds:
            username, _, password = self.creds.partition(":")
            if not username:
                raise UsageError("credentials without a user name", hint="--creds USER:PASSWORD")
            credentials = Credentials(username=username, password=password)
        else:
            credentials = Keyring(self.authfile).find(endpoint.registry, endpoint.repository)
        return Registry(
            endpoint,
            transport,
            credentials,
            tls_verify=self.tls_verify,
            cert_dir=self.cert_dir,
            waiting=waiting,
        )
