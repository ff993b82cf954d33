"""Remedies for a missing feature on this system: a package, an option of the container, a line of a
pod.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

_FAMILIES = {
    "debian": "debian",
    "raspbian": "debian",
    "ubuntu": "ubuntu",
    "linuxmint": "ubuntu",
    "pop": "ubuntu",
    "fedora": "fedora",
    "rhel": "fedora",
    "centos": "fedora",
    "rocky": "fedora",
    "almalinux": "fedora",
    "ol": "fedora",
    "amzn": "amazon",
}


class HostKind(msgspec.Struct, frozen=True):
    """`family`: debian, ubuntu, fedora, amazon or other.

    `inside`: host, container or kubernetes.
    """

    family: str
    inside: str


def host_kind(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> HostKind:
    """Detected from os-release(5) and from the marks that container runtimes leave."""
    fields = {}
    for name in ("etc/os-release", "usr/lib/os-release"):
        try:
            lines = (root / name).read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        fields = {k: v.strip("\"'") for k, _, v in (line.partition("=") for line in lines)}
        break
    names = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    family = next((_FAMILIES[n] for n in names if n in _FAMILIES), "other")
    if "KUBERNETES_SERVICE_HOST" in environment:
        return HostKind(family, "kubernetes")
    # the mark alone proves nothing: a virtual machine made from an image has it, but no layered
    # root
    marked = any(
        (root / mark).exists() for mark in (".dockerenv", "run/.containerenv")
    ) and _is_layered(root)
    return HostKind(family, "container" if marked or environment.get("container") else "host")


def _is_layered(root: Path) -> bool:
    """Whether / is an overlay, as runtimes make it.

    True if that cannot be read. Fields: proc(5), mountinfo.
    """
    try:
        lines = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return True
    kinds = [
        line.partition(" - ")[2].split()[0]
        for line in lines
        if line.split()[4:5] == ["/"] and " - " in line
    ]
    return not kinds or kinds[-1] in ("overlay", "fuse-overlayfs", "aufs", "btrfs", "zfs")


_OF_DOCKER = (
    "docker run --pid=host --cap-drop ALL --cap-add BPF --cap-add PERFMON --cap-add SETUID "
    "--cap-add SETGID"
)
_BY_PLACE: dict[str, dict[str, str]] = {
    "capabilities": {
        "host": (
            "run it as root (sudo), or as a service with AmbientCapabilities=CAP_BPF CAP_PERFMON "
            "(deploy/systemd/kwitness.service)"
        ),
        "container": (
            f"{_OF_DOCKER} --security-opt seccomp=deploy/compose/seccomp.json (or the compose "
            "file's service)"
        ),
        "kubernetes": (
            "securityContext.capabilities.add: [BPF, PERFMON, SETUID, SETGID] with runAsUser: 0, "
            "as in deploy/kubernetes/agent.yaml"
        ),
    },
    "pid_namespace": {
        "host": "start it in the host's pid namespace: nsenter -t 1 -p kwitness …",
        "container": "docker run --pid=host; in compose: pid: host",
        "kubernetes": "hostPID: true in the pod's spec",
    },
    "lockdown": {
        "host": (
            "boot with lockdown=integrity (or without lockdown=): cat /sys/kernel/security/lockdown"
        ),
        "container": "the node's kernel is locked down: boot the node with lockdown=integrity",
        "kubernetes": "the node's kernel is locked down: boot the node with lockdown=integrity",
    },
    "refused": {
        "host": "read the reason in dmesg; with SELinux: ausearch -m avc -c kwitness",
        "container": (
            "a seccomp profile may refuse bpf(2): --security-opt "
            "seccomp=deploy/compose/seccomp.json"
        ),
        "kubernetes": (
            "the runtime's seccomp profile may refuse bpf(2): seccompProfile: {type: Unconfined}, "
            "or a Localhost profile that allows it"
        ),
    },
}
_BY_FAMILY: dict[str, dict[str, str]] = {
    "libbpf": {
        "debian": "apt-get install libbpf1 (Debian 12 and later)",
        "ubuntu": (
            "apt-get install libbpf1 (Ubuntu 22.10 and later; 22.04 has libbpf0, which is too "
            "old: install a wheel of `make wheel`, which contains libbpf)"
        ),
        "fedora": "dnf install libbpf (Fedora 37, RHEL 9 and later)",
        "amazon": "dnf install libbpf (Amazon Linux 2023)",
        "other": "install libbpf 1.0 or later, or a wheel of `make wheel`, which contains it",
    },
    "btf": {
        "debian": (
            "Debian's own kernels have it since 11: apt-get install linux-image-amd64 (or "
            "-arm64), and reboot"
        ),
        "ubuntu": (
            "Ubuntu's kernels have it since 20.10; on 20.04: apt-get install "
            "linux-image-generic-hwe-20.04, and reboot"
        ),
        "fedora": (
            "kernels of Fedora and of RHEL 8.2 and later have it: dnf upgrade kernel, and reboot; "
            "kwitness is tested on 6.1 and later (RHEL 10)"
        ),
        "amazon": (
            "Amazon Linux 2023 has it (6.1); the kernels of Amazon Linux 2 are too old (5.15)"
        ),
        "other": "a kernel built with CONFIG_DEBUG_INFO_BTF=y, 6.1 or later",
    },
}


def remedy(topic: str, where: HostKind) -> str:
    """One line; empty when no remedy is known."""
    if topic in _BY_PLACE:
        return _BY_PLACE[topic][where.inside]
    if topic == "btf" and where.inside != "host":
        return (
            f"the node's kernel lacks it ({_BY_FAMILY[topic]['other']}); the container must mount "
            "/sys, read-only is enough"
        )
    return _BY_FAMILY[topic][where.family] if topic in _BY_FAMILY else ""
