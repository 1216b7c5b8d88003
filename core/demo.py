"""Four small containers that give every screen something to show, and their removal without a trace.

    demo-cpu      busy under a quota, harder and softer in turn
    demo-memory   fills and frees memory below its limit
    demo-web      a web server with a published port and a health check
    demo-client   asks demo-web for a page by its name, again and again

All are made from the embedded base image, so that nothing is fetched. A label marks them; `down` goes by it.
"""

from __future__ import annotations

import os

from pyctr.core import containers, errors, lifecycle
from pyctr.core.images import base
from pyctr.core.spec import ContainerSpec, Health, Limits, Mount, Port
from pyctr.core.state import PAUSED, RESTARTING, RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyctr.core.containers import Container
    from pyctr.core.engine import Engine
    from pyctr.core.images.model import Image

    Progress = Callable[[str], object]

LABEL = "pyctr.demo"
_PATIENCE = 5.0
"""Seconds for who goes with the last container."""
PORT = 8080
MIB = 1 << 20

# every wait is a child that `wait` waits for: the shell runs its trap at once, and a stop takes no ten seconds
_CPU = """
trap 'exit 0' TERM
while :; do
  for work in 10 30 80 200 400 200 80 30; do
    echo "$work thousand rounds, five times"
    for again in 1 2 3 4 5; do
      n=0; while [ $n -lt ${work}000 ]; do n=$((n+1)); done
      sleep 0.3 & wait $!
    done
  done
done
"""

# /dev/shm is memory of the container's cgroup: growing and shrinking need no program that allocates
_MEMORY = """
trap 'exit 0' TERM
while :; do
  for block in 1 2 3 4 5 6 7 8 9 10 11 12; do
    head -c 4194304 /dev/zero > /dev/shm/block.$block
    echo "holding $((block * 4)) MiB"
    sleep 1 & wait $!
  done
  rm -f /dev/shm/block.*
  echo "freed"
  sleep 3 & wait $!
done
"""

_WEB = """
mkdir -p /tmp/www; cd /tmp/www
{ echo '<h1>It lives.</h1><p>demo-web, a container of pyctr.</p><pre>'; date; ls -l /; echo '</pre>'; } > index.html
if command -v httpd >/dev/null; then exec httpd -f -v -p 80 -h /tmp/www; fi
exec "$PYTHON" -u -m http.server 80
"""

_GET = """if command -v wget >/dev/null; then
  get() { wget -q -O - "http://$1/"; }
else
  get() { bash -c 'exec 3<>"/dev/tcp/$0/80" && printf "GET / HTTP/1.0\\\\r\\\\n\\\\r\\\\n" >&3 && cat <&3' "$1"; }
fi
"""

_PROBE = _GET + "get localhost | grep lives"

_CLIENT = (
    """
trap 'exit 0' TERM
"""
    + _GET
    + """
asked=0; failed=0
while :; do
  for burst in 1 1 2 4 8 4 2 1; do
    n=0
    while [ $n -lt $burst ]; do
      n=$((n+1)); asked=$((asked+1))
      get demo-web >/tmp/page 2>/dev/null || failed=$((failed+1))
    done
    echo "asked demo-web $asked times, $failed without an answer"
    sleep 1 & wait $!
  done
done
"""
)


def up(engine: Engine, progress: Progress) -> list[Container]:
    """Start what is missing of the four; running ones stay as they are. What fails leaves nothing new behind.

    `progress` is called with a line before each step. Raises PermissionDenied without root, Conflict when somebody
    else has one of the names.
    """
    if os.geteuid() != 0:
        raise errors.PermissionDenied("the demo starts containers, which needs root", hint="sudo pyctr demo up")
    if engine.images.find(base.NAME) is None:
        progress("making the base image from this host's own shell and tools")
    image = base.ensure(engine.images, engine.layers)
    running, made = [], []
    try:
        for spec in _specs(engine, image):
            container = _existing(engine, spec.name)
            if container is None:
                progress(f"starting {spec.name}")
                container = _run(engine, spec, progress)
                made.append(container)
            else:
                _wake(engine, container)
            running.append(container.reload())
    except BaseException:
        for container in made:
            lifecycle.remove(engine, container, force=True, volumes=True)
        raise
    for container in running:
        for port in container.state.network.get("ports") or ():
            progress(f"{container.name} answers at http://localhost:{port['host_port']}")
    return running


