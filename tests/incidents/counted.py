"""What clues said in runs whose truth is known: `counted.jsonl` has a line for each run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

COUNTED = Path(__file__).parent / "counted.jsonl"


Clue = tuple[str, float]  # its id, and the weight that the card writes


class Root(msgspec.Struct, frozen=True):
    """A root that competed: its class, whether it is the truth, and its clues."""

    cause: str
    right: bool
    clues: tuple[Clue, ...]


class Counted(msgspec.Struct, frozen=True):
    """One run. If no root is right, "none of them" is: it was healthy, or its cause not found."""

    run: str
    scene: str  # what has this name in common is left out together
    roots: tuple[Root, ...]

    @property
    def kept(self) -> bool:
        return self.run.startswith("kept/")


def read(path: Path = COUNTED) -> list[Counted]:
    return [msgspec.json.decode(line, type=Counted) for line in path.read_bytes().splitlines()]


def write(runs: Iterable[Counted], path: Path = COUNTED) -> None:
    ordered = sorted(runs, key=lambda r: r.run)
    path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in ordered))
