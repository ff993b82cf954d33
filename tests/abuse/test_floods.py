"""Every flood, by watched and by unwatched processes, in rings of the usual size and in small ones,
twice each."""

from __future__ import annotations

import os

import pytest

from receiver.kernel.source_config import SourceConfig
from tests.floods import FLOODS, attack

pytestmark = [pytest.mark.abuse, pytest.mark.live]
SMALL = SourceConfig(
    lifecycle_ring_bytes=1 << 18,
    unwatched_ring_bytes=1 << 16,
    bulk_ring_bytes=1 << 17,
    drain_interval_seconds=0.5,
)


@pytest.mark.parametrize("size", ["usual", "small"])
@pytest.mark.parametrize("watched", [False, True], ids=["unwatched", "watched"])
@pytest.mark.parametrize("kind", FLOODS)
def test_it_costs_a_task_of_another_user_nothing(
    live: None, kind: str, watched: bool, size: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become other users")
    for _ in range(2):
        found = attack(kind, watched=watched, config=SMALL if size == "small" else None)
        assert found.is_whole(), (kind, found.sleeps, found.killed, found.losses)
