"""The texts of /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctr.core import errors, etcfiles

BRIDGE = {"mode": "bridge", "address": "10.88.0.7/16", "gateway": "10.88.0.1", "names": ["api", "www"]}


def test_a_container_finds_itself_its_neighbours_and_what_was_added() -> None:
    text = etcfiles.hosts(BRIDGE, "api-host", ["db:10.0.0.5", "gw:host-gateway", "six=[fe80::1]"], "10.88.0.8\tweb\n")
    lines = text.splitlines()
    assert "127.0.0.1\tlocalhost" in lines
    assert "10.0.0.5\tdb" in lines and "10.88.0.1\tgw" in lines and "fe80::1\tsix" in lines
    assert "10.88.0.7\tapi-host api www" in lines
    assert lines[-3:] == [etcfiles.BEGIN.rstrip(), "10.88.0.8\tweb", etcfiles.END.rstrip()]


@pytest.mark.parametrize("entry", ["db", "db:", ":10.0.0.5", "a b:10.0.0.5", "db:1\n2"])
def test_a_bad_host_entry_is_refused(entry: str) -> None:
    with pytest.raises(errors.UsageError, match="is not a host entry"):
        etcfiles.hosts(BRIDGE, "h", [entry])


def test_the_hosts_network_has_the_hosts_file(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n192.0.2.1 printer\n")
    text = etcfiles.hosts({"mode": "host"}, "h", ["db:10.0.0.5"], etc=str(tmp_path))
    assert text == "127.0.0.1 localhost\n192.0.2.1 printer\n10.0.0.5\tdb\n"


@settings(deadline=None)
@given(st.text(), st.text())
def test_only_what_is_between_the_marks_changes(before: str, after: str) -> None:
    for part in (before, after):
        if etcfiles.BEGIN in part or etcfiles.END in part:
            return
    text = before + etcfiles.BEGIN + "10.0.0.1\told\n" + etcfiles.END + after
    assert etcfiles.replace_others(text, "new\n") == before + etcfiles.BEGIN + "new\n" + etcfiles.END + after


def test_a_file_without_marks_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("mine\n")
    assert etcfiles.refresh(str(file), "10.0.0.1\tx\n") is False
    assert file.read_text() == "mine\n"
    assert etcfiles.refresh(str(tmp_path / "gone"), "") is False


def test_a_shorter_list_leaves_no_tail(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text(etcfiles.hosts(BRIDGE, "h", [], "10.88.0.8\ta-very-long-name\n"))
    inode = file.stat().st_ino
    assert etcfiles.refresh(str(file), "")
    assert file.read_text() == etcfiles.hosts(BRIDGE, "h") and file.stat().st_ino == inode


def _host(tmp_path: Path, text: str) -> str:
    (tmp_path / "resolv.conf").write_text(text)
    return str(tmp_path)


def test_loopback_nameservers_of_the_host_are_left_out(tmp_path: Path) -> None:
    etc = _host(tmp_path, "nameserver 127.0.0.1\nnameserver 192.0.2.53\nnameserver ::1\nsearch lan\noptions ndots:2\n")
    assert etcfiles.resolv_conf(BRIDGE, etc=etc) == "search lan\nnameserver 192.0.2.53\noptions ndots:2\n"


def test_behind_a_stub_the_real_nameservers_are_taken(tmp_path: Path) -> None:
    etc = _host(tmp_path, "nameserver 127.0.0.53\noptions edns0\n")
    real = tmp_path / "real"
    real.write_text("nameserver 192.0.2.53\nsearch corp\n")
    text = etcfiles.resolv_conf(BRIDGE, etc=etc, resolved=["/nonexistent", str(real)])
    assert text == "search corp\nnameserver 192.0.2.53\noptions edns0\n"


def test_without_any_nameserver_the_file_says_what_to_do(tmp_path: Path) -> None:
    text = etcfiles.resolv_conf(BRIDGE, etc=_host(tmp_path, "nameserver 127.0.0.53\n"), resolved=[])
    assert "--dns" in text and "nameserver 1" not in text


def test_what_the_user_says_replaces_what_the_host_has(tmp_path: Path) -> None:
    etc = _host(tmp_path, "nameserver 192.0.2.53\nsearch lan\noptions ndots:2\n")
    text = etcfiles.resolv_conf(BRIDGE, ["9.9.9.9"], ["corp"], ["rotate"], etc=etc)
    assert text == "search corp\nnameserver 9.9.9.9\noptions rotate\n"
    assert "search" not in etcfiles.resolv_conf(BRIDGE, search=["."], etc=etc)


def test_the_hosts_network_has_the_hosts_resolver(tmp_path: Path) -> None:
    etc = _host(tmp_path, "nameserver 127.0.0.53\n")
    assert etcfiles.resolv_conf({"mode": "host"}, etc=etc) == "nameserver 127.0.0.53\n"
