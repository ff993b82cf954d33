"""Advice fits the system it is given on."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.kernel.remedies import HostKind, host_kind, remedy

RELEASES = {
    'ID=debian\nVERSION_ID="12"\n': "debian",
    "ID=ubuntu\nID_LIKE=debian\n": "ubuntu",
    'ID="rocky"\nID_LIKE="rhel centos fedora"\n': "fedora",
    'ID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"\n': "amazon",
    "ID=arch\n": "other",
    "ID=unheard\nID_LIKE='opensuse fedora'\n": "fedora",
    "": "other",
}
TOPICS = ("capabilities", "btf", "libbpf", "lockdown", "pid_namespace", "refused")


@pytest.mark.parametrize(("text", "family"), RELEASES.items())
def test_families_by_os_release(tmp_path: Path, text: str, family: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(text)
    assert host_kind(tmp_path, {}) == HostKind(family, "host")


def test_containers_and_pods(tmp_path: Path) -> None:
    assert host_kind(tmp_path, {}).inside == "host"
    assert host_kind(tmp_path, {"container": "podman"}).inside == "container"
    (tmp_path / ".dockerenv").touch()
    assert host_kind(tmp_path, {}) == HostKind("other", "container")
    (tmp_path / "proc/self").mkdir(parents=True)
    for kind, inside in (("overlay overlay rw", "container"), ("ext4 /dev/vda rw", "host")):
        (tmp_path / "proc/self/mountinfo").write_text(
            f"21 1 0:1 / /proc rw - proc proc rw\n20 1 254:0 / / rw,relatime - {kind}\n"
        )
        assert host_kind(tmp_path, {}).inside == inside
    assert host_kind(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).inside == "kubernetes"


@pytest.mark.parametrize("family", ["debian", "ubuntu", "fedora", "amazon", "other"])
@pytest.mark.parametrize("inside", ["host", "container", "kubernetes"])
def test_there_is_one_line_for_everything_everywhere(family: str, inside: str) -> None:
    for topic in TOPICS:
        said = remedy(topic, HostKind(family, inside))
        assert said and "\n" not in said
    assert remedy("", HostKind(family, inside)) == ""


def test_advice_is_of_the_place() -> None:
    assert "hostPID" in remedy("pid_namespace", HostKind("debian", "kubernetes"))
    assert "--cap-add BPF" in remedy("capabilities", HostKind("ubuntu", "container"))
    assert "dnf" in remedy("libbpf", HostKind("amazon", "host")) and "apt-get" in remedy(
        "libbpf", HostKind("debian", "host")
    )
    assert "node's kernel" in remedy("btf", HostKind("debian", "container"))
