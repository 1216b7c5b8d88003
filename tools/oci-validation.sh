#!/bin/sh
# The validation programs of opencontainers/runtime-tools, from Debian's sources, run against OCI runtimes.
#
#   tools/oci-validation.sh [-w DIRECTORY] [-p PROGRAM]... RUNTIME [RUNTIME]
#
#   tools/oci-validation.sh runc .venv/bin/pyctr-runtime          all of them, and what differs
#   tools/oci-validation.sh -p hooks -p mounts crun               two of them, with all that they say
#
# Needs Debian or a relative, root, and golang-go. Everything is fetched, unpacked and built below DIRECTORY
# (otherwise a temporary one): apt gets a configuration of its own for the sources, and the Go libraries are unpacked,
# not installed. Their states and roots lie there, too, and mounts are those of a namespace of their own. A second run
# with the same DIRECTORY builds nothing.
#
# A line per program: how many results were good and bad, and the exit code if it was not 0. The exit code of this
# script is 1 if the second runtime does worse in any program than the first one. linux_ns_itype runs only when it is
# named: a runtime that passes it mounts /proc, /dev and /sys below a directory that the program then deletes.
set -eu

SUITE=sid # has the newest sources; its libraries may want a newer compiler than the host's
LIBRARIES="golang-github-blang-semver-dev golang-github-cpuguy83-go-md2man-v2-dev golang-github-russross-blackfriday-v2-dev
    golang-github-google-uuid-dev golang-github-hashicorp-errwrap-dev
    golang-github-hashicorp-go-multierror-dev golang-github-mrunalp-fileutils-dev
    golang-github-opencontainers-selinux-dev golang-github-opencontainers-specs-dev golang-github-sirupsen-logrus-dev
    golang-github-urfave-cli-dev golang-github-xeipuuv-gojsonpointer-dev golang-github-xeipuuv-gojsonreference-dev
    golang-github-xeipuuv-gojsonschema-dev golang-gocapability-dev golang-golang-x-sys-dev"
PATIENCE=120 # seconds for one program
here=$(cd "$(dirname "$0")" && pwd)

usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2
    exit 2
}

work='' programs=''
while getopts w:p:h option; do
    case $option in
    w) work=$OPTARG ;;
    p) programs="$programs $OPTARG" ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] && [ $# -le 2 ] || usage
[ "$(id -u)" = 0 ] || { echo "needs root: it starts real containers" >&2; exit 2; }
if [ -z "$work" ]; then
    work=$(mktemp -d /var/tmp/oci-validation.XXXXXX)
    trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
work=$(cd "$work" && pwd)
tree=$work/gopath/src/github.com/opencontainers/runtime-tools

fetch() {
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/parts" "$work/source"
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -n 1)
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb-src [signed-by=$keys] $mirror $SUITE main" >"$work/apt/sources.list"
    set -- -q -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts="$work/apt/parts" \
        -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root
    apt-get "$@" update >"$work/apt/log" 2>&1 || { tail -n 5 "$work/apt/log" >&2; exit 1; }
    (cd "$work/source" && apt-get "$@" source --download-only --tar-only golang-github-opencontainers-runtime-tools) \
        >>"$work/apt/log" 2>&1 || { tail -n 5 "$work/apt/log" >&2; exit 1; }
    mkdir -p "$tree" "$work/debs"
    tar -C "$tree" --strip-components=1 -xf "$work"/source/*.orig.tar.*
    (cd "$work/debs" && apt-get -q download $LIBRARIES >>"$work/apt/log" 2>&1) ||
        { tail -n 5 "$work/apt/log" >&2; exit 1; }
    for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/libraries"; done
    mkdir -p "$work/gopath/src/github.com/mndrix"
    cp -r "$here/oci-validation/tap" "$work/gopath/src/github.com/mndrix/tap-go"
}

build() {
    export GO111MODULE=off GOFLAGS= GOCACHE="$work/gocache" GOPATH="$work/gopath:$work/libraries/usr/share/gocode"
    (
        cd "$tree"
        CGO_ENABLED=0 go build -o runtimetest ./cmd/runtimetest
        for directory in validation/*/; do
            name=$(basename "$directory")
            [ "$name" = util ] || go build -o "validation/$name/$name.t" "./validation/$name"
        done
    )
}

if [ ! -e "$work/built" ]; then
    echo "fetching and building in $work" >&2
    fetch
    build
    touch "$work/built"
fi

# runtime, name of its results
try() {
    command=$(command -v "$1") || { echo "no runtime '$1'" >&2; exit 2; }
    command=$(cd "$(dirname "$command")" && pwd)/$(basename "$command")
    mkdir -p "$work/$2" "$work/tmp"
    # its containers are nobody else's
    printf '#!/bin/sh\nexec %s --root %s/state "$@"\n' "$command" "$work/$2" >"$work/$2/runtime"
    chmod +x "$work/$2/runtime"
    cd "$tree"
    for program in ${programs:-validation/*/}; do
        program=$(basename "$program")
        [ "$program" != util ] || continue
        [ "$program" != linux_ns_itype ] || [ -n "$programs" ] || continue
        code=0
        TMPDIR=$work/tmp RUNTIME="$work/$2/runtime" timeout "$PATIENCE" \
            unshare --mount --propagation private "validation/$program/$program.t" \
            >"$work/$2/$program.tap" 2>"$work/$2/$program.err" </dev/null || code=$?
        [ -z "$programs" ] || sed 's/^/    /' "$work/$2/$program.tap" "$work/$2/$program.err" >&2
        good=$(grep -c '^ok' "$work/$2/$program.tap") || true
        bad=$(grep -c '^not ok' "$work/$2/$program.tap") || true
        echo "$program $good $bad $code"
        for left in $(ls "$work/$2/state" 2>/dev/null); do
            "$work/$2/runtime" delete --force "$left" >/dev/null 2>&1 || true
        done
    done >"$work/$2/summary"
    cd - >/dev/null
    # the programs' own names, of which some are left when one fails
    rm -rf --one-file-system "$work/tmp"
    find /sys/fs/cgroup -depth -mindepth 2 -type d -path '*/testdir*' -exec rmdir {} + 2>/dev/null || true
}

second=
try "$1" first
[ $# -eq 1 ] || { second=second && try "$2" second; }
if [ -z "$second" ]; then
    awk '{ printf "%-32s %4d good %4d bad%s\n", $1, $2, $3, $4 ? "  exit code " $4 : "" }' "$work/first/summary"
    exit
fi
join "$work/first/summary" "$work/second/summary" | awk -v first="$(basename "$1")" -v second="$(basename "$2")" '
    function result(good, bad, code) { return sprintf("%d/%d%s", good, bad, code ? " exit " code : "") }
    BEGIN { printf "%-32s %-18s %-18s\n", "good/bad", first, second }
    {
        same = $2 == $5 && $3 == $6 && $4 == $7
        worse = $7 ? !$4 : !$4 && ($5 < $2 || $6 > $3)
        printf "%-32s %-18s %-18s%s\n", $1, result($2, $3, $4), result($5, $6, $7), same ? "" : worse ? "worse" : "better"
        if (worse) failed = 1
    }
    END { exit failed }'
