"""Names of pods and containers, from the links that the kubelet keeps in /var/log/containers.

A link is `<pod>_<namespace>_<container>-<id>.log`. Only the names are read; no file is opened. If
the directory is missing (no kubelet, or not mounted), no names are known. Source: kubernetes,
pkg/kubelet/kuberuntime (legacyLogSymlink).
"""

from __future__ import annotations

import os
import re
from itertools import islice

from receiver.model import ContainerName

CONTAINERS = 4096
_LINK = re.compile(
    r"^([a-z0-9][-a-z0-9.]{0,252})_([a-z0-9][-a-z0-9]{0,62})_([a-z0-9][-a-z0-9]{0,62})-"
    r"([0-9a-f]{64})\.log$"
)


def container_names(folder: str) -> tuple[ContainerName, ...]:
    """Names by container id, in order; at most CONTAINERS.

    Empty when the directory cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = [m for entry in islice(entries, CONTAINERS) if (m := _LINK.match(entry.name))]
    except OSError:
        return ()
    return tuple(sorted((ContainerName(m[4], m[1], m[2], m[3]) for m in found), key=lambda c: c.id))
