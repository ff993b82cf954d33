"""What waits for a disk waits beside the event loop; what could not be stored is counted."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from receiver.errors import ConfigError
from receiver.service.state import HistoryKeeper, HistoryStore, WriterThread, keeper, worker
from tests.state.histories import KEY, loaded, run, text


async def until(what: asyncio.Event) -> None:
    await asyncio.wait_for(what.wait(), 20)


async def test_jobs_run_in_order_and_beside_the_loop() -> None:
    here, jobs, ran = threading.get_ident(), WriterThread(), list[int]()
    for number in range(5):
        jobs.put("mark", lambda number=number: ran.append(number))  # type: ignore[misc]
    assert await jobs.ask(threading.get_ident) != here
    assert ran == [0, 1, 2, 3, 4]
    with pytest.raises(ConfigError, match="no"):
        await jobs.ask(lambda: (_ for _ in ()).throw(ConfigError("no")))
    assert await jobs.close(20)


async def test_what_fails_is_counted_by_reason_and_said_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    jobs = WriterThread()

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for _ in range(3):
        jobs.put("report", full)
    jobs.put(
        "history",
        lambda: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only file system")),
        items=4,
    )
    assert await jobs.close(20)
    assert jobs.skipped == {"report_full": 3, "history_read_only": 4}
    said = [r.message for r in caplog.records]
    assert said[:2] == [
        "1 items of report not stored: No space left on device",
        "4 items of history not stored: Read-only file system",
    ]
    assert said[2:] == ["2 more items were not stored (report_full)"]


async def test_it_is_bounded_and_a_disk_that_hangs_does_not_hold_the_end_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "JOBS", 4)
    jobs, hangs = WriterThread(), threading.Event()
    began = threading.Event()

    def hang() -> None:
        began.set()
        hangs.wait(60)

    jobs.put("mark", hang)
    assert began.wait(20)
    for _ in range(9):
        jobs.put("mark", lambda: None)
    assert jobs.skipped == {"mark_busy": 5}
    with pytest.raises(OSError, match="too many jobs"):
        await jobs.ask(lambda: None)
    assert not await jobs.close(0.01)
    hangs.set()
    assert await jobs.close(20)


async def test_runs_wait_for_a_history_that_is_locked_and_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on meanwhile: nothing of it is done in its thread."""
    monkeypatch.setattr(keeper, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(keeper, "PATIENCE_SECONDS", 0.05)
    path = tmp_path / "h.db"
    first = HistoryStore(path)
    first.save([(KEY, run(1))])
    first.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN EXCLUSIVE")
    jobs = WriterThread()
    kept = HistoryKeeper(path, jobs)
    kept.start()
    for number in (2, 3):
        kept.history.add(KEY, run(number))
        kept.save()
    assert not await kept.settled(0.2)
    other.rollback()
    other.close()
    assert await kept.settled(20)
    assert [r.run_id for r in kept.history.tasks[KEY]] == ["r1", "r2", "r3"]
    assert await kept.close(20) and await jobs.close(20)
    assert [r.run_id for r in loaded(path).tasks[KEY]] == ["r1", "r2", "r3"] and not jobs.skipped


async def test_what_waits_for_too_long_is_skipped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "HOLD_SECONDS", 0.0)
    path, jobs = tmp_path / "h.db", WriterThread()
    kept = HistoryKeeper(path, jobs)
    kept.start()
    assert await kept.settled(20)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    kept.history.add(KEY, run(1))
    kept.save()
    kept.save()
    assert jobs.skipped == {"history_busy": 1} and "1 items of history not stored" in caplog.text
    kept.history.add(KEY, run(2))
    monkeypatch.setattr(keeper, "PATIENCE_SECONDS", 0.01)
    assert not await kept.close(0.02)
    assert jobs.skipped == {"history_busy": 2}
    other.rollback()
    other.close()
    assert await jobs.close(20)
    assert path.exists() and KEY not in loaded(path).tasks


async def test_a_history_that_cannot_be_used_is_said_once_and_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, jobs = tmp_path / "h.db", WriterThread()
    text(path)
    before = path.read_bytes()
    kept = HistoryKeeper(path, jobs)
    kept.start()
    assert not await kept.settled(20)
    kept.history.add(KEY, run(1))
    kept.save()
    assert await kept.close(1) and jobs.skipped == {"history_unusable": 1}
    assert await jobs.close(20)
    assert path.read_bytes() == before and not [p for p in tmp_path.iterdir() if p != path]
    assert [r.levelno for r in caplog.records] == [
        logging.WARNING
    ] and "not a history of kwitness" in caplog.text


async def test_more_than_can_wait_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "WAITING_ITEMS", 3)
    jobs = WriterThread()
    kept = HistoryKeeper(tmp_path / "h.db", jobs)  # not started: nothing is stored
    for number in range(8):
        kept.history.add(KEY, run(number))
        kept.save()
    assert jobs.skipped == {"history_busy": 5}
    kept.start()
    assert await kept.close(20) and await jobs.close(20)
    assert [r.run_id for r in loaded(tmp_path / "h.db").tasks[KEY]] == ["r5", "r6", "r7"]


async def test_of_too_many_those_of_the_user_with_most_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "WAITING_ITEMS", 4)
    jobs = WriterThread()
    kept = HistoryKeeper(tmp_path / "h.db", jobs)  # not started: nothing is stored
    mine, others = (("airflow of uid 1002", "p", "t"), ("airflow of uid 1001", "p", "t"))
    kept.history.add(mine, run(0))
    for number in range(8):
        kept.history.add(others, run(number))
        kept.save()
    assert jobs.skipped == {"history_busy": 5}
    kept.start()
    assert await kept.close(20) and await jobs.close(20)
    known = loaded(tmp_path / "h.db").tasks
    assert [r.run_id for r in known[mine]] == ["r0"]
    assert [r.run_id for r in known[others]] == ["r5", "r6", "r7"]


async def test_what_is_skipped_during_a_save_is_not_what_is_being_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items that came meanwhile were removed in place of those that were skipped,
    and not counted."""
    monkeypatch.setattr(keeper, "WAITING_ITEMS", 2)
    jobs, gate = WriterThread(), threading.Event()
    kept = HistoryKeeper(tmp_path / "h.db", jobs)
    kept.start()
    assert await kept.settled(20)
    jobs.put("gate", gate.wait)
    kept.history.add(KEY, run(0))
    kept.save()
    await asyncio.sleep(0)  # the save has begun, and waits for the thread
    for number in range(1, 6):
        kept.history.add(KEY, run(number))
        kept.save()
    gate.set()
    assert await kept.close(20) and await jobs.close(20)
    found = [r.run_id for r in loaded(tmp_path / "h.db").tasks[KEY]]
    assert found == ["r0", "r4", "r5"] and jobs.skipped == {"history_busy": 3}
