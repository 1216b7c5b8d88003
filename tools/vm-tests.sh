#!/bin/sh
# The kernel tests on another kernel: in a guest, usually with pure cgroup v2, when this machine has v1.
#
#   PYCTR_GUEST='bash /path/to/runner' tools/vm-tests.sh [pytest arguments]
#
# The runner is whatever boots a guest on this machine. It is called as
#   $PYCTR_GUEST -m MEGABYTES -t SECONDS -s DIRECTORY -- COMMAND...
# and must share DIRECTORY read-write at the same path, run COMMAND in it as root, print its output and exit with its
# code. The guest needs python3 of the same minor version as the virtual environment's, iproute2 and procps; a directory
# /scratch that overlayfs takes as an upper layer is used when it is there. PYCTR_GUEST_TESTS in the guest's environment
# lets tests change what only a machine that is thrown away may have changed; those of net_cls and net_prio need a kernel
# that was not told cgroup_no_v1=all.
set -eu
repository=$(cd "$(dirname "$0")/.." && pwd)
venv=${VENV:-$repository/.venv}
if [ -z "${PYCTR_GUEST:-}" ]; then
    echo "no guest to test in: set PYCTR_GUEST to a command that boots one; the head of $0 says how it is called" >&2
    exit 2
fi
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if command -v busybox >/dev/null 2>&1; then
    cp "$(command -v busybox)" "$venv/busybox" # many tests use it, and a static one runs everywhere
fi
if program=$(command -v mkfs.xfs) && [ ! -e "$venv/guest/mkfs.xfs" ]; then
    # with its libraries, for a guest of the same distribution that lacks them
    mkdir -p "$venv/guest/lib"
    ldd "$program" | awk '/=> \//{print $3}' | grep -v '/libc\.so' | xargs -I{} cp {} "$venv/guest/lib/"
    cp "$program" "$venv/guest/lib/mkfs.xfs"
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$venv/guest/lib" "$venv/guest/lib/mkfs.xfs" >"$venv/guest/mkfs.xfs"
    chmod +x "$venv/guest/mkfs.xfs"
fi
[ $# -gt 0 ] || set -- tests/kernel
if program=$(command -v apparmor_parser); then
    mkdir -p "$venv/guest"
    cp "$program" "$venv/guest/" # it needs no library but libc
fi
exec $PYCTR_GUEST -m "${PYCTR_GUEST_MEMORY:-2048}" -t "${PYCTR_GUEST_SECONDS:-7200}" -s "$repository" -- \
    sh "$repository/tools/vm-inside.sh" "$venv" "$packages" "$@"
