"""The file of a history: bounded, versioned, never a reason to stop, and never one that
is not ours."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from receiver.investigate.entries import PLACE_BYTES, RunSummary
from receiver.investigate.history import RUNS, SIGNATURES, TASKS, History
from receiver.service.state import HistoryError, HistoryStore, history_file
from receiver.service.state.mark import APPLICATION_ID
from tests.investigate.test_history import sighting
from tests.safe.files import OTHER, STRANGE, identity, need_root
from tests.small_disk import run_on_small_disk

KEY = ("airflow", "etl", "load")
SCHEMA_0_1 = """
CREATE TABLE runs (system TEXT, pipeline TEXT, task TEXT, ended INTEGER, body BLOB);
CREATE INDEX runs_of ON runs (system, pipeline, task, ended);
CREATE TABLE sightings (signature TEXT PRIMARY KEY, last INTEGER, body BLOB);
"""


def run(number: int, *, seconds: float = 2.0, failed: bool = False) -> RunSummary:
    return RunSummary(
        ended_unix_ns=number * 10**9,
        run_id=f"r{number}",
        seconds=seconds,
        failed=failed,
        end="",
        peak_bytes=1 << 20,
        processes=3,
        shape="s",
        outputs={"/data/out": 100},
        partitions={"day=1": 50},
    )


def loaded(path: Path) -> History:
    store = HistoryStore(path, patience_seconds=0)
    try:
        return store.load()
    finally:
        store.close()


def digests(folder: Path) -> dict[str, str]:
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()
    }


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


def text(path: Path) -> None:
    path.write_text("a job's list of things to do, and long enough to be looked at\n" * 80)


def sqlite_of_somebody_else(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE accounts (name TEXT)")
        db.execute("INSERT INTO accounts VALUES ('x')")
    db.close()


def sqlite_with_another_application_id(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(SCHEMA_0_1 + "PRAGMA user_version = 1; PRAGMA application_id = 42")
    db.close()


def sqlite_with_our_version_only(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.executescript("CREATE TABLE runs (id INTEGER); PRAGMA user_version = 1")
    db.close()


def sqlite_log_without_a_database(path: Path) -> None:
    path.touch()
    path.with_name(path.name + "-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(100))


def broken_header(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)


FOREIGN = [
    text,
    sqlite_of_somebody_else,
    sqlite_with_another_application_id,
    sqlite_with_our_version_only,
    sqlite_log_without_a_database,
    broken_header,
]


@pytest.mark.parametrize("make", FOREIGN)
def test_what_does_not_carry_our_mark_is_refused_and_not_touched(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "h.db"
    make(path)
    before, was = digests(tmp_path), identity(path)
    with pytest.raises(
        HistoryError, match="not a history of kwitness: set another file"
    ) as refused:
        HistoryStore(path, patience_seconds=0)
    assert refused.value.reason == "refused" and "\n" not in str(refused.value)
    assert digests(tmp_path) == before and identity(path) == was


@pytest.mark.parametrize(("make", "why"), STRANGE)
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_what_is_no_file_of_ours_is_refused_also_beside_it(
    tmp_path: Path, make: Callable[[Path], object], why: str, suffix: str
) -> None:
    path = tmp_path / "h.db"
    if suffix:
        HistoryStore(path).close()
    strange = tmp_path / f"h.db{suffix}"
    make(strange)
    before = identity(strange)
    with pytest.raises(HistoryError, match=why):
        HistoryStore(path, patience_seconds=0)
    assert identity(strange) == before


@pytest.mark.parametrize(("owner", "mode"), [(OTHER, 0o755), (0, 0o777), (0, 0o1777)])
def test_a_directory_where_others_can_place_a_link_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int
) -> None:
    """SQLite opens its log by name and follows links; a sticky directory is safe only with
    fs.protected_symlinks."""
    need_root()
    folder = tmp_path / "shared"
    folder.mkdir()
    os.chown(folder, owner, owner)
    folder.chmod(mode)
    monkeypatch.setattr(history_file, "_links_are_protected", lambda: False)
    with pytest.raises(HistoryError, match="keep it in a directory of your own"):
        HistoryStore(folder / "h.db")
    assert not list(folder.iterdir())
    monkeypatch.setattr(history_file, "_links_are_protected", lambda: True)
    if mode == 0o1777:
        HistoryStore(folder / "h.db").close()


def old_store(path: Path, *, log: bool = True) -> None:
    """As version 0.1 made it."""
    db = sqlite3.connect(path, isolation_level=None)
    if log:
        db.execute("PRAGMA journal_mode = WAL")
    db.executescript(f"BEGIN; {SCHEMA_0_1} PRAGMA user_version = 1; COMMIT;")
    db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", (*KEY, 1, msgspec.json.encode(run(1))))
    db.close()


def test_one_of_version_0_1_is_known_and_marked(tmp_path: Path) -> None:
    old_store(tmp_path / "h.db")
    assert [r.run_id for r in loaded(tmp_path / "h.db").tasks[KEY]] == ["r1"]
    with sqlite3.connect(tmp_path / "h.db") as db:
        assert db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    db.close()


_KILLED = """
import os, sqlite3, sys
sys.path.insert(0, ".")
from tests.state.test_history_store import SCHEMA_0_1
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.executescript(f"BEGIN; {SCHEMA_0_1} PRAGMA user_version = 1; COMMIT;")
os.kill(os.getpid(), 9)
"""


def test_one_of_version_0_1_that_was_never_checkpointed_is_known_by_its_log(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    assert (
        tmp_path / "h.db-wal"
    ).stat().st_size > 0 and b"CREATE TABLE runs" not in path.read_bytes()
    store = HistoryStore(path)
    store.save([(KEY, run(1))])
    store.close()
    assert len(loaded(path).tasks[KEY]) == 1


def test_an_empty_file_of_ours_is_a_new_history(tmp_path: Path) -> None:
    (tmp_path / "h.db").touch()
    store = HistoryStore(tmp_path / "h.db")
    store.save([(KEY, run(1))])
    store.close()
    assert len(loaded(tmp_path / "h.db").tasks[KEY]) == 1


def test_ours_that_is_damaged_is_moved_aside_with_a_name_that_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "h.db"
    store = HistoryStore(path)
    store.save([(("s", "p", str(n)), run(n)) for n in range(200)])
    store.close()
    data = bytearray(path.read_bytes())
    data[8192:12288] = b"\xff" * 4096
    path.write_bytes(data)
    store = HistoryStore(path)
    assert not store.load().tasks
    store.save([(KEY, run(1))])
    store.close()
    aside = [p for p in tmp_path.iterdir() if p.name.startswith("h.db.damaged-")]
    assert [p.read_bytes() for p in aside] == [bytes(data)]
    assert aside[0].name in caplog.text and "is damaged" in caplog.text
    assert len(loaded(path).tasks[KEY]) == 1


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_locked_one_is_busy_and_stays(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "h.db"
    store = HistoryStore(path)
    store.save([(KEY, run(1))])
    if mode == "DELETE":
        store.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(f"PRAGMA journal_mode = {mode}")
    other.execute("BEGIN EXCLUSIVE")
    before = identity(path)

    def use() -> None:
        if mode == "DELETE":
            HistoryStore(path, patience_seconds=0)
        else:
            store.save([(KEY, run(2))], patience_seconds=0)

    with pytest.raises(HistoryError, match="another process has it locked") as busy:
        use()
    assert busy.value.reason == "busy"
    other.rollback()
    other.close()
    store.close()
    assert identity(path) == before
    assert {p.name for p in tmp_path.iterdir()} <= {"h.db", "h.db-wal", "h.db-shm"}
    assert [r.run_id for r in loaded(path).tasks[KEY]] == ["r1"]


def test_a_lock_that_is_given_up_in_time_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    store = HistoryStore(path)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    waits = threading.Event()
    begin = store._db.execute

    class Noticed:
        """Says when the first attempt has found it locked."""

        def execute(self, *arguments: object) -> object:
            try:
                return begin(*arguments)  # type: ignore[arg-type]
            except sqlite3.OperationalError:
                waits.set()
                raise

        def close(self) -> None:
            real.close()

    real, store._database = store._db, Noticed()  # type: ignore[assignment]

    def give_up() -> None:
        assert waits.wait(20)
        other.rollback()

    thread = threading.Thread(target=give_up)
    thread.start()
    store.save([(KEY, run(1))], patience_seconds=30)
    thread.join()
    other.close()
    store.close()
    assert len(loaded(path).tasks[KEY]) == 1


def test_a_damaged_row_costs_that_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = HistoryStore(tmp_path / "h.db")
    store.save([(KEY, run(1)), (KEY, run(2)), (KEY, run(3))])
    store._db.execute("UPDATE runs SET body = 'x' WHERE ended = ?", (10**9,))
    store._db.execute("UPDATE runs SET task = NULL WHERE ended = ?", (3 * 10**9,))
    assert [r.run_id for r in store.load().tasks[KEY]] == ["r2"]
    assert "2 unreadable rows" in caplog.text
    store.close()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    HistoryStore(tmp_path / "h.db").close()
    with sqlite3.connect(tmp_path / "h.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(HistoryError, match="newer") as refused:
        HistoryStore(tmp_path / "h.db")
    assert refused.value.reason == "newer"


def test_eight_processes_make_one_history(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, '.'); from pathlib import Path\n"
        "from receiver.service.state import HistoryStore\n"
        "from tests.state.test_history_store import KEY, run\n"
        "store = HistoryStore(Path(sys.argv[1]), patience_seconds=60)\n"
        "store.save([(KEY, run(int(sys.argv[2])))], patience_seconds=60); store.close()"
    )
    path = tmp_path / "h.db"
    started = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(8)]
    assert [child.wait(120) for child in started] == [0] * 8
    assert len(loaded(path).tasks[KEY]) == 8
    assert {p.name for p in tmp_path.iterdir()} <= {"h.db", "h.db-wal", "h.db-shm"}


_ON_A_BAD_DISK = """
import os, subprocess, sys
sys.path.insert(0, ".")
from pathlib import Path
from receiver.service.state import HistoryError, HistoryStore
from tests.state.test_history_store import KEY, run
folder = Path(sys.argv[1])
how = sys.argv[2]
store = None
if how != "full new":
    store = HistoryStore(folder / "h.db")
    store.save([(KEY, run(1))])
if how == "read-only":
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
else:
    with open(folder / "ballast", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            pass
for number in range(2, 60):
    try:
        if store is None or how != "full":
            store = HistoryStore(folder / "h.db", patience_seconds=0)
        store.save([(KEY, run(number))])
    except HistoryError as error:
        print(error.reason, error)
        break
else:
    print("it took all")
if how == "full":
    (folder / "ballast").unlink()
    store.save([(KEY, run(2))])
    print(len(store.load().tasks[KEY]), sorted(p.name for p in folder.iterdir()))
"""


@pytest.mark.parametrize("how", ["full", "full new", "read-only"])
def test_a_full_or_read_only_disk_is_one_line_and_the_file_stays(tmp_path: Path, how: str) -> None:
    done = run_on_small_disk(tmp_path, [sys.executable, "-c", _ON_A_BAD_DISK, str(tmp_path), how])
    assert not done.stderr, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(
        ("full cannot use history", "read_only cannot use history", "io_error cannot use history")
    ), lines
    if how == "full":
        assert "damaged" not in lines[1] and int(lines[1].split()[0]) >= 2
