"""Labels of AppArmor and SELinux: refused where the host has no such module, instead of silently left out."""

from __future__ import annotations

import os

from pyctr.core import errors
from pyctr.core.runtime import operation
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.runtime.context import Context

_APPARMOR = "/sys/module/apparmor/parameters/enabled"
_SELINUX = "/sys/fs/selinux/enforce"


def apparmor() -> bool:
    """Whether this host confines by AppArmor."""
    try:
        with open(_APPARMOR, "rb", buffering=0) as file:
            return file.read(1) == b"Y"
    except OSError:
        return False


def selinux() -> bool:
    """Whether this host labels by SELinux."""
    return os.path.exists(_SELINUX)


class RequireModules(Operation):
    """Before anything is made."""

    step = operation.GROUP
    inside = False

    apparmor: str = ""
    selinux: str = ""
    mount_label: str = ""

    def describe(self) -> str:
        words = [word for word in (self.apparmor, self.selinux, self.mount_label) if word]
        return f"labels {' '.join(words)}"

    def execute(self, context: Context) -> None:
        if self.apparmor and not apparmor():
            _missing("process.apparmorProfile", self.apparmor, "AppArmor")
        if self.selinux and not selinux():
            _missing("process.selinuxLabel", self.selinux, "SELinux")
        if self.mount_label and not selinux():
            _missing("linux.mountLabel", self.mount_label, "SELinux")


def _missing(field: str, value: str, module: str) -> None:
    raise errors.Unsupported(f"{field}: '{value}' cannot be used: this host has no {module}", hint="leave it out")
