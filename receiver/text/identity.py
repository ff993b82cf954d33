"""The identity of work in words."""

from __future__ import annotations

from receiver.model import Identity


def describe(identity: Identity) -> str:
    """One line for people."""
    attempt = f", attempt {identity.attempt}" if identity.attempt > 1 else ""
    index = f", map index {identity.map_index}" if identity.map_index >= 0 else ""
    return (
        f"{identity.type} {identity.task} of {identity.system} {identity.pipeline}, run "
        f"{identity.run_id}{attempt}{index} "
        f"[{identity.grade}, by {identity.source}: {identity.evidence}]"
    )
