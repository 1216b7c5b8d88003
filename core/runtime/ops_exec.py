"""The end of init: a terminal or pipes, the command's file, execve, or a tiny init of our own."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import errno
import os
import stat

from pyctr.core import errors
from pyctr.core.runtime import operation, sync
from pyctr.core.runtime.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyctr.core.runtime.context import Context

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Console(Operation):
    """A session of our own; 0, 1 and 2 from the shim's pipes or from a terminal of the container's devpts."""

    step = operation.ROOTFS

    terminal: bool = False
    first: bool = True
    """Of the container's first process: its terminal is /dev/console too, and its session begins here."""

    def describe(self) -> str:
        return "new session, " + ("terminal, /dev/console" if self.terminal else "pipes")

    def brief(self) -> str:
        return "terminal" if self.terminal else ""

    def execute(self, context: Context) -> None:
        if self.first:
            os.setsid()
        if self.terminal:
            self._terminal(context)
            return
        for fd, source in enumerate(context.stdio):
            os.dup2(_inner_null(context, source) if self.first else source, fd, inheritable=True)
            # /dev/stdout opened by path asks for permission on the pipe
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                try:
                    os.fchown(fd, context.uid, -1)
                except PermissionError:
                    pass  # of the host's root, who is nobody in a user namespace, and to an ordinary user

    def _terminal(self, context: Context) -> None:
        from pyctr.core.linux import const, inroot, mount, pty

        pts = inroot.open_in(context.root, "dev/pts", os.O_RDONLY | os.O_DIRECTORY)
        master, _ = pty.open_in(pts)
        os.close(pts)
        slave = pty.open_peer(master)
        if context.winsize is not None:
            pty.set_winsize(master, *context.winsize)
        os.fchown(slave, context.uid, -1)
        assert context.packets is not None
        context.packets.send(sync.MASTER, b"", (master,))
        os.close(master)
        if self.first:
            place = inroot.make_file(context.root, "dev/console", 0o620)
            # by descriptor: a path to the slave could lead elsewhere by now (CVE-2025-52565)
            tree = mount.open_tree(slave, "", const.OPEN_TREE_CLONE | const.AT_EMPTY_PATH)
            mount.move_mount(tree, "", place, "")
            os.close(tree)
            os.close(place)
            pty.make_controlling(slave)
        for fd in (0, 1, 2):
            os.dup2(slave, fd, inheritable=True)
        os.close(slave)


def _inner_null(context: Context, fd: int) -> int:
    """The container's own /dev/null instead of the host's: no mount of the host's is reached through it, and criu finds
    it again."""
    null = os.makedev(1, 3)
    if context.root < 0 or not stat.S_ISCHR(os.fstat(fd).st_mode) or os.fstat(fd).st_rdev != null:
        return fd
    from pyctr.core.linux import inroot

    try:
        place = inroot.open_in(context.root, "dev/null", os.O_PATH)
    except OSError:
        return fd  # it has none
    found = os.fstat(place)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != null:
        return fd
    # not by /proc: in a mount namespace that is joined, that is whatever its owners have put there
    return os.open(f"self/fd/{place}", os.O_RDWR | os.O_CLOEXEC, dir_fd=context.proc)


class Appear(Operation):
    """A further process comes into the container's pid namespace, with nothing left that those inside have not.

    Until here it was a process of the host's pid namespace, whom nobody inside could see. Now whoever has
    CAP_SYS_PTRACE there may open its memory, its descriptors and its root: capabilities, file descriptors and the
    mounts are the container's own already (CVE-2016-9962).
    """

    step = operation.EXEC

    terminal: bool = False
    probe: bool = False

    def describe(self) -> str:
        return "enter the pid namespace, new session"

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import const, namespaces, process

        assert context.packets is not None
        for fd in (context.root, context.proc):
            os.close(fd)
        context.root = context.proc = -1
        pid, pidfd = namespaces.clone3(const.CLONE_PARENT)
        if pid:
            context.packets.send(sync.CHILD, str(pid).encode(), (pidfd,))
            os._exit(0)
        process.parent_death_signal(_signal.SIGKILL)
        if self.probe:
            process.subreaper()
        os.setsid()
        if self.terminal:
            from pyctr.core.linux import pty

            pty.make_controlling(0)


