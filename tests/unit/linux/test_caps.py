import pytest

from pyctr.core.linux import caps, procfs


def test_masks_and_names_round_trip() -> None:
    names = ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]
    assert caps.mask(names) == 1 | 1 << 21 | 1 << 40
    assert caps.names(caps.mask(names)) == names
    assert caps.mask(["chown", "sys_admin"]) == 1 | 1 << 21
    assert caps.names(1 << 50) == ["CAP_50"]


def test_an_unknown_name_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'CAP_FLY'"):
        caps.mask(["CAP_FLY"])


def test_what_we_read_is_what_proc_says() -> None:
    status = procfs.status("self")
    effective, permitted, inheritable = caps.get()
    assert (effective, permitted, inheritable) == tuple(int(status[f"Cap{set}"], 16) for set in ("Eff", "Prm", "Inh"))
    assert caps.bounding() == int(status["CapBnd"], 16)
    assert caps.ambient() == int(status["CapAmb"], 16)
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert caps.last() == int(file.read())
    assert caps.mask(["ALL"]) == (1 << caps.last() + 1) - 1
