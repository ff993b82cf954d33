"""Damage, locks and bad disks: the file of a history is never a reason to stop."""

from __future__ import annotations

import sqlite3
import sys
import threading
from pathlib import Path

import pytest

from receiver.service.state import HistoryError, HistoryStore
from tests.safe.files import identity
from tests.small_disk import run_on_small_disk
from tests.state.histories import KEY, loaded, run


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


_ON_A_BAD_DISK = """
import os, subprocess, sys
sys.path.insert(0, ".")
from pathlib import Path
from receiver.service.state import HistoryError, HistoryStore
from tests.state.histories import KEY, run
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
