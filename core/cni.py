"""Networks that plugins make: lists of CNI plugins, run as the specification says (github.com/containernetworking/cni,
SPEC.md 1.0.0, sections 2 to 4).

    ADD     each plugin in turn, with the result of the one before
    CHECK   the same, with what ADD came to
    DEL     in reverse; before every ADD, too: what a host forgot at its last end goes then

Plugins are given a network namespace that exists before the container does: `<run>/netns/<id>`, where the container's
first process is put. It stays through restarts and goes with the lease. What is known about an attachment for its end
is in the lease itself, under "cni": a list that was changed or removed meanwhile is taken down as it was put up.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from pyctr.core import errors, subnets
from pyctr.core.linux import const, mount, namespaces, netlink, rtmessages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyctr.core.networkset import Network

PLUGINS = "/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni"
"""Where plugins are looked for; the option `path` of a network replaces it."""
LISTS = "/etc/cni/net.d"
_PATIENCE = 120
"""Seconds that one plugin may take; those that ask a DHCP server need some."""
_VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
_LARGEST = 1 << 20


def load(options: dict[str, str]) -> dict[str, Any]:
    """The list that a network's options name, by path or by the name in it. Raises UsageError."""
    wish = options["conflist"]
    paths = [wish] if "/" in wish else _lists()
    hint = f"a file, or the name of a list in {LISTS}"
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                document = json.loads(file.read(_LARGEST))
        except OSError as error:
            raise errors.UsageError(f"plugin list '{path}': {(error.strerror or '').lower()}", hint=hint) from None
        except ValueError as error:
            if "/" not in wish:
                continue  # not the one that is meant, or nobody can tell
            raise errors.UsageError(f"plugin list '{path}' is not JSON: {error}", hint=hint) from None
        if "/" in wish or (isinstance(document, dict) and document.get("name") == wish):
            return _checked(document, path, options)
    raise errors.UsageError(f"no plugin list '{wish}' in {LISTS}", hint="a path to one, with a slash in it")


def _lists() -> list[str]:
    try:
        names = sorted(os.listdir(LISTS))
    except OSError:
        return []
    return [f"{LISTS}/{name}" for name in names if name.endswith(".conflist")]


def _checked(document: Any, path: str, options: dict[str, str]) -> dict[str, Any]:
    plugins = document.get("plugins") if isinstance(document, dict) else None
    if not isinstance(plugins, list) or not plugins or not all(isinstance(one, dict) for one in plugins):
        raise errors.UsageError(f"plugin list '{path}' has no 'plugins'", hint="a .conflist, not a single .conf")
    if not isinstance(document.get("name"), str) or not document["name"]:
        raise errors.UsageError(f"plugin list '{path}' has no 'name'")
    version = document.get("cniVersion") or "0.3.0"
    if version not in _VERSIONS:
        raise errors.UsageError(
            f"plugin list '{path}': cniVersion '{version}'", hint=f"known are {', '.join(_VERSIONS)}"
        )
    for one in plugins:
        _find(str(one.get("type") or ""), _path(options), document["name"])
    return {**document, "cniVersion": version}


def _path(options: dict[str, str]) -> str:
    return options.get("path") or PLUGINS


def _find(type: str, path: str, name: str) -> str:
    if type and "/" not in type:
        for directory in path.split(":"):
            if os.access(f"{directory}/{type}", os.X_OK):
                return f"{directory}/{type}"
    raise errors.NetworkError(
        f"plugin '{type}' of list '{name}' is not in {path}", hint="'apt install containernetworking-plugins' has most"
    )


def attach(
    network: Network, run: str, id: str, name: str, asked: dict[str, Any], ports: list[dict[str, Any]]
) -> dict[str, Any]:
    """The lease of a container on a network of plugins, with a namespace that they have set up. `asked` are "ip",
    "mac", "rx_bps", "tx_bps" where wished. Raises NetworkError in one line; nothing is left then."""
    document, path = network.plugins, _path(network.options)
    runtime = _capabilities(document, asked, ports, network.name)
    place = f"{run}/netns/{id}"
    call = {"list": document, "path": path, "id": id, "name": name, "netns": place, "runtime": runtime}
    delete({"cni": call, "network": network.name})
    _make(place)
    try:
        result: dict[str, Any] = {}
        for plugin in document["plugins"]:
            result = _run("ADD", call, plugin, result) or result
        return {**_lease(result, network, id, name), "ports": ports, "netns": place, "cni": {**call, "result": result}}
    except BaseException:
        delete({"cni": call, "network": network.name})
        raise


def check(lease: dict[str, Any]) -> None:
    """What the plugins say of an attachment now. Raises NetworkError."""
    call = lease["cni"]
    if call["list"].get("disableCheck") or _number(call["list"]["cniVersion"]) < (0, 4, 0):
        return
    for plugin in call["list"]["plugins"]:
        _run("CHECK", call, plugin, call["result"])


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def delete(lease: dict[str, Any]) -> None:
    """Take an attachment down. What a plugin cannot do keeps the others from nothing: the namespace goes in any case,
    and with it what was inside."""
    call = lease["cni"]
    for plugin in reversed(call["list"]["plugins"]):
        try:
            _run("DEL", call, plugin, call.get("result") or {})
        except errors.PyctrError:
            continue  # removed, or confused: an interface goes with its namespace, an address at its next ADD
    try:
        mount.umount(call["netns"], const.MNT_DETACH)
    except OSError:
        pass  # nothing was set up yet, or the host was restarted
    try:
        os.unlink(call["netns"])
    except FileNotFoundError:
        pass


