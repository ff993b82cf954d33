"""A replay gives what the live run gave."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from receiver.attribution.rules import Rule
from receiver.investigate.entries import Sighting, Used
from receiver.investigate.history import TASKS, History
from receiver.model import NOBODY, CoreOptions
from receiver.observe.recording import (
    FrameKind,
    Recording,
    Settings,
)
from receiver.observe.recording_scope import CommandScope
from receiver.observe.replay import core_of, replay, replay_frame, steps, used_first
from receiver.observe.session import Session
from tests.builders import Story
from tests.session.stories import KEY, SIGNATURE_NOTE, Outcome, _encoded, live, run


def replayed(path: Path, without: FrameKind | None = None) -> Outcome:
    outcome, recording = Outcome(), Recording(path)
    core = core_of(recording.header)
    core.set_wall_offset(recording.header.wall_offset_ns)
    session = Session(core)
    for frame in used_first(f for f in recording if f.kind != without):
        outcome.take(core, replay_frame(session, frame))
    outcome.end(core)
    return outcome


def test_a_replay_gives_the_same_works_reports_and_otlp(tmp_path: Path) -> None:
    told, again = live(tmp_path / "x.kw"), replayed(tmp_path / "x.kw")
    assert again.works == told.works and len(told.works) == 5
    assert again.reports == told.reports
    assert again.otlp == told.otlp and len(told.otlp) > 30
    assert again.metrics == told.metrics and len(told.metrics) > 10
    assert [json.loads(r)["seen_before"] for r in told.reports] == [0, 6, 7, 0]
    assert [SIGNATURE_NOTE in r.decode() for r in told.reports] == [False, False, True, False]


MATTERS = set(FrameKind) - {  # these have tests of their own, here and in tests/recording
    FrameKind.FINISH,
    FrameKind.WATCH,
    FrameKind.VANISHED,
    FrameKind.CONTAINERS,
    FrameKind.PASSED,
}


@pytest.mark.parametrize("kind", sorted(MATTERS), ids=lambda k: k.name)
def test_every_recorded_input_matters(tmp_path: Path, kind: FrameKind) -> None:
    told, other = live(tmp_path / "x.kw"), replayed(tmp_path / "x.kw", without=kind)
    assert (other.works, other.otlp, other.metrics, other.reports) != (
        told.works,
        told.otlp,
        told.metrics,
        told.reports,
    )


def test_only_the_used_entries_of_a_history_are_recorded(tmp_path: Path) -> None:
    live(tmp_path / "x.kw")
    raw = (tmp_path / "x.kw").read_bytes()
    assert b"secret pipeline" not in raw and SIGNATURE_NOTE.encode() in raw
    kinds = Counter(f.kind for f in Recording(tmp_path / "x.kw"))
    assert kinds[FrameKind.HISTORY] == 1 and kinds[FrameKind.USED] >= 2


def test_an_own_history_replaces_the_recorded_one(tmp_path: Path) -> None:
    live(tmp_path / "x.kw")
    recording, own = Recording(tmp_path / "x.kw"), History()
    core = core_of(recording.header)
    session = Session(core)
    session.history(own, 0)
    for _ in steps(session, recording, other_history=True):
        pass
    assert core.history is own and set(own.tasks) == {KEY, (*KEY[:2], "--job=users")}
    assert SIGNATURE_NOTE not in str(list(own.sightings.values()))


def test_other_rules_on_old_facts(tmp_path: Path) -> None:
    live(tmp_path / "x.kw")
    recording = Recording(tmp_path / "x.kw")
    other = Rule(system="mover", pipeline="{0}", argv="--job=*", task="move")
    core = core_of(recording.header, Settings(CoreOptions(), (other,)))
    replay(Session(core), recording)
    found = {(e.identity.system, e.identity.pipeline) for e in core.executions._ended.values()}
    assert found == {("mover", "--job=orders"), ("mover", "--job=users")}


def test_an_entry_that_was_evicted_and_came_back_is_recorded_again() -> None:
    history = History()
    assert history.good_runs(KEY) == []
    assert history.uses.take() == Used(runs=((KEY, ()),))
    history.remember(KEY, run(1, 1.0))
    assert history.good_runs(KEY) and history.uses.take() is None  # it follows from the inputs
    for number in range(TASKS):
        history.remember((KEY[0], "y", str(number)), run(number, 1.0))
    assert history.good_runs(KEY) == []
    assert history.uses.take() == Used(runs=((KEY, ()),))


def test_what_a_file_adds_is_recorded_at_its_next_use() -> None:
    history, earlier = History(), History()
    seen = Sighting(
        signature="abc",
        cause="oom",
        count=1,
        first_unix_ns=5,
        last_unix_ns=5,
        last_run="r9",
        owner=7,
    )
    key = seen.key
    history.saw(seen)
    assert history.uses.take() == Used(sightings=((key, None), ("abc", None)))
    earlier.remember_sighting(msgspec.structs.replace(seen, count=3, first_unix_ns=1))
    history.absorb(earlier)
    found = history.seen("abc", 7)
    assert found is not None and found.count == 4
    assert history.uses.take() == Used(sightings=((key, found),))
    other = History()
    other.restore(Used(runs=((KEY, (run(1, 1.0),)),), sightings=((key, found),)))
    assert other.seen("abc", 7) == found and len(other.good_runs(KEY)) == 1
    other.restore(Used(runs=((KEY, ()),), sightings=((key, None),)))
    assert other.seen("abc", 7) is None and other.good_runs(KEY) == []
    assert not other.fresh


def test_an_investigation_starts_at_the_time_of_an_event_that_was_left_out(tmp_path: Path) -> None:
    """A stranger's event was the next one after the delay of an investigation."""
    settings = Settings(CoreOptions(only_commands=True))
    told = []
    for name, scope in (("whole.kw", None), ("command.kw", CommandScope())):
        story = Story.recorded(tmp_path / name, settings, scope)
        stranger = story.spawn(NOBODY, "perl", "x")
        root = story.command("load.sh")
        child = story.spawn(root, "sleep")
        story.oom(root)
        story.exit(root, signal=9)
        story.step(450)
        story.title(stranger, "stranger-title")
        story.step(50)
        story.exit(child)
        story.finish()
        assert story.recorder is not None
        story.recorder.close()
        live_otlp = [_encoded(s) for s in story._signals]
        again = replayed(tmp_path / name)
        assert again.otlp == live_otlp
        told.append(live_otlp)
    assert told[0] == told[1]
    raw = (tmp_path / "command.kw").read_bytes()
    assert b"stranger" not in raw
    passed = [f for f in Recording(tmp_path / "command.kw") if f.kind == FrameKind.PASSED]
    assert [len(f.payload) for f in passed] == [8]
    assert replayed(tmp_path / "command.kw", without=FrameKind.PASSED).otlp != told[0]
