#!/usr/bin/env bash
# Usage: setup.sh PYTHON VENV. Installs the missing system packages (Debian and its like) and the Python environment.
set -euo pipefail
python=$1 venv=$2
stop() { echo "setup: $*" >&2; exit 1; }

packages=()
command -v clang > /dev/null || packages+=(clang)
command -v clang-format > /dev/null || packages+=(clang-format)
[ -x /usr/sbin/bpftool ] || command -v bpftool > /dev/null || packages+=(bpftool)
[ -e /usr/include/bpf/bpf_helpers.h ] || packages+=(libbpf-dev)
ldconfig -p 2> /dev/null | grep -q 'libbpf\.so\.1' || packages+=(libbpf1)
command -v "$python" > /dev/null || packages+=(python3)
"$python" -c 'import ensurepip, venv' 2> /dev/null || packages+=(python3-venv)

if [ ${#packages[@]} -gt 0 ]; then
    echo "setup: installing system packages: ${packages[*]}"
    command -v apt-get > /dev/null || stop "no apt-get here: install ${packages[*]} (or what they are called here), then try again"
    [ "$(id -u)" = 0 ] || stop "not root: run 'sudo apt-get install ${packages[*]}', then try again"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null
fi
# bcc names the functions of a crash. kwitness works without it, so where it cannot be installed here the setup goes on
if ! PYTHONPATH=/usr/lib/python3/dist-packages "$python" -c 'import bcc.libbcc' 2> /dev/null; then
    if command -v apt-get > /dev/null && [ "$(id -u)" = 0 ]; then
        echo "setup: installing system packages: python3-bpfcc"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-bpfcc > /dev/null ||
            echo "setup: python3-bpfcc could not be installed: crashes show file and offset, no function names" >&2
    else
        echo "setup: python3-bpfcc is not installed (apt-get as root installs it): crashes show file and offset, no function names"
    fi
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || stop "$python is older than 3.11: set PYTHON=python3.x"

echo "setup: installing kwitness and its development tools into $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable . --group dev
