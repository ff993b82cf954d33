"""Thousands of damaged recordings, each read in every way."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.mutations import fault, mutated, seeds, variants

pytestmark = pytest.mark.abuse
FILES, PARTS, FIRST = 500, 5, 100_000


@pytest.fixture(autouse=True)
def live_check() -> None:
    """In place of the one of all tests: what a damaged recording claims (a time of 0) is encoded,
    and need not be plausible."""


@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_recordings_end_in_one_line_or_well(tmp_path: Path, part: int) -> None:
    recordings = [path for path in seeds() if path.stat().st_size < 20_000]
    faults = []
    for seed in range(FIRST + part, FIRST + FILES, PARTS):
        dice = random.Random(seed)
        file = tmp_path / "x.kw"
        file.write_bytes(mutated(dice.choice(recordings).read_bytes(), dice))
        faults += [
            (seed, way[:2], found) for way in variants(file, tmp_path) if (found := fault(way))
        ]
    assert faults == []
