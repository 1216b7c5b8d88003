from pyctr.core.linux import const
from pyctr.core.linux.mount import parse_options, parse_recursive


def test_flags_data_and_propagation_are_told_apart() -> None:
    options = ["nosuid", "noexec", "rbind", "rslave", "size=64m", "mode=1777", "ro"]
    flags, clear, propagation, data = parse_options(options)
    assert flags == const.MS_NOSUID | const.MS_NOEXEC | const.MS_BIND | const.MS_REC | const.MS_RDONLY
    assert clear == 0
    assert propagation == const.MS_SLAVE | const.MS_REC
    assert data == "size=64m,mode=1777"


def test_the_last_of_contradicting_words_wins_and_rw_is_remembered() -> None:
    assert parse_options(["ro", "rw"]) == (0, const.MS_RDONLY, 0, "")
    assert parse_options(["rw", "ro"]) == (const.MS_RDONLY, 0, 0, "")
    assert parse_options(["noexec", "exec", "dev"]) == (0, const.MS_NOEXEC | const.MS_NODEV, 0, "")


def test_words_of_the_specification_never_reach_the_filesystem() -> None:
    assert parse_options(["defaults", "tmpcopyup", "rro", "idmap"]) == (0, 0, 0, "")


def test_recursive_attributes() -> None:
    assert parse_recursive(["ro", "rro", "rnosuid", "rexec"]) == (
        const.MOUNT_ATTR_RDONLY | const.MOUNT_ATTR_NOSUID,
        const.MOUNT_ATTR_NOEXEC,
    )
    assert parse_recursive(["rro", "rrw"]) == (0, const.MOUNT_ATTR_RDONLY)
    # the kernel wants the whole atime field cleared whenever one mode of it is chosen
    assert parse_recursive(["rnoatime"]) == (const.MOUNT_ATTR_NOATIME, const.MOUNT_ATTR__ATIME)
    assert parse_recursive(["bind", "ro"]) == (0, 0)
