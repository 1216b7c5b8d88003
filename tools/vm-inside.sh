#!/bin/sh
# The guest's side of tools/vm-tests.sh: pytest from the virtual environment's packages under the guest's own python3.
# usage: vm-inside.sh SITE-PACKAGES [pytest arguments]
set -eu
packages=$1
shift
cd "$(dirname "$0")/.."
if [ -d /scratch ]; then
    # an overlay cannot be the upper layer of another one, and the guest's own /tmp may be on one
    mkdir -p /scratch/tmp
    chmod 1777 /scratch/tmp
    mount --bind /scratch/tmp /tmp
fi
unset PYTHONDONTWRITEBYTECODE
export PYTHONPATH="$packages:$PWD" PYTHONPYCACHEPREFIX=/tmp/pycache
echo "kernel $(uname -r), $(python3 --version), cgroup v$([ -e /sys/fs/cgroup/cgroup.controllers ] && echo 2 || echo 1)"
exec python3 -m pytest --timeout "${PYCTR_GUEST_PATIENCE:-600}" -n "${PYCTR_TEST_JOBS:-2}" --dist loadfile -rfEs "$@"