class Find(Operation):
    """The command's file, in the container and as its user. Before the filter: it needs stat."""

    step = operation.EXEC

    command: str
    path: str = _PATH

    def describe(self) -> str:
        return f"find {self.command}" + ("" if "/" in self.command else f" in {self.path}")

    def execute(self, context: Context) -> None:
        command = self.command
        places = [command] if "/" in command else [f"{part or '.'}/{command}" for part in self.path.split(":")]
        refused = ""
        for place in places:
            try:
                mode = os.stat(place).st_mode
            except PermissionError:
                refused = refused or "permission denied"
                continue
            except OSError:
                continue  # not here
            if stat.S_ISDIR(mode):
                refused = refused or "is a directory"
            elif not os.access(place, os.X_OK):
                refused = refused or "permission denied"
            else:
                context.command = place
                return
        if refused:
            raise errors.CannotInvoke(f"cannot execute '{command}': {refused}", hint="chmod +x, or another user")
        # the words callers of OCI runtimes look for to tell exit code 127 from others
        where = "no such file or directory" if "/" in command else "executable file not found in $PATH"
        raise errors.CommandNotFound(
            f"'{command}': {where}", hint=f"$PATH is {self.path}" if "/" not in command else ""
        )


class Settle(Operation):
    """What is left to do before a filter that may not allow it: signals as a program expects them, no descriptors."""

    step = operation.EXEC

    mortal: bool = False
    """It dies with the shim (prctl(2), PR_SET_PDEATHSIG)."""

    def describe(self) -> str:
        return ""

    def execute(self, context: Context) -> None:
        from pyctr.core.linux import process

        for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT):
            # what Python ignores or catches; an ignored signal stays ignored over execve
            _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        process.parent_death_signal(_signal.SIGKILL if self.mortal else 0)
        process.close_on_exec_from(3 + context.kept)
        context.settled = True


class Execute(Operation):
    """execve(2). With `init`, PID 1 is a program of ours, and the command is its child."""

    step = operation.EXEC

    args: list[str]
    env: list[str] = []
    secrets: dict[str, str] = {}
    """Variable -> file of the host that has its value."""
    init: bool = False
    mortal: bool = False
    """It dies with the shim (prctl(2), PR_SET_PDEATHSIG)."""

    def describe(self) -> str:
        return ("init, " if self.init else "") + " ".join(self.args)

    def brief(self) -> str:
        return self.describe()

    def prepare(self, context: Context) -> None:
        """What takes memory or names, ahead of the system call filter."""
        self._environment = environment([*self.env, *self.revealed()])
        if self.init:
            from pyctr.core.linux import machine

            context.init = machine.program("init")

    def execute(self, context: Context) -> None:
        if context.home:
            self._environment.setdefault("HOME", context.home)
        if self.init:
            _stay(context)
        if not context.settled:
            Settle(mortal=self.mortal).execute(context)
        try:
            os.execve(context.command, self.args, self._environment)
        except OSError as error:
            raise cannot_execute(error.errno or 0, self.args[0]) from error

    def revealed(self) -> list[str]:
        """The secrets among the variables, read where the host's files are in sight."""
        found = []
        for name, path in self.secrets.items():
            with open(path, "rb", buffering=0) as file:
                found.append(f"{name}={os.fsdecode(file.readall())}")
        return found


def environment(items: list[str]) -> dict[str, str]:
    """Of process.env: the last one of a name counts."""
    pairs = (item.partition("=") for item in items)
    return {name: value for name, equals, value in pairs if equals and name}


def cannot_execute(number: int, command: str) -> errors.PyctrError:
    """An execve that failed with errno `number` although the file was there."""
    if number in (errno.ENOENT, errno.ENOTDIR):
        return errors.CommandNotFound(
            f"'{command}': no such file or directory", hint="the interpreter it names is missing"
        )
    reason = "exec format error" if number == errno.ENOEXEC else os.strerror(number).lower()
    return errors.CannotInvoke(
        f"cannot execute '{command}': {reason}",
        hint="is it built for this machine's architecture?" if number == errno.ENOEXEC else "",
    )


def _stay(context: Context) -> None:
    """Fork; the child returns, PID 1 becomes the program that reaps, forwards signals and takes the child's code.

    A program of its own, because this process is a copy of the shim: with CAP_SYS_PTRACE its memory and the host's
    interpreter would be open to everyone inside. So nobody is inside before that program says that it runs.
    """
    from pyctr.core.linux import process

    _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    runs, says = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(says)
        if not os.read(runs, 1):
            os._exit(1)  # PID 1 died on the way, and all of us with it
        os.close(runs)
        os.setpgid(0, 0)
        if os.isatty(0):
            # SIGTTOU, which this would raise in a background group, is still blocked
            os.tcsetpgrp(0, os.getpid())
        return
    process.parent_death_signal(0)
    os.dup2(says, 0)
    process.close_on_exec_from(1)
    process.execveat(context.init, ["pyctr-init", str(child)])
