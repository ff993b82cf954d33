"""Records of the kernel that several tests of facts make."""

from __future__ import annotations

from typing import Any

from receiver import semconv as sc
from receiver.events import (
    Connection,
    ConnectionStage,
    ProcessKey,
)
from tests.builders import Story, attributes

SERVER = int.from_bytes(bytes([10, 0, 0, 5]), "little")


def connection(
    story: Story, key: ProcessKey, number: int, stage: ConnectionStage, **other: Any
) -> None:
    values = {
        "connection_id": number,
        "stage": stage,
        "family": 2,
        "peer_low": SERVER,
        "peer_port": 443,
        "state": 1,
        "established_boottime_ns": 0 if stage == ConnectionStage.FAILED else number + 1000,
    }
    story.fact(Connection, key, **(values | other))


def look(
    story: Story, *facts: tuple[type[Any], ProcessKey, dict[str, Any]], seconds: float = 1.0
) -> None:
    """One second's samples, then the tick."""
    story.step(seconds * 1000)
    for kind, key, fields in facts:
        story.fact(kind, key, **fields)
    story.tick(0)


def exhausted(story: Story) -> list[object]:
    return [
        attributes(r)[sc.NETWORK_EXHAUSTION_RESOURCE]
        for r in story.events(sc.EVENT_NETWORK_CONNECTION_EXHAUSTED)
    ]


def sampled(number: int, **other: Any) -> dict[str, Any]:
    return {
        "connection_id": number,
        "stage": ConnectionStage.SAMPLED,
        "family": 2,
        "peer_low": SERVER,
        "peer_port": 443,
        "state": 1,
        "established_boottime_ns": number + 1000,
    } | other


def sample(rss: int, **other: Any) -> dict[str, Any]:
    return {"anon_bytes": rss, "threads": 1, "memory_cgroup_id": 5} | other
