"""Fits the curve from scores to probabilities, and tests it on scenes that it was not fitted on:
`python -m tests.incidents.calibrate`.

For each recording the engine's roots compete with "none of them", which is the truth for a healthy
run and for one whose cause is not visible. Slope and offset maximise the likelihood of the truth;
the table below comes from fits without the scene.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import msgspec

from receiver.investigate import engine
from receiver.investigate.engine import CEILING
from receiver.investigate.report import EXPLAINED
from receiver.model import CoreOptions
from receiver.observe.core import Core
from receiver.observe.recording import Recording
from receiver.observe.replay import replay
from receiver.observe.session import Session
from tests.incidents.score import same_culprit

GOLDENS = Path(__file__).parent.parent / "scenarios" / "incidents"
_STEPS, _RATE = 4_000, 0.05
_BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


class Sample(msgspec.Struct, frozen=True):
    """The scores of the competing roots of one run, and the number of the true one; -1:
    none of them."""

    scene: str
    scores: tuple[float, ...]
    truth: int


def samples(folder: Path) -> list[Sample]:
    return [_sample(p) for p in sorted(folder.glob("*.kw"))]


def _sample(path: Path) -> Sample:
    """By the roots that its report lists."""
    expected = json.loads(path.with_suffix(".json").read_text())
    recording = Recording(path)
    core = Core(recording.header.host, CoreOptions(only_commands=True))
    replay(Session(core), recording)
    listed = list(core.incidents.reports.values())[-1].hypotheses
    named = (expected["cause"], *expected["also_right"])
    truth = -1
    if expected["verdict"] in EXPLAINED:
        rights = (
            n
            for n, h in enumerate(listed)
            if h.cause in named
            and same_culprit(expected["culprit"], msgspec.to_builtins(h.culprit))
        )
        truth = next(rights, -1)
    return Sample(path.stem.rpartition("-")[0], tuple(h.score for h in listed), truth)


def shares(scores: tuple[float, ...], slope: float, offset: float) -> list[float]:
    """The probability of each root; that of "none of them" comes last."""
    odds = [*(slope * s + offset for s in scores), 0.0]
    most = max(odds)
    parts = [math.exp(o - most) for o in odds]
    return [p / sum(parts) for p in parts]


def fit(known: list[Sample]) -> tuple[float, float]:
    """Gradient ascent on the likelihood, with a little shrinking of the slope."""
    slope, offset = engine.SLOPE, engine.OFFSET
    for _ in range(_STEPS):
        by_slope = by_offset = 0.0
        for each in known:
            parts = shares(each.scores, slope, offset)
            for number, score in enumerate(each.scores):
                error = float(number == each.truth) - parts[number]
                by_slope += error * score
                by_offset += error
        slope += _RATE * (by_slope / len(known) - 0.01 * slope)
        offset += _RATE * by_offset / len(known)
    return slope, offset


def leave_one_out(known: list[Sample]) -> list[tuple[float, bool]]:
    """For each run with a root: the probability of the first one by a fit without its scene,
    and whether it is right."""
    by_scene: dict[str, list[Sample]] = defaultdict(list)
    for each in known:
        by_scene[each.scene].append(each)
    out = []
    for scene, held_out in by_scene.items():
        if not any(s.scores for s in held_out):
            continue
        curve = fit([s for s in known if s.scene != scene])
        out += [
            (min(CEILING, shares(s.scores, *curve)[0]), s.truth == 0) for s in held_out if s.scores
        ]
    return out


def table(found: list[tuple[float, bool]]) -> tuple[list[str], float]:
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


def main(folder: Path) -> None:
    known = samples(folder)
    slope, offset = fit(known)
    print(
        f"{len(known)} runs of {len({s.scene for s in known})} scenes: log-odds = {slope:.2f} x "
        f"score + {offset:.2f}"
    )
    for name, found in (
        (
            "in use",
            [
                (min(CEILING, shares(s.scores, engine.SLOPE, engine.OFFSET)[0]), s.truth == 0)
                for s in known
                if s.scores
            ],
        ),
        ("fitted without the scene", leave_one_out(known)),
    ):
        lines, error = table(found)
        print(f"\n{name}: expected calibration error {error:.3f}", *lines, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDENS)
