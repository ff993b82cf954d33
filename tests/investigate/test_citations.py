"""Reports cite what was seen, and are bounded, also on damaged recordings."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.events import Event
from receiver.investigate.citations import Citations
from receiver.investigate.evidence import Fact
from receiver.investigate.report import cited, to_json
from receiver.kernel.decode import split
from receiver.observe.core import Core
from receiver.observe.recording import FrameKind, Recording
from receiver.observe.replay import replay, replay_frame
from receiver.observe.session import Session
from tests.builders import Calls, Story

ROOT = Path(__file__).parent.parent.parent
SCENARIOS = ROOT / "tests" / "scenarios"


def test_a_case_is_bounded() -> None:
    from receiver.investigate.casebook import ACTORS_PER_CASE

    story = Story()
    root = story.command("bash", "job.sh")
    for _ in range(ACTORS_PER_CASE + 500):
        story.exit(story.spawn(root, "true"), after_ms=20)
    execution = next(iter(story.core.executions.open.values()))
    case = story.core.case(execution, story.now)
    assert len(case.actors) <= ACTORS_PER_CASE + 1
    assert case.left_out == 500


RECORDINGS = sorted(
    [*SCENARIOS.glob("*.kw"), *SCENARIOS.glob("incidents/*.kw"), *SCENARIOS.glob("frameworks/*.kw")]
)


def _note(seen: set[str], event: Event) -> None:
    seen.add(f"{event.cpu}-{event.sequence}")


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.stem)
def test_reports_on_recordings_cite_nothing_that_was_not_seen(path: Path) -> None:
    """Whole, the same twice, byte by byte."""
    told = []
    for _ in range(2):
        recording = Recording(path)
        core = Core(recording.header.host)
        seen: set[str] = set()
        core.listeners.add(Calls(event=partial(_note, seen)))
        replay(Session(core), recording)
        for report in core.incidents.reports.values():
            assert cited(report) <= set(report.events)
            assert {i for i in report.events if not i.startswith(("lost-", "clock-"))} <= seen
        told.append([to_json(r) for r in core.incidents.reports.values()])
    assert told[0] == told[1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_reports_on_damaged_recordings_cite_nothing_that_was_not_seen(data: st.DataObject) -> None:
    """Cut short, with holes, with records out of order or twice."""
    recording = Recording(data.draw(st.sampled_from(RECORDINGS)))
    frames = list(recording)
    frames = frames[: data.draw(st.integers(1, len(frames)))]
    core = Core(recording.header.host)
    seen: set[str] = set()
    core.listeners.add(Calls(event=partial(_note, seen)))
    session = Session(core)
    drop = data.draw(st.floats(0, 0.4))
    chance = data.draw(st.randoms(use_true_random=False))
    last = 0
    for frame in frames:
        last = max(last, frame.time_ns)
        if frame.kind == FrameKind.BATCH:
            records = [r for r in split(frame.payload) if chance.random() >= drop]
            if chance.random() < 0.1:
                chance.shuffle(records)
            session.batch(records + records[: int(chance.random() < 0.05)], frame.time_ns)
        else:
            replay_frame(session, frame)
    session.finish(last)
    for report in core.incidents.reports.values():
        assert cited(report) <= set(report.events)
        assert {i for i in report.events if not i.startswith(("lost-", "clock-"))} <= seen


def test_the_texts_of_a_report_are_bounded() -> None:
    """Reports are kept in memory, and a path may have 4,096 bytes. Its end names the file."""
    story = Story()
    story.command("python3")
    (execution,) = story.core.executions.open.values()
    cited_facts = Citations(story.core.case(execution, story.now))
    text = f"It opens /data/{'x' * 4000}/missing.csv."
    cited_facts.cite([Fact(id="1-1", kind="call_failed", at_ns=story.now, pid=1, text=text)])
    (event,) = cited_facts.as_json().values()
    told = str(event["text"])
    assert (
        len(told) <= 1000 and told.startswith("It opens /data/x") and told.endswith("/missing.csv.")
    )
