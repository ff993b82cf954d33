#!/usr/bin/env bash
# Installs the frameworks that tests/frameworks runs, each in an environment of its own, pinned by tests/frameworks/requirements,
# once per version, outside the tree: `frameworks.sh [NAME…]`. Prints where. A few minutes and some 3 GiB the first time.
set -euo pipefail
cd "$(dirname "$0")/../tests/frameworks/requirements"
cache=${KWITNESS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kwitness}/frameworks
python=$(python3 -c 'import sys; print(sys.executable)')
mkdir -p "$cache"
[ $# -gt 0 ] || set -- $(ls ./*.txt | sed 's|^\./||; s|\.txt$||')
for name in "$@"; do
    target=$cache/$name-$(sha256sum "$name.txt" | cut -c1-12)
    if [ ! -e "$target/.installed" ]; then
        echo "frameworks: installing $name" >&2
        rm -rf "$target"
        "$python" -m venv "$target"
        "$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$name.txt" >&2
        touch "$target/.installed"
    fi
    echo "$target"
done
