"""Recordings of incidents from the laboratory, replayed: the same verdict, class and culprit,
whatever the wording.

Made by `python -m tests.incidents --save F --record` and `python -m tests.incidents.keep F
tests/scenarios/incidents`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receiver.investigate.report import EXPLAINED, to_json
from receiver.model import CoreOptions
from receiver.observe.core import Core
from receiver.observe.recording import Recording
from receiver.observe.replay import replay
from receiver.observe.session import Session
from tests.incidents.score import same_culprit

RECORDINGS = sorted((Path(__file__).parent / "incidents").glob("*.kw"))


def report_of(path: Path) -> dict[str, Any]:
    recording = Recording(path)
    core = Core(recording.header.host, CoreOptions(only_commands=True))
    replay(Session(core), recording)
    found: dict[str, Any] = json.loads(to_json(list(core.incidents.reports.values())[-1]))
    return found


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.stem)
def test_an_incident_is_concluded_as_it_was(path: Path) -> None:
    expected, report = json.loads(path.with_suffix(".json").read_text()), report_of(path)
    assert report["verdict"] == expected["verdict"], report["summary"]
    if expected["verdict"] in EXPLAINED:
        lead = report["hypotheses"][0]
        assert lead["cause"] in (expected["cause"], *expected["also_right"]), report["summary"]
        assert same_culprit(expected["culprit"], lead["culprit"])
        assert lead["ruled_out"] and all(r["because"] for r in lead["ruled_out"])


def test_recordings_cover_most_classes_and_the_absence_of_any() -> None:
    expected = [json.loads(p.with_suffix(".json").read_text()) for p in RECORDINGS]
    assert len({e["cause"] for e in expected}) >= 40
    assert {e["verdict"] for e in expected} == {"incident", "degraded", "healthy", "not_visible"}


def test_they_hold_nothing_of_the_machine_they_were_made_on() -> None:
    for path in RECORDINGS:
        raw = path.read_bytes()
        assert b"/root/" not in raw and b"testhost" in raw[:2000], path.name
