#!/bin/sh
# The guest's side of tools/vm-tests.sh: pytest from the virtual environment's packages under the guest's own python3.
# usage: vm-inside.sh VENV SITE-PACKAGES [pytest arguments]
set -eu
venv=$1 packages=$2
shift 2
cd "$(dirname "$0")/.."
if [ -d /scratch ]; then
    # an overlay cannot be the upper layer of another one, and the guest's own /tmp may be on one
    mkdir -p /scratch/tmp
    chmod 1777 /scratch/tmp
    mount --bind /scratch/tmp /tmp
fi
# what a booted system loads when it is first asked for: disks in files, and the books of quotas; zfs where it is
modprobe -aq loop quota_v2 zfs || true
PATH=$PATH:$venv/guest
# a file of the guest, which forgets it: every python3 finds the packages, those that tests start as well
site=$(python3 -c 'import site; print(site.getsitepackages()[0])')
mkdir -p "$site"
echo "$packages" >"$site/pyctr-tests.pth"
[ -e /bin/busybox ] || [ ! -e "$venv/busybox" ] || cp "$venv/busybox" /bin/busybox
# the commands, which callers of the runtime execute, for the guest's interpreter
bin=$(python3 -c 'import sys; print(sys.prefix)')/bin
[ -e "$bin/python" ] || ln -s python3 "$bin/python"
python3 tools/scripts.py
unset PYTHONDONTWRITEBYTECODE
# for tests that change the machine
export PYCTR_GUEST_TESTS=1
export PYTHONPATH="$PWD" PYTHONPYCACHEPREFIX=/tmp/pycache
echo "kernel $(uname -r), $(python3 --version), cgroup v$([ -e /sys/fs/cgroup/cgroup.controllers ] && echo 2 || echo 1)"
exec python3 -m pytest --timeout "${PYCTR_GUEST_PATIENCE:-600}" -n "${PYCTR_TEST_JOBS:-2}" --dist loadfile -rfEs "$@"