def _run(verb: str, call: dict[str, Any], plugin: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    document = call["list"]
    program = _find(str(plugin.get("type") or ""), call["path"], document["name"])
    order = {**plugin, "name": document["name"], "cniVersion": document["cniVersion"]}
    wanted = {key: call["runtime"][key] for key in (plugin.get("capabilities") or {}) if key in call["runtime"]}
    if wanted:
        order["runtimeConfig"] = wanted
    if result:
        order["prevResult"] = result
    there = os.path.ismount(call["netns"])  # a file alone is what a restart of the host has left
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": call["id"],
        "CNI_NETNS": call["netns"] if there else "",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAME={call['name']}",
        "CNI_PATH": call["path"],
    }
    what = f"network '{document['name']}': plugin '{plugin['type']}'"
    try:
        done = subprocess.run(
            [program], input=json.dumps(order).encode(), env=environment, capture_output=True, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise errors.NetworkError(f"{what} has not answered {verb} in {_PATIENCE} s") from None
    except OSError as error:
        raise errors.NetworkError(f"{what} cannot be run: {(error.strerror or '').lower()}") from None
    try:
        answer = json.loads(done.stdout or b"{}")
    except ValueError:
        answer = {}
    if done.returncode or not isinstance(answer, dict):
        said = answer if isinstance(answer, dict) else {}
        words = [str(said[key]) for key in ("msg", "details") if said.get(key)]
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        reason = " ".join("; ".join(words or last or [f"exit code {done.returncode}"]).split())
        raise errors.NetworkError(f"{what} cannot {verb}: {reason}", hint=_HINTS.get(said.get("code") or 0, ""))
    return answer


_HINTS = {
    1: "the list's cniVersion is not one that this plugin knows",
    2: "a field of the list that this plugin does not know",
    7: "the list's configuration is not valid",
    11: "try again later",
}
"""Well-known error codes of the specification."""


def _capabilities(
    document: dict[str, Any], asked: dict[str, Any], ports: list[dict[str, Any]], network: str
) -> dict[str, Any]:
    """What plugins of the list can be told, by capability. Raises UsageError for a wish that none takes."""
    wishes: dict[str, Any] = {}
    if ports:
        wishes["portMappings"] = [
            {
                "hostPort": port["host_port"],
                "containerPort": port["container_port"],
                "protocol": port["protocol"],
                **({"hostIP": port["host_ip"]} if port["host_ip"] else {}),
            }
            for port in ports
        ]
    if asked.get("ip"):
        wishes["ips"] = [asked["ip"]]
    if asked.get("mac"):
        wishes["mac"] = asked["mac"]
    if asked.get("rx_bps") or asked.get("tx_bps"):
        wishes["bandwidth"] = {}
        for key, word in (("rx_bps", "ingress"), ("tx_bps", "egress")):
            if rate := asked.get(key):
                wishes["bandwidth"] |= {f"{word}Rate": 8 * rate, f"{word}Burst": 8 * max(rate // 50, 16384)}
    known = {key for plugin in document["plugins"] for key, on in (plugin.get("capabilities") or {}).items() if on}
    flags = {"portMappings": "--publish", "ips": "--ip", "mac": "--mac-address", "bandwidth": "--network-rx-bps"}
    for key in wishes:
        if key not in known:
            raise errors.UsageError(
                f"{flags[key]}: no plugin of network '{network}' has the capability '{key}'",
                hint=f'one with "capabilities": {{"{key}": true}} in its list',
            )
    return wishes


def _lease(result: dict[str, Any], network: Network, id: str, name: str) -> dict[str, Any]:
    """An attachment out of a result of ADD."""
    ips: Iterable[dict[str, Any]] = result.get("ips") or []
    four = [one for one in ips if ":" not in str(one.get("address"))]
    six = [one for one in ips if ":" in str(one.get("address"))]
    if not four:
        raise errors.NetworkError(f"the plugins of network '{network.name}' gave no IPv4 address")
    address = str(four[0]["address"])
    subnets.to_int(address.partition("/")[0])
    inner = [one for one in result.get("interfaces") or [] if one.get("sandbox")]
    outer = [one for one in result.get("interfaces") or [] if not one.get("sandbox")]
    return {
        "mode": "cni",
        "id": id,
        "name": name,
        "names": [name],
        "network": network.name,
        "bridge": "",
        "host_if": str(outer[-1]["name"]) if outer else "",
        "container_if": "eth0",
        "address": address,
        "gateway": str(four[0].get("gateway") or ""),
        "mac": str(inner[0].get("mac") or "") if inner else "",
        "mtu": 0,
        "internal": False,
        "nameservers": [str(one) for one in (result.get("dns") or {}).get("nameservers") or []],
        **({"address6": str(six[0]["address"]), "gateway6": str(six[0].get("gateway") or "")} if six else {}),
    }


def _make(place: str) -> None:
    """A network namespace that a file holds, with loopback up."""
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    os.close(os.open(place, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            namespaces.unshare(const.CLONE_NEWNET)
            with netlink.Netlink() as socket:
                socket.send([rtmessages.up(1, "lo")])
            mount.mount("/proc/self/ns/net", place, None, const.MS_BIND)
            code = 0
        finally:
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        os.unlink(place)
        raise errors.NetworkError("no network namespace can be made for the plugins", hint="this needs root")
