"""Who the process is and what it may do. The order of these is the plan's and every place in it has a reason."""

from __future__ import annotations

import errno
import os

from pyctr.core import errors
from pyctr.core.runtime import operation
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.runtime.context import Context

_UNLIMITED = (1 << 64) - 1


class Identify(Operation):
    """Find out uid, gid and groups; names are looked up in the container's own /etc/passwd and /etc/group."""

    step = operation.PRIVILEGES

    uid: int = 0
    gid: int = 0
    groups: list[int] = []
    group_names: list[str] = []
    name: str = ""
    """"name", "name:group", "1000:staff"; numbers above do not count then."""
    home: bool = False
    """The environment has no HOME."""

    def describe(self) -> str:
        if self.name:
            return f"user {self.name}"
        return f"uid {self.uid} gid {self.gid}" + (f" groups {' '.join(map(str, self.groups))}" if self.groups else "")

    def brief(self) -> str:
        return f"user {self.name or self.uid}" if self.name not in ("", "0") or self.uid else ""

    def execute(self, context: Context) -> None:
        from pyctr.core.runtime import passwd

        context.uid, context.gid, context.groups = self.uid, self.gid, list(self.groups)
        if self.name:
            context.uid, context.gid, more, context.home = passwd.resolve(context.root, self.name)
            context.groups += [gid for gid in more if gid not in context.groups]
        elif self.home:
            context.home = passwd.home(context.root, self.uid)
        if self.group_names:
            context.groups += passwd.groups(context.root, self.group_names)


class Scores(Operation):
    """oom_score_adj and the label of an LSM: written to the host's procfs, while it is there."""

    step = operation.PRIVILEGES

    oom_score_adj: int | None = None
    apparmor: str = ""
    selinux: str = ""

    def describe(self) -> str:
        lines = []
        if self.oom_score_adj is not None:
            lines.append(f"oom_score_adj {self.oom_score_adj}")
        if label := self.apparmor or self.selinux:
            lines.append(f"label {label}")
        return "\n".join(lines)

    def execute(self, context: Context) -> None:
        if self.oom_score_adj is not None:
            try:
                _write(context, "self/oom_score_adj", str(self.oom_score_adj))
            except PermissionError as error:
                raise errors.PermissionDenied(
                    f"process.oomScoreAdj: {self.oom_score_adj} is below what the runtime has: permission denied",
                    hint="lowering it takes CAP_SYS_RESOURCE",
                ) from error
        if self.apparmor:
            _label(context, "self/attr/apparmor/exec", f"exec {self.apparmor}", "process.apparmorProfile")
        if self.selinux:
            _label(context, "self/attr/exec", self.selinux, "process.selinuxLabel")


def _label(context: Context, path: str, value: str, field: str) -> None:
    try:
        try:
            _write(context, path, value)
        except FileNotFoundError:
            # before Linux 5.8 an LSM had no directory of its own
            _write(context, "self/attr/exec", value)
    except OSError as error:
        raise errors.UsageError(
            f"{field}: '{value.removeprefix('exec ')}' cannot be set: {(error.strerror or '').lower()}",
            hint="is a policy of that name loaded?",
        ) from error


def _write(context: Context, path: str, value: str) -> None:
    from pyctr.core.linux import procfs

    fd = procfs.open_verified(f"thread-{path}" if "attr" in path else path, os.O_WRONLY, context.proc)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


class Keyring(Operation):
    """An empty session keyring: the container does not inherit its starter's keys."""

    step = operation.PRIVILEGES

    def describe(self) -> str:
        return "new session keyring"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import keyring

        try:
            keyring.join_new_session()
        except OSError as error:
            # no keyrings in this kernel, or a filter around us forbids them, which the container inherits, too
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise errors.RuntimeFailure(
                    f"no session keyring of its own: {(error.strerror or '').lower()}",
                    hint="the container would hold the keys of its starter; see kernel.keys.root_maxkeys",
                ) from error


