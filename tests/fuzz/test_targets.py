"""Every input that a fuzzer ever found, the seeds, and a few thousand random changes of them:
none raises."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import FOUND, TARGETS, Target

CHANGES = 200  # for each target; `make fuzz` searches for as long as it is told


def changed(data: bytes, dice: random.Random) -> bytes:
    """A few bytes replaced, doubled, or cut out."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(out) + 1)
        match dice.randrange(4):
            case 0:
                out[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                out[at : at + dice.randint(1, 8)] = dice.randbytes(dice.randint(1, 8))
            case 2:
                out[at:at] = out[at : at + dice.randint(1, 64)]
            case _:
                del out[at : at + dice.randint(1, 64)]
    return bytes(out)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.__name__)
def test_no_input_breaks(target: Target) -> None:
    name = target.__name__
    dice = random.Random(name)
    start = [*seeds(name), b""]
    for data in (*start, *(p.read_bytes() for p in sorted(FOUND.glob(f"{name}-*")))):
        target(data)
    for _ in range(CHANGES):
        target(changed(dice.choice(start), dice))
