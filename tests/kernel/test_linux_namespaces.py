"""Namespaces, mounts and capabilities on the real kernel, each in a child of its own."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from pyctr.core.linux import caps, const, devices, inroot, keyring, mount, namespaces, process, procfs, pty, seccomp
from tests.support.child import in_child, new_mounts

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def test_the_child_is_pid_1_of_its_namespace_and_python_still_works() -> None:
    def body() -> list[Any]:
        import threading

        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(7))
        thread.start()
        thread.join()
        return [os.getpid(), answers, HOOKED]

    assert in_child(body, const.CLONE_NEWPID) == [1, [7], [1]]
    assert HOOKED == []


HOOKED: list[int] = []
os.register_at_fork(after_in_child=lambda: HOOKED.append(os.getpid()))


def test_a_child_does_not_wait_for_threads_it_does_not_have() -> None:
    """Threads that want the interpreter's lock at the very moment of the fork."""
    import threading

    done = threading.Event()

    def want() -> None:
        while not done.is_set():
            sum(range(1000))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=want) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        assert [in_child(os.getppid) for _ in range(100)] == [os.getpid()] * 100
    finally:
        done.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()


def test_where_clone3_is_filtered_away_clone_does_it() -> None:
    rule = {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    program = seccomp.compile(profile, arch=os.uname().machine, caps=[], kernel=(6, 1))

    def outer() -> Any:
        seccomp.load(program)
        return in_child(os.getpid, const.CLONE_NEWPID)

    assert in_child(outer) == 1


def test_each_namespace_is_a_new_one() -> None:
    own = {kind: os.readlink(f"/proc/self/ns/{name}") for kind, name in namespaces.PROC_NAMES.items()}
    flags = 0
    for kind, flag in namespaces.FLAGS.items():
        flags |= flag if kind != "time" else 0

    def body() -> dict[str, str]:
        return {kind: os.readlink(f"/proc/{os.readlink('/proc/self')}/ns/{name}") for kind, name in PROC.items()}

    PROC = {kind: name for kind, name in namespaces.PROC_NAMES.items() if kind != "time"}
    inside = in_child(body, flags)
    assert [kind for kind in PROC if inside[kind] == own[kind]] == []


def test_pidfd_waits_and_signals() -> None:
    pid, pidfd = namespaces.clone3(0)
    if pid == 0:
        while True:
            signal.pause()
    assert not os.get_inheritable(pidfd)
    namespaces.pidfd_send_signal(pidfd, signal.SIGKILL)
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    os.close(pidfd)
    assert result is not None
    assert (result.si_code, result.si_status) == (os.CLD_KILLED, signal.SIGKILL)
    with pytest.raises(ProcessLookupError, match="pidfd_open"):
        namespaces.pidfd_open(pid)


def test_a_refused_clone_leaves_a_working_parent() -> None:
    with pytest.raises(OSError, match="clone3: Invalid argument"):
        namespaces.clone3(const.CLONE_NEWPID | const.CLONE_PARENT | const.CLONE_NEWNS | 1)
    assert in_child(lambda: 5) == 5


def test_setns_joins_and_names_stay_inside() -> None:
    host = os.uname().nodename

    def body() -> list[str]:
        home = namespaces.open_namespace(os.getpid(), "uts")
        namespaces.unshare(const.CLONE_NEWUTS)
        namespaces.sethostname("inside")
        namespaces.setdomainname("example")
        inside = os.uname().nodename
        namespaces.setns(home, const.CLONE_NEWUTS)
        return [inside, os.uname().nodename]

    assert in_child(body) == ["inside", host]
    assert os.uname().nodename == host


def test_pivot_root_leaves_nothing_of_the_host(tmp_path: Path) -> None:
    def body() -> list[Any]:
        new_mounts()
        mount.mount("tmpfs", str(tmp_path), "tmpfs", const.MS_NOSUID, "size=1m,mode=755")
        os.chdir(tmp_path)
        os.mkdir("only")
        mount.pivot_root(".", ".")
        mount.umount(".", const.MNT_DETACH)
        os.chdir("/")
        return [os.listdir("/"), mount.fs_type("/")]

    assert in_child(body, const.CLONE_NEWNS) == [["only"], const.TMPFS_MAGIC]
    assert list(tmp_path.iterdir()) == []


def test_the_descriptor_api_mounts_and_makes_read_only(tmp_path: Path) -> None:
    def body() -> list[Any]:
        new_mounts()
        context = mount.fsopen("tmpfs")
        mount.fsconfig(context, const.FSCONFIG_SET_STRING, "size", "1m")
        mount.fsconfig(context, const.FSCONFIG_CMD_CREATE)
        tree = mount.fsmount(context, attributes=const.MOUNT_ATTR_NOEXEC)
        target = os.open(tmp_path, os.O_PATH)
        mount.move_mount(tree, "", target, "")
        (tmp_path / "file").write_text("x")
        clone = mount.open_tree(const.AT_FDCWD, str(tmp_path), const.OPEN_TREE_CLONE | const.AT_RECURSIVE)
        mount.mount_setattr(clone, "", const.AT_RECURSIVE, const.MOUNT_ATTR_RDONLY, 0)
        mount.move_mount(clone, "", const.AT_FDCWD, str(tmp_path))
        try:
            (tmp_path / "file").write_text("y")
        except OSError as error:
            refused = error.errno
        flags = os.statvfs(tmp_path).f_flag
        return [refused, bool(flags & os.ST_NOEXEC), bool(flags & os.ST_RDONLY)]

    assert in_child(body, const.CLONE_NEWNS) == [30, True, True]


def test_the_kernel_explains_a_refused_mount_option() -> None:
    def body() -> str:
        context = mount.fsopen("tmpfs")
        try:
            mount.fsconfig(context, const.FSCONFIG_SET_STRING, "nosuchoption", "1")
        except OSError as error:
            return str(error)
        return ""

    assert "nosuchoption" in in_child(body).split("(", 1)[1]


def test_a_verified_proc_file_is_not_one_that_was_mounted_over(tmp_path: Path) -> None:
    fake = tmp_path / "fake"
    fake.write_text("")

    def body() -> list[Any]:
        new_mounts()
        mount.mount("proc", "/proc", "proc")
        os.close(procfs.open_verified("self/attr/exec", os.O_RDONLY))
        os.close(procfs.open_verified("sys/kernel/random/boot_id"))
        mount.mount(str(fake), "/proc/sys/kernel/hostname", None, const.MS_BIND)
        # another file of the same procfs is no better, and passes a check of the filesystem's type
        mount.mount("/proc/sys/kernel/ostype", "/proc/sys/kernel/domainname", None, const.MS_BIND)
        answers: list[Any] = []
        for name, root in (("hostname", "/proc"), ("domainname", "/proc"), ("hostname", str(tmp_path))):
            try:
                procfs.open_verified(f"sys/kernel/{name}", proc=root)
            except OSError as error:
                answers.append(error.errno)
        try:
            procfs.open_verified("self/cwd")
        except OSError as error:
            answers.append(error.errno)
        private = procfs.private_root()
        answers.append(os.read(procfs.open_verified("sys/kernel/hostname", proc=private), 99).decode())
        return answers

    from errno import ELOOP, ENODEV, EXDEV

    assert in_child(body, const.CLONE_NEWNS | const.CLONE_NEWPID) == [
        EXDEV,
        EXDEV,
        ENODEV,
        ELOOP,
        os.uname().nodename + "\n",
    ]


def test_device_nodes_and_ptys_of_a_new_dev(tmp_path: Path) -> None:
    def body() -> list[Any]:
        new_mounts()
        mount.mount("tmpfs", str(tmp_path), "tmpfs", 0, "mode=755")
        os.umask(0o077)
        fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
        devices.make_default(fd)
        devices.make(fd, "net/tun", "c", 10, 200, 0o600, 5, 6)
        os.mkdir(tmp_path / "pts")
        mount.mount("devpts", str(tmp_path / "pts"), "devpts", 0, "newinstance,ptmxmode=0666,mode=0620")
        master, path = pty.open_in(os.open(tmp_path / "pts", os.O_PATH))
        slave = pty.open_peer(master)
        os.close(devices.open_verified(str(tmp_path / "null"), 1, 3))
        try:
            devices.open_verified(str(tmp_path / "zero"), 1, 3)
        except OSError as error:
            refused = error.errno
        tun = devices.lookup(str(tmp_path / "net/tun"))
        null = devices.lookup(str(tmp_path / "null"))
        (tmp_path / "null").write_text("gone")
        umask = os.umask(0o077)
        return [null, tun, path, os.isatty(slave), refused, umask, os.readlink(tmp_path / "ptmx")]

    from errno import ENODEV

    assert in_child(body, const.CLONE_NEWNS) == [
        ["c", 1, 3, 0o666, 0, 0],
        ["c", 10, 200, 0o600, 5, 6],
        "/dev/pts/0",
        True,
        ENODEV,
        0o077,
        "pts/ptmx",
    ]


def test_devices_are_bind_mounted_where_mknod_is_forbidden(tmp_path: Path) -> None:
    def body() -> list[Any]:
        new_mounts()
        mount.mount("tmpfs", str(tmp_path), "tmpfs", 0, "mode=755")
        fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
        devices.bind(fd, "null", "/dev/null", "c", 1, 3)
        return list(devices.lookup(str(tmp_path / "null")))[:3]

    assert in_child(body, const.CLONE_NEWNS) == ["c", 1, 3]


def test_capabilities_are_dropped_for_good() -> None:
    keep = caps.mask(["CAP_CHOWN", "CAP_KILL"])

    def body() -> list[Any]:
        caps.drop_bounding(keep)
        caps.set(keep, keep, keep)
        caps.set_ambient(caps.mask(["CAP_KILL"]))
        process.no_new_privs()
        status = procfs.status("self")
        wanted = ("CapInh", "CapPrm", "CapEff", "CapBnd")
        sets = {int(status[name], 16) for name in wanted}
        try:
            caps.set(keep | 1 << 21, keep | 1 << 21, 0)
        except PermissionError as error:
            refused = str(error)
        caps.drop_bounding(keep)
        return [list(sets), int(status["CapAmb"], 16), status["NoNewPrivs"], "capset" in refused]

    assert in_child(body) == [[keep], 1 << 5, "1", True]


def test_the_session_keyring_is_a_new_one() -> None:
    def body() -> bool:
        first = keyring.join_new_session("pyctr-test")
        return keyring.join_new_session() != first

    assert in_child(body)


def test_no_descriptor_survives_exec(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    pid, pidfd = namespaces.clone3(0)
    if pid == 0:
        try:
            os.dup2(writer, 1)
            for number in (17, 99):
                os.dup2(reader, number)
            process.close_on_exec_from(3)
            os.fstat(99)  # still open here: what init needs up to exec stays usable
            os.execv(sys.executable, [sys.executable, "-ISc", "import os; print(os.listdir('/proc/self/fd'))"])
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as pipe:
        left = pipe.read().decode()
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    os.close(pidfd)
    assert "'17'" not in left
    assert "'99'" not in left
    assert "'1'" in left


def test_limits_are_set_by_name() -> None:
    def body() -> list[Any]:
        process.setrlimit("nofile", 100, 200)
        process.setrlimit("RLIMIT_CORE", 0, -1)
        return [process.getrlimit("RLIMIT_NOFILE"), process.getrlimit("RLIMIT_CORE")[0]]

    assert in_child(body) == [[100, 200], 0]
    with pytest.raises(ValueError, match="'frobs'"):
        process.setrlimit("frobs", 1, 1)


def test_too_long_mount_options_are_refused_not_cut(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="do not fit in a page"):
        mount.mount("overlay", str(tmp_path), "overlay", 0, "lowerdir=" + "a" * 5000)


def test_rootfs_paths_stop_at_magic_links(tmp_path: Path) -> None:
    def body() -> int:
        new_mounts()
        os.mkdir(tmp_path / "proc")
        mount.mount("proc", str(tmp_path / "proc"), "proc")
        root = os.open(tmp_path, os.O_PATH)
        try:
            inroot.open_in(root, "/proc/self/root/etc")
        except OSError as error:
            return error.errno or 0
        return 0

    from errno import ELOOP

    assert in_child(body, const.CLONE_NEWNS | const.CLONE_NEWPID) == ELOOP