class NoNewPrivileges(Operation):
    step = operation.PRIVILEGES

    def describe(self) -> str:
        return "no_new_privs"

    def brief(self) -> str:
        return "no_new_privs"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import process

        process.no_new_privs()


class Bounding(Operation):
    """Drop capabilities from the bounding set. Before the user changes: it takes CAP_SETPCAP."""

    step = operation.PRIVILEGES

    names: list[str]

    def describe(self) -> str:
        return f"bounding set {' '.join(self.names) or 'empty'}"

    def brief(self) -> str:
        return f"{len(self.names)} capabilities"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import caps

        caps.drop_bounding(caps.mask(self.names))


class User(Operation):
    """Groups, gid, uid, umask. Permitted capabilities survive for the capset that follows."""

    step = operation.PRIVILEGES

    umask: int = 0o022

    def describe(self) -> str:
        return f"become that user, umask {self.umask:04o}"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import process

        process.keep_capabilities(True)
        field, value = "additionalGids", " ".join(map(str, context.groups))
        try:
            if context.groups or not context.keeps_groups:
                os.setgroups(list(dict.fromkeys(context.groups)))  # docker names some twice, getgroups(2) would too
            field, value = "gid", str(context.gid)
            os.setresgid(context.gid, context.gid, context.gid)
            field, value = "uid", str(context.uid)
            os.setresuid(context.uid, context.uid, context.uid)
        except OSError as error:
            raise errors.UsageError(
                f"process.user.{field}: '{value}' cannot be taken: {(error.strerror or '').lower()}",
                hint="in a user namespace every id has to be mapped",
            ) from error
        process.keep_capabilities(False)
        # a changed uid made us dumpable as fs.suid_dumpable says; until exec nobody of that uid may look into us
        process.set_dumpable(False)
        os.umask(self.umask)


class Capabilities(Operation):
    step = operation.PRIVILEGES

    effective: list[str] = []
    permitted: list[str] = []
    inheritable: list[str] = []
    ambient: list[str] = []

    def describe(self) -> str:
        return "capabilities " + " ".join(
            f"{name}={len(getattr(self, name))}" for name in ("effective", "permitted", "inheritable", "ambient")
        )

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import caps

        effective, permitted, inheritable, ambient = (
            caps.mask(names) for names in (self.effective, self.permitted, self.inheritable, self.ambient)
        )
        _, held, _ = caps.get()
        bounding = caps.bounding()
        given = permitted & held
        caps.set(effective & given, given, inheritable & held & bounding)
        # the kernel raises only what is permitted and inheritable (CVE-2022-29162)
        caps.set_ambient(ambient & given & inheritable & bounding)
        lost = permitted & ~held | effective & ~given | inheritable & ~(held & bounding)
        # no word about ambient ones that are not inheritable: managers list them as of old, and runc's own default does
        lost |= ambient & inheritable & ~(given & bounding)
        if lost and "ALL" not in self.permitted:
            context.warn(f"process.capabilities: cannot be granted, ignored: {' '.join(caps.names(lost))}")


class Directory(Operation):
    """The working directory, as the user, verified to be inside (CVE-2024-21626)."""

    step = operation.PRIVILEGES

    path: str

    def describe(self) -> str:
        return f"cd {self.path}"

    def execute(self, context: Context) -> None:
        try:
            os.chdir(self.path)
            # the kernel calls a directory outside of our root "(unreachable)", glibc makes ENOENT of that
            if not os.getcwd().startswith("/"):
                raise FileNotFoundError(2, "not below the root", self.path)
        except OSError as error:
            kind = errors.CannotInvoke if isinstance(error, PermissionError) else errors.RuntimeFailure
            raise kind(
                f"process.cwd: working directory '{self.path}': {(error.strerror or '').lower()}",
                hint="choose another with -w",
            ) from error
