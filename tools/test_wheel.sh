#!/usr/bin/env bash
# Usage: test_wheel.sh [SUITE …]. Installs the wheel of dist/ in a minimal root of each Debian suite (bookworm and trixie), which
# has no libbpf and no compiler, and runs kwitness there. Needs root and debootstrap; the roots are kept for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/need.sh root btf
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kwitness/roots
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie)
stop() { echo "test-wheel: $*" >&2; exit 1; }
wheel=$(ls dist/kwitness-*.whl) || stop "make wheel first"
if ! command -v debootstrap > /dev/null; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends debootstrap > /dev/null || stop "debootstrap could not be installed"
fi
mirror=$(sed -nE 's/^URIs: (\S+).*/\1/p; s/^deb (\[[^]]*\] )?(\S+).*/\2/p' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2> /dev/null | head -1 || true)

prepare() { # suite root
    [ -e "$2/.ready" ] && return
    rm -rf "$2"
    mkdir -p "$2"
    # shellcheck disable=SC2086  # no mirror: debootstrap's own
    debootstrap --variant=minbase --include=python3,python3-venv "$1" "$2" $mirror > "$cache/$1.log" 2>&1 ||
        { tail -5 "$cache/$1.log" >&2; stop "no root of $1 could be made"; }
    touch "$2/.ready"
}

try() { # suite root
    local version
    version=$(chroot "$2" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    rm -rf "$2/opt/kwitness" "$2/opt/wheels"
    mkdir -p "$2/opt/wheels"
    # what pip would fetch there; a root of debootstrap has no certificates
    local platforms=()
    for platform in manylinux_2_17 manylinux2014 manylinux_2_24 manylinux_2_28; do
        platforms+=(--platform "${platform}_$(uname -m)")
    done
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --only-binary :all: --python-version "$version" \
        "${platforms[@]}" --dest "$2/opt/wheels" "$wheel"
    chroot "$2" sh -ec '
        python3 -m venv /opt/kwitness
        /opt/kwitness/bin/pip install --quiet --disable-pip-version-check --no-index --find-links /opt/wheels kwitness'
    # a mount namespace of its own: nothing stays mounted
    unshare --mount --propagation private bash -ec '
        mount -t proc proc "$1/proc"; mount --rbind /sys "$1/sys"; mount --rbind /dev "$1/dev"
        exec chroot "$1" bash -s' - "$2" < tools/test_wheel_inside.sh
    rm -rf "$2/opt/kwitness" "$2/opt/wheels"
    echo "test-wheel: $1 (Python $version, glibc $(chroot "$2" ldd --version | sed -n '1s/.* //p')): passed"
}

for suite in "${suites[@]}"; do
    prepare "$suite" "$cache/$suite"
    try "$suite" "$cache/$suite"
done
