"""What the file of a history keeps, and its bounds."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from receiver.investigate.entries import PLACE_BYTES
from receiver.investigate.history import RUNS, SIGNATURES, TASKS, History
from receiver.service.state import HistoryStore
from tests.investigate.test_history import sighting
from tests.state.histories import KEY, loaded, run


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path / "h.db")
    history = store.load()
    for number in range(7):
        history.add(KEY, run(number, failed=number == 3))
    history.saw(sighting("abc", 5))
    history.saw(sighting("abc", 6))
    assert history.note("abc", "more memory")
    store.save(history.take())
    store.close()
    known = loaded(tmp_path / "h.db")
    assert [r.run_id for r in known.tasks[KEY]] == [f"r{n}" for n in range(7)]
    seen = known.sightings["abc of uid 1000"]
    assert (seen.count, seen.note, seen.last_run) == (2, "more memory", "r6")
    assert known.duration(KEY) == history.duration(KEY) and len(known.good_runs(KEY)) == 6
    assert stat.S_IMODE((tmp_path / "h.db").stat().st_mode) == 0o600


def test_it_is_bounded_in_memory_and_on_disk(tmp_path: Path) -> None:
    store, history = HistoryStore(tmp_path / "h.db"), History()
    for number in range(3 * RUNS):
        history.add(KEY, run(number))
    for number in range(TASKS + 20):
        history.add(("x", "y", str(number)), run(1000 + number))
    for number in range(SIGNATURES + 10):
        history.saw(sighting(str(number), number))
    assert len(history.tasks) == TASKS and len(history.sightings) == SIGNATURES
    store.save(history.take())
    store.close()
    with sqlite3.connect(tmp_path / "h.db") as db:
        assert db.execute("SELECT count(*) FROM sightings").fetchone()[0] == SIGNATURES
        assert db.execute("SELECT count(DISTINCT task) FROM runs").fetchone()[0] == TASKS
        assert db.execute("SELECT count(*) FROM runs WHERE task = 'load'").fetchone()[0] <= RUNS
    db.close()


def test_on_disk_the_runs_of_one_user_take_no_room_from_another(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path / "h.db")
    try:
        mine, others = (f"airflow of uid {uid}" for uid in (1002, 1001))
        store.save([((mine, "etl", f"t{n}"), run(n)) for n in range(20)])
        store.save([((others, "etl", f"t{n}"), run(100 + n)) for n in range(TASKS + 500)])
        store.save([sighting("abc", 1, owner=1002)])
        store.save([sighting(str(n), 100 + n, owner=1001) for n in range(SIGNATURES + 10)])
        rows = store._db.execute("SELECT system FROM runs").fetchall()
        assert rows.count((mine,)) == 20 and len(rows) == TASKS
        keys = store._db.execute("SELECT signature FROM sightings").fetchall()
        assert ("abc of uid 1002",) in keys and len(keys) == SIGNATURES
        known = store.load()
    finally:
        store.close()
    assert sum(key[0] == mine for key in known.tasks) == 20
    assert len(known.tasks) == TASKS and len(known.sightings) == SIGNATURES
    assert known.seen("abc", 1002) is not None
    kept = {key[2] for key in known.tasks if key[0] == others}
    assert "t2499" in kept and "t0" not in kept


def test_on_disk_large_runs_take_more_of_the_users_own_room(tmp_path: Path) -> None:
    large = msgspec.structs.replace(run(1), outputs={f"{'x' * 4000}{n}": 1 for n in range(64)})
    store = HistoryStore(tmp_path / "h.db")
    try:
        store.save([(("airflow of uid 1002", "etl", "mine"), run(1))])
        for start in range(0, 400, 50):
            names = range(start, start + 50)
            store.save([(("airflow of uid 1001", "etl", f"t{n}"), large) for n in names])
        rows = store._db.execute("SELECT system, task FROM runs").fetchall()
    finally:
        store.close()
    assert ("airflow of uid 1002", "mine") in rows
    assert 200 < len(rows) <= TASKS * PLACE_BYTES // large.size_bytes + 1 < 400


def test_a_row_with_any_owner_stops_nothing(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path / "h.db")
    try:
        store._db.execute("INSERT INTO runs VALUES (?, 'p', 't', 1, x'00')", (b"\xff",))
        store._db.execute("INSERT INTO runs VALUES (?, 'p', 't', 1, x'00')", (7,))
        store.save([((f"x of uid {'9' * 30}", "p", "t"), run(1))])
    finally:
        store.close()


def test_an_empty_file_of_ours_is_a_new_history(tmp_path: Path) -> None:
    (tmp_path / "h.db").touch()
    store = HistoryStore(tmp_path / "h.db")
    store.save([(KEY, run(1))])
    store.close()
    assert len(loaded(tmp_path / "h.db").tasks[KEY]) == 1


def test_a_damaged_row_costs_that_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = HistoryStore(tmp_path / "h.db")
    store.save([(KEY, run(1)), (KEY, run(2)), (KEY, run(3))])
    store._db.execute("UPDATE runs SET body = 'x' WHERE ended = ?", (10**9,))
    store._db.execute("UPDATE runs SET task = NULL WHERE ended = ?", (3 * 10**9,))
    assert [r.run_id for r in store.load().tasks[KEY]] == ["r2"]
    assert "2 unreadable rows" in caplog.text
    store.close()


def test_eight_processes_make_one_history(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, '.'); from pathlib import Path\n"
        "from receiver.service.state import HistoryStore\n"
        "from tests.state.histories import KEY, run\n"
        "store = HistoryStore(Path(sys.argv[1]), patience_seconds=60)\n"
        "store.save([(KEY, run(int(sys.argv[2])))], patience_seconds=60); store.close()"
    )
    path = tmp_path / "h.db"
    started = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(8)]
    assert [child.wait(120) for child in started] == [0] * 8
    assert len(loaded(path).tasks[KEY]) == 8
    assert {p.name for p in tmp_path.iterdir()} <= {"h.db", "h.db-wal", "h.db-shm"}
