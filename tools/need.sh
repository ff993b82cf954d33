#!/usr/bin/env bash
# Usage: need.sh WHAT…  One clear line for the first thing that is missing.
PATH=$PATH:/usr/sbin
for what in "$@"; do
    case $what in
    root) [ "$(id -u)" = 0 ] || { echo "kwitness: loading eBPF needs root here: sudo make …" >&2; exit 77; } ;;
    btf) [ -e /sys/kernel/btf/vmlinux ] || { echo "kwitness: this kernel has no BTF (/sys/kernel/btf/vmlinux)" >&2; exit 69; } ;;
    iptables-legacy) command -v iptables-legacy > /dev/null || { echo "kwitness: iptables-legacy is missing: apt-get install iptables" >&2; exit 69; } ;;
    ip) command -v ip > /dev/null || { echo "kwitness: ip is missing: apt-get install iproute2" >&2; exit 69; } ;;
    *) command -v "$what" > /dev/null || { echo "kwitness: $what is missing: apt-get install $what" >&2; exit 69; } ;;
    esac
done
