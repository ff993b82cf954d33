"""A damaged recording is refused in one line, or read as far as it goes:
no traceback, whatever is in it and whoever reads it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.mutations import fault, mutated, parts, seeds, variants, whole, whole_json

FILES = 160


@pytest.fixture(autouse=True)
def live_check() -> None:
    """In place of the one of all tests: what a damaged recording claims (a time of 0) is encoded,
    and need not be plausible."""


@pytest.mark.parametrize("part", range(4))
def test_mutated_recordings_end_in_one_line_or_well(tmp_path: Path, part: int) -> None:
    recordings = [path for path in seeds() if path.stat().st_size < 20_000]
    faults = []
    for seed in range(part, FILES, 4):
        dice = random.Random(seed)
        file = tmp_path / f"{seed}.kw"
        file.write_bytes(mutated(dice.choice(recordings).read_bytes(), dice))
        ways = variants(file, tmp_path)
        for arguments in (ways[seed % len(ways)], ways[(seed + 3) % len(ways)]):
            if found := fault(arguments):
                faults.append((seed, arguments[:2], found))
    assert faults == []


def test_taking_a_recording_apart_and_putting_it_together_changes_nothing() -> None:
    for path in seeds()[:20]:
        assert whole(*parts(path.read_bytes())) == path.read_bytes()


def test_an_unchanged_recording_is_read_in_every_way(tmp_path: Path) -> None:
    for arguments in variants(seeds()[-30], tmp_path):
        assert fault(arguments) == ""
    assert whole_json(tmp_path / "otlp")
    assert whole_json(tmp_path / "report")