def down(engine: Engine, progress: Progress) -> None:
    """Remove the demo's containers; then the base image, the bridge and our directories if nothing else needs them."""
    if os.geteuid() != 0:
        raise errors.PermissionDenied("the demo's containers belong to root", hint="sudo pyctr demo down")
    for container in containers.all(engine):
        if LABEL in container.spec.labels:
            progress(f"removing {container.name}")
            try:
                lifecycle.remove(engine, container, force=True, volumes=True)
            except errors.NotFound:
                continue  # somebody else was faster
    others = containers.all(engine)
    if engine.images.find(base.NAME) is not None:
        try:
            engine.images.remove(base.NAME)
            progress("removed the base image")
        except errors.Conflict:
            progress("the base image stays: other containers are made from it")
    if not others and all(network.name == "bridge" for network in engine.networks.list()):
        from pyctr.core import networks
        from pyctr.core.runtime import offices

        # it goes with the last container, and writes until then
        offices.wait_until_left(f"{engine.paths.run}/{offices.STEWARD}", _PATIENCE)
        networks.remove_all(engine.paths)
        _sweep(engine)


def _specs(engine: Engine, image: Image) -> list[ContainerSpec]:
    def spec(name: str, script: str, **more: object) -> ContainerSpec:
        made = ContainerSpec(image=base.NAME, name=name, labels={LABEL: "1"}, command=["/bin/sh", "-c", script.strip()])
        return made.replace(**more)

    return [
        spec("demo-cpu", _CPU, limits=Limits(cpus=0.25, memory=32 * MIB, pids=32)),
        spec("demo-memory", _MEMORY, limits=Limits(memory=64 * MIB, pids=32)),
        spec(
            "demo-web",
            _WEB,
            limits=Limits(cpus=0.5, memory=64 * MIB, pids=64),
            ports=[Port(container_port=80, host_port=PORT)],
            health=Health(test=["CMD-SHELL", _PROBE], interval=5.0, start_period=30.0, start_interval=0.5),
            # as PID 1 the server would ignore the SIGTERM it has no handler for: a stop would take ten seconds
            init=True,
            **_python(engine, image),
        ),
        spec("demo-client", _CLIENT, limits=Limits(cpus=0.25, memory=32 * MIB, pids=32)),
    ]


def _python(engine: Engine, image: Image) -> dict[str, object]:
    """Where the image has no httpd (this host has no busybox) our own interpreter serves, mounted read-only."""
    if any(os.path.lexists(f"{engine.layers.path(layer.diff_id)}/usr/bin/httpd") for layer in image.layers):
        return {}
    import sys

    places = ["/usr"]
    if not f"{sys.base_prefix}/".startswith("/usr/"):
        places.append(sys.base_prefix)
    return {
        "mounts": [Mount(kind="bind", source=place, target=place, readonly=True) for place in places],
        "env": [f"PYTHON={os.path.realpath(sys.executable)}"],
    }


def _existing(engine: Engine, name: str) -> Container | None:
    id = containers.named(engine.paths, name)
    if id is None:
        return None
    container = containers.find(engine, id)
    if LABEL not in container.spec.labels:
        raise errors.Conflict(
            f"a container named '{name}' exists that is not the demo's", hint=f"pyctr rename {name} another-name"
        )
    return container


def _run(engine: Engine, spec: ContainerSpec, progress: Progress) -> Container:
    try:
        return lifecycle.run(engine, spec)[0]
    except BaseException as error:
        _discard(engine, spec.name)
        if not (isinstance(error, errors.Conflict) and spec.ports):
            raise
    progress(f"port {PORT} is taken: another one is chosen")
    ports = [port.replace(host_port=0, host_last=0) for port in spec.ports]
    try:
        return lifecycle.run(engine, spec.replace(ports=ports))[0]
    except BaseException:
        _discard(engine, spec.name)
        raise


def _discard(engine: Engine, name: str) -> None:
    left = _existing(engine, name)
    if left is not None:
        lifecycle.remove(engine, left, force=True)


def _wake(engine: Engine, container: Container) -> None:
    status = container.status
    if status == PAUSED:
        lifecycle.unpause(engine, container)
    elif status not in (RUNNING, RESTARTING):
        lifecycle.start(engine, container)


def _sweep(engine: Engine) -> None:
    """Take our own directories away once no image and no volume is left, and those that are empty in any case."""
    from pyctr.core import hosthistory, redo
    from pyctr.core.runtime import launcher, offices

    paths = engine.paths
    launcher.dismiss(paths.run)
    if not engine.images.list() and not engine.volumes.list():
        import shutil

        for name in (paths.cache, paths.images, paths.layers):
            shutil.rmtree(name, ignore_errors=True)
        written = (paths.events, f"{paths.events}.1", hosthistory.place(paths), f"{paths.root}/{redo.CONTAINERS}")
        offices.abolish(f"{paths.run}/{offices.STEWARD}")
        for name in (*written, f"{paths.run}/storage-driver", f"{paths.run}/{redo.MENDED}"):
            try:
                os.unlink(name)
            except FileNotFoundError:
                pass  # never written
    # rmdir, not rmtree: whatever else somebody keeps there stays
    mountpoints = {*engine.layout.controllers.values(), engine.layout.unified} - {""}
    for top in (paths.root, paths.run, *(f"{mountpoint}/{paths.cgroup_parent}" for mountpoint in mountpoints)):
        for directory, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                continue  # something of somebody's is in it
