"""Runs of a history, a history of version 0.1, and files of somebody else."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from receiver.investigate.entries import RunSummary
from receiver.investigate.history import History
from receiver.service.state import HistoryStore

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


def text(path: Path) -> None:
    path.write_text("a job's list of things to do, and long enough to be looked at\n" * 80)


def sqlite_of_somebody_else(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE accounts (name TEXT)")
        db.execute("INSERT INTO accounts VALUES ('x')")
    db.close()


def old_store(path: Path, *, log: bool = True) -> None:
    """As version 0.1 made it."""
    db = sqlite3.connect(path, isolation_level=None)
    if log:
        db.execute("PRAGMA journal_mode = WAL")
    db.executescript(f"BEGIN; {SCHEMA_0_1} PRAGMA user_version = 1; COMMIT;")
    db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", (*KEY, 1, msgspec.json.encode(run(1))))
    db.close()
