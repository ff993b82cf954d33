"""The container, pod or unit of a process, from the path of its cgroup. No container runtime is
asked.

Layouts:
- Kubernetes, with either cgroup driver: `/kubepods/burstable/pod<uid>/<id>` and
  `kubepods-burstable-pod<uid with _>.slice/cri-containerd-<id>.scope`
- Docker: `/docker/<id>`, `docker-<id>.scope`
- Podman: `libpod-<id>.scope`
- CRI-O: `crio-<id>.scope`
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from receiver.attribution.context import variable
from receiver.facts.process import Process

ENVIRONMENT = ("POD_NAME", "POD_NAMESPACE", "POD_UID", "KUBERNETES_NAMESPACE", "HOSTNAME")
_ID = re.compile(
    r"(?:^|[/:])(?:(docker|cri-containerd|crio|libpod"
    r"|containerd)-)?([0-9a-f]{64})(?:\.scope)?(?=/|$)"
)
_POD = re.compile(r"pod([0-9a-f]{8}[-_](?:[0-9a-f]{4}[-_]){3}[0-9a-f]{12}|[0-9a-f]{32})")
_UNIT = re.compile(r"/([^/]+)\.service(?=/|$)")
_RUNTIMES = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "containerd": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
}
# the form of a Kubernetes name (RFC 1123)
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")


class ContainerIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """An empty field is not known."""

    container_id: str = ""
    runtime: str = ""
    pod_uid: str = ""
    pod_name: str = ""
    namespace: str = ""
    unit: str = ""  # systemd service, without its suffix


NOWHERE = ContainerIdentity()


def place_of(process: Process) -> ContainerIdentity:
    """The place of the process's last image.

    No cgroup path holds a pod's name; it is known only where the environment has POD_NAME and
    POD_NAMESPACE.
    """
    if len(process.memory_cgroup) < 2:
        return NOWHERE
    return _place(
        process.memory_cgroup,
        variable(process.environ, "POD_NAME"),
        variable(process.environ, "POD_NAMESPACE"),
    )


@lru_cache(maxsize=1024)
def _place(cgroup: str, pod_name: str, namespace: str) -> ContainerIdentity:
    found = list(_ID.finditer(cgroup))
    pod, unit = _POD.search(cgroup), _UNIT.search(cgroup)
    runtime, container = (found[-1][1] or "", found[-1][2]) if found else ("", "")
    if container and not runtime and cgroup.rpartition("/")[0].endswith("/docker"):
        runtime = "docker"
    uid = pod[1].replace("_", "-") if pod and "kubepods" in cgroup else ""
    named = bool(container) and bool(uid)  # outside of a pod, any program may use these variables
    return ContainerIdentity(
        container_id=container,
        runtime=_RUNTIMES.get(runtime, ""),
        pod_uid=uid,
        pod_name=pod_name if named and _NAME.fullmatch(pod_name) else "",
        namespace=namespace if named and _NAME.fullmatch(namespace) else "",
        unit=unit[1] if unit and not container else "",
    )
