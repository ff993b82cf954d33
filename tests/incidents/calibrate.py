"""Fits the curve from the probability of a lead to its confidence.

`python -m tests.incidents.calibrate`. The runs are the composed ones of `counted.jsonl`, each with
weights that were counted without its composition or without its scene. The recordings of the
repository play no part: only runs with a right answer were kept.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from receiver.investigate import engine
from tests.incidents.counted import COUNTED, Counted, read
from tests.incidents.weigh import ALL, ALL_KEPT, SPREAD, Shifts, fresh, held_out, shares

_STEPS, _RATE = 2_000, 0.2
_BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


class Lead(msgspec.Struct, frozen=True):
    """The first root of a run, its probability by the engine's odds, and whether it is right."""

    cause: str
    probability: float
    right: bool


def leads(found: Iterable[tuple[Counted, Shifts]]) -> list[Lead]:
    """Of the composed runs with a root that is more likely than not."""
    out = []
    for run, shifts in found:
        own = {c: shift for c, shift in shifts.items() if c not in (ALL, ALL_KEPT)}
        parts = shares(run, own)[:-1]
        first = max(range(len(parts)), key=lambda n: parts[n], default=-1)
        if not run.kept and first >= 0 and parts[first] >= engine.CONFIDENT:
            root = run.roots[first]
            out.append(Lead(root.cause, min(engine.CEILING, parts[first]), root.right))
    return out


def curve(known: Sequence[Lead]) -> tuple[float, float]:
    """Slope and offset that maximise the likelihood, with a little shrinking of the slope."""
    slope, offset = engine.SURE_SLOPE, engine.SURE_OFFSET
    for _ in range(_STEPS):
        by_slope = by_offset = 0.0
        for each in known:
            odds = math.log(each.probability / (1 - each.probability))
            error = each.right - 1 / (1 + math.exp(-slope * odds - offset))
            by_slope += error * odds
            by_offset += error
        slope += _RATE * (by_slope / len(known) - 0.01 * slope)
        offset += _RATE * by_offset / len(known)
    return slope, offset


def table(found: Sequence[tuple[float, bool]]) -> tuple[list[str], float]:
    """The reliability table, and the expected calibration error."""
    lines, error = ["| said | runs | mean | right |", "|---|---|---|---|"], 0.0
    for low, high in pairwise(_BINS):
        part = [(p, r) for p, r in found if low <= p < high or (high == 1.0 and p == 1.0)]
        if part:
            said = sum(p for p, _ in part) / len(part)
            right = sum(r for _, r in part) / len(part)
            error += abs(said - right) * len(part) / len(found)
            lines.append(f"| {low:.0%} to {high:.0%} | {len(part)} | {said:.2f} | {right:.2f} |")
    return lines, error


def main(path: Path) -> None:
    runs = read(path)
    uses: tuple[tuple[str, Callable[[], Iterable[tuple[Counted, Shifts]]]], ...] = (
        ("weights without the composition", lambda: fresh(runs, SPREAD)),
        ("weights without the scene", lambda: held_out(runs, SPREAD)),
    )
    for name, found in uses:
        known = leads(found())
        slope, offset = curve(known)
        print(f"{name}, {len(known)} leads: best curve {slope:.2f} x log-odds + {offset:.2f}")
        confidences = [engine.calibrated([e.probability], e.cause)[0] for e in known]
        for label, said in (("before", [e.probability for e in known]), ("in use", confidences)):
            lines, error = table([(p, e.right) for p, e in zip(said, known, strict=True)])
            print(f"{label}: expected calibration error {error:.3f}", *lines, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else COUNTED)
