"""Counts clues in runs whose truth is known: replayed recordings, and wire stories.

A seed makes a story again. Counted weights play no part: a line holds the weights as the cards
write them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from receiver.investigate.report import EXPLAINED
from receiver.investigate.weights import WEIGHTS
from receiver.model import CoreOptions
from receiver.observe.core import Core
from receiver.observe.recording import Recording
from receiver.observe.replay import replay
from receiver.observe.session import Session
from tests.incidents.counted import Counted, Root
from tests.incidents.generated.compose import compose, is_story, twin
from tests.incidents.generated.play import play
from tests.incidents.score import same_culprit

KEPT = Path(__file__).parent.parent / "scenarios" / "incidents"
SET = "development"  # nothing of the judging set is ever counted


@contextlib.contextmanager
def as_written() -> Iterator[None]:
    """The cards' own weights, as if nothing had been counted."""
    with patch.dict(WEIGHTS, clear=True):
        yield


def of_report(run: str, scene: str, truth: dict[str, Any], report: dict[str, Any]) -> Counted:
    """What cost time in a healthy run may well be true (the noise beside it): it is not counted."""
    if truth["verdict"] == "healthy" and report["verdict"] == "degraded":
        return Counted(run, scene, ())
    named = (truth["cause"], *truth["also_right"])
    known = truth["verdict"] in EXPLAINED
    return Counted(
        run,
        scene,
        tuple(
            Root(
                each["cause"],
                known
                and each["cause"] in named
                and same_culprit(truth["culprit"], each["culprit"]),
                tuple((w["clue"], w["weight"]) for w in each["weighed"] if w["weight"]),
            )
            for each in report["hypotheses"]
        ),
    )


def report_of(recording: Path) -> dict[str, Any]:
    source = Recording(recording)
    core = Core(source.header.host, CoreOptions(only_commands=True))
    replay(Session(core), source)
    found: dict[str, Any] = msgspec.to_builtins(list(core.incidents.reports.values())[-1])
    return found


def recorded(folder: Path, name: str) -> Iterator[Counted]:
    """The recordings of a folder. `name`: what they are, for `run`."""
    for path in sorted(folder.glob("*.kw")):
        truth = path.with_suffix(".json")
        if truth.exists():
            expected = json.loads(truth.read_text())
            scene = expected.get("scene") or path.stem.rpartition("-")[0]
            yield of_report(f"{name}/{path.stem}", scene, expected, report_of(path))


def told(numbers: Iterable[int]) -> Iterator[Counted]:
    """The wire stories among these numbers of the development set, with their twins."""
    for number in filter(is_story, numbers):
        drawn = compose(SET, number)
        for each in (drawn, twin(drawn)):
            played = play(each)
            run = f"{SET}/{number}-{'incident' if each.sick else 'twin'}"
            truth = msgspec.to_builtins(played.truth)
            yield of_report(run, each.fault, truth, played.report)


def every(folders: Iterable[Path], stories: Iterable[int]) -> list[Counted]:
    """The recordings of the repository, those of the folders, and the stories among the numbers."""
    with as_written():
        return [
            *recorded(KEPT, "kept"),
            *(run for folder in folders for run in recorded(folder, SET)),
            *told(stories),
        ]
