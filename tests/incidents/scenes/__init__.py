"""All scenes. Importing registers them."""

from tests.incidents.scenes import (
    ends,
    files,
    frameworks,
    healthy,
    kills,
    memory,
    network,
    refusals,
    unseen,
    waits,
    work,
)

__all__ = [
    "ends",
    "files",
    "frameworks",
    "healthy",
    "kills",
    "memory",
    "network",
    "refusals",
    "unseen",
    "waits",
    "work",
]
