"""Recordings of real runs of the frameworks, replayed: the rules give the same names,
without the frameworks.

After a wanted change: KWITNESS_UPDATE_GOLDENS=1 make test-unit, then read the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from receiver.observe.core import Core
from receiver.observe.recording import Recording
from receiver.observe.replay import replay
from receiver.observe.session import Session
from receiver.work.execution import Execution
from tests.builders import Calls

RECORDINGS = sorted((Path(__file__).parent / "frameworks").glob("*.kw"))


def works(path: Path) -> list[dict[str, Any]]:
    """Every piece of work, in order of its beginning."""
    recording = Recording(path)
    core = Core(recording.header.host)
    found: list[Execution] = []
    core.listeners.add(Calls(execution_started=found.append))
    replay(Session(core), recording)
    assert not core.recognisers.broken and not core.decode_errors
    return [
        {
            "work": f"{e.identity.system} {e.identity.type}",
            "pipeline": e.identity.pipeline,
            "task": e.identity.task,
            "attempt": e.identity.attempt,
            "map_index": e.identity.map_index,
            "grade": e.identity.grade,
            "source": e.identity.source,
            "result": e.result,
            "processes": e.totals.processes,
            "inside_of": e.outer.identity.task if e.outer else "",
        }
        for e in found
    ]


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda p: p.stem)
def test_the_rules_name_what_the_frameworks_did(recording: Path) -> None:
    golden = recording.with_suffix(".json")
    found = works(recording)
    if os.environ.get("KWITNESS_UPDATE_GOLDENS"):
        golden.write_text("\n".join(json.dumps(w) for w in found) + "\n")
    assert found == [json.loads(line) for line in golden.read_text().splitlines()]


def test_there_are_recordings() -> None:
    assert len(RECORDINGS) >= 8
