#!/usr/bin/env bash
# What tests/stack needs beside the servers that it builds: an engine, compose, a base image. Debian's packages, said before they come.
set -euo pipefail
packages=()
[ -x /usr/sbin/dockerd ] || packages+=(docker.io)
[ -x /usr/bin/docker-compose ] || packages+=(docker-compose)
[ -x /usr/sbin/debootstrap ] || packages+=(debootstrap)
[ -x /bin/busybox ] || packages+=(busybox-static)
command -v iptables > /dev/null || packages+=(iptables)
[ ${#packages[@]} -gt 0 ] || exit 0
echo "stack: installing system packages: ${packages[*]}"
command -v apt-get > /dev/null || { echo "stack: no apt-get here: install ${packages[*]} (or what they are called here)" >&2; exit 69; }
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null
