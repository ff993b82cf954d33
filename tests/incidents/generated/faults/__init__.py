"""Faults: each module registers its own."""

from tests.incidents.generated.faults import (
    crashes,
    data,
    disks,
    hangs,
    heirs,
    kills,
    limits,
    memory,
    network,
    own,
    paths,
    peers,
    tools,
    waits,
)
from tests.incidents.generated.faults.base import FAULTS

__all__ = [
    "FAULTS",
    "crashes",
    "data",
    "disks",
    "hangs",
    "heirs",
    "kills",
    "limits",
    "memory",
    "network",
    "own",
    "paths",
    "peers",
    "tools",
    "waits",
]
