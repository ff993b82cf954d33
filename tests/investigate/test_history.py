"""What outlives a run: bounded, versioned, and never a reason to stop."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from receiver.errors import ConfigError, DataError
from receiver.investigate.history import ENOUGH, RUNS, SIGNATURES, TASKS, History, RunSummary, place, signature, usual
from receiver.state import HistoryStore, ReportStore, State, read_token
from tests.builders import Story
from tests.investigate.telling import report_of

KEY = ("airflow", "etl", "load")


def run(number: int, *, seconds: float = 2.0, failed: bool = False) -> RunSummary:
    return RunSummary(number * 10**9, f"r{number}", seconds, failed, "", 1 << 20, 3, "s", {"/data/out": 100}, {"day=1": 50})


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path / "h.db")
    history = store.load()
    for number in range(7):
        history.add(KEY, run(number, failed=number == 3))
    history.saw("abc", "mem.cgroup_oom", 5, "r5")
    history.saw("abc", "mem.cgroup_oom", 6, "r6")
    assert history.note("abc", "more memory")
    store.save(history.take())
    store.close()
    again = HistoryStore(tmp_path / "h.db")
    known = again.load()
    again.close()
    assert [r.run_id for r in known.tasks[KEY]] == [f"r{n}" for n in range(7)]
    assert (known.sightings["abc"].count, known.sightings["abc"].note, known.sightings["abc"].last_run) == (2, "more memory", "r6")
    assert known.duration(KEY) == history.duration(KEY) and len(known.good_runs(KEY)) == 6


def test_it_is_bounded_in_memory_and_on_disk(tmp_path: Path) -> None:
    store, history = HistoryStore(tmp_path / "h.db"), History()
    for number in range(3 * RUNS):
        history.add(KEY, run(number))
    for number in range(TASKS + 20):
        history.add(("x", "y", str(number)), run(1000 + number))
    for number in range(SIGNATURES + 10):
        history.saw(str(number), "c", number, "r")
    assert len(history.tasks) == TASKS and len(history.sightings) == SIGNATURES
    store.save(history.take())
    store.close()
    with sqlite3.connect(tmp_path / "h.db") as db:
        assert db.execute("SELECT count(*) FROM sightings").fetchone()[0] == SIGNATURES
        assert db.execute("SELECT count(DISTINCT task) FROM runs").fetchone()[0] == TASKS
        assert db.execute("SELECT count(*) FROM runs WHERE task = 'load'").fetchone()[0] <= RUNS
    db.close()


@pytest.mark.parametrize(
    "damage", [b"this is no database, and long enough to be looked at" * 4, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_damaged_store_is_set_aside_and_said(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "h.db"
    path.write_bytes(damage)
    store = HistoryStore(path)
    assert store.load().tasks == {}
    store.save([(KEY, run(1))])
    store.close()
    assert "set aside" in caplog.text
    assert any(p.read_bytes() == damage for p in tmp_path.glob("h.db.unreadable-*"))


def test_a_damaged_row_costs_that_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = HistoryStore(tmp_path / "h.db")
    store.save([(KEY, run(1)), (KEY, run(2))])
    store._db.execute("UPDATE runs SET body = 'x' WHERE ended = ?", (10**9,))
    assert [r.run_id for r in store.load().tasks[KEY]] == ["r2"]
    assert "1 rows" in caplog.text
    store.close()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "h.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(DataError, match="newer"):
        HistoryStore(tmp_path / "h.db")


def test_reports_are_kept_whole_and_the_oldest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("receiver.state.KEPT_REPORTS", 3)
    story = Story()
    story.exit(story.command("false"), 1)
    report = report_of(story)
    store = ReportStore(tmp_path / "incidents")
    for number in range(5):
        store.save(f"{number:016x}", report)
        os.utime(store.folder / f"{number:016x}.json", ns=(number, number))
    store.save("f" * 16, report)
    (store.folder / ("e" * 16 + ".json")).write_text("{")
    (store.folder / "note.json").write_text("mine")
    found = store.load()
    assert f"{0:016x}" not in found and found["f" * 16] == report
    assert "no report of this version" in caplog.text and (store.folder / "note.json").read_text() == "mine"


def test_the_state_directory_is_ours_alone(tmp_path: Path) -> None:
    state = State(tmp_path / "s")
    state.close()
    token = tmp_path / "s/admin.token"
    assert token.stat().st_mode & 0o777 == 0o600 and len(state.token) > 30
    again = State(tmp_path / "s")
    again.close()
    assert again.token == state.token
    token.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token(token)
    (tmp_path / "s").chmod(0o777)
    with pytest.raises(ConfigError, match="chmod 700"):
        State(tmp_path / "s")


def test_what_is_usual_is_robust_and_needs_enough_runs() -> None:
    assert usual([]) is None
    few = usual([1.0] * (ENOUGH - 1))
    many = usual([1.0, 1.1, 0.9, 1.0, 1.05, 9.0])
    assert few is not None and many is not None
    assert not few.is_far_above(100.0)  # it is not known what is usual
    assert not many.is_far_above(8.0)  # it has been that slow before
    assert many.is_far_above(10.0)


def test_places_and_signatures_repeat_from_run_to_run() -> None:
    assert place("/tmp/job-x1/out/2024-01-15/part-3.csv") == place("/tmp/job-y2/out/2023-12-01/part-11.csv")
    assert place("/data/a.csv") != place("/data/b.csv")
    one = signature("mem.cgroup_oom", "load", "python3", "oom_killed", ["exit", "oom_kill", "exit"])
    assert one == signature("mem.cgroup_oom", "load", "python3", "oom_killed", ["oom_kill", "exit"]) and len(one) == 16
