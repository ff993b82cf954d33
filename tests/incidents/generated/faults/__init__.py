"""Faults: each module registers its own."""

from tests.incidents.generated.faults import (
    crashes,
    disks,
    hangs,
    kills,
    limits,
    memory,
    network,
    own,
    paths,
    tools,
)
from tests.incidents.generated.faults.base import FAULTS

__all__ = [
    "FAULTS",
    "crashes",
    "disks",
    "hangs",
    "kills",
    "limits",
    "memory",
    "network",
    "own",
    "paths",
    "tools",
]
