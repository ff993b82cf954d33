"""What to change after an OOM kill: whose limit, and which limit would have sufficed."""

from __future__ import annotations

import re

from receiver.investigate.causes.oom_shares import Shares
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib
from receiver.units import MIB

_MARGIN = 1.2  # a limit exactly as large as the need is reached again at the next small change
_STEP = 16 * MIB
_CONTAINER = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?$")


def limit_object(cgroup: str) -> str:
    """Names the setting that is this cgroup's limit."""
    container = _CONTAINER.search(cgroup)
    if container is None:
        return f"memory.max of {cgroup or 'its cgroup'}"
    if "kubepods" in cgroup:
        return f"resources.limits.memory of container {container[1]}"
    return f"the memory limit of container {container[1]}"


def larger_limit(victim: ProcessSnapshot, shares: Shares | None) -> str:
    """Returns the fix for a process whose own memory reached the limit."""
    event = victim.oom
    if event is None:
        return ""
    name = victim.script or victim.name
    smaller = f"or make {name} ({victim.pid}) take less: split or repartition its input."
    where = f"Raise {limit_object(event.memory_cgroup)}"
    if shares is None or not shares.complete:
        return f"{where} above {mib(event.limit_bytes)}, {smaller}"
    needed = event.usage_bytes + shares.asked_bytes
    enough = -(-int(needed * _MARGIN) // _STEP) * _STEP
    return (
        f"{where} from {mib(event.limit_bytes)} to at least {mib(enough)} (what was in use, "
        f"{mib(event.usage_bytes)}, and {mib(shares.asked_bytes)} that it had asked for, and a "
        f"fifth of both, rounded up), {smaller}"
    )
