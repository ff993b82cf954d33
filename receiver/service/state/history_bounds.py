"""Keeps a history's file within its bounds, with a share for each user."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from receiver.investigate.case import TaskKey
from receiver.investigate.entries import PLACE_BYTES
from receiver.investigate.history import RUNS, SIGNATURES, TASKS

# Both keep the newest entry of each user, then the second of each, and so on, while there is room.
# So one user takes no room from another (`FairTable`). A row: the key, its owner, its place among
# the owner's.
_TRIM_TASKS = """
WITH tasks AS (
    SELECT system, pipeline, task, max(ended) AS last, owner_of(system) AS owner,
        max(1, (sum(length(body)) + ? - 1) / ?) AS places
    FROM runs GROUP BY system, pipeline, task),
ranked AS (
    SELECT *, sum(places) OVER (
        PARTITION BY owner ORDER BY last DESC, pipeline, task, system ROWS UNBOUNDED PRECEDING
    ) AS rank FROM tasks),
summed AS (
    SELECT *, sum(places) OVER (
        ORDER BY rank, last DESC, owner ROWS UNBOUNDED PRECEDING
    ) AS taken FROM ranked)
DELETE FROM runs WHERE (system, pipeline, task) IN (
    SELECT system, pipeline, task FROM summed WHERE taken > ?)
"""
_TRIM_SIGHTINGS = """
WITH ranked AS (
    SELECT signature, last, row_number() OVER (
        PARTITION BY owner_of(signature) ORDER BY last DESC
    ) AS rank FROM sightings)
DELETE FROM sightings WHERE signature IN (
    SELECT signature FROM ranked ORDER BY rank, last DESC LIMIT -1 OFFSET ?)
"""


def trim(db: sqlite3.Connection, touched: Iterable[TaskKey]) -> None:
    """Removes the oldest runs of the tasks in `touched`, and what is above the bounds."""
    for key in touched:
        db.execute(
            "DELETE FROM runs WHERE rowid IN (SELECT rowid FROM runs WHERE system = ? AND "
            "pipeline = ? AND task = ? ORDER BY ended DESC LIMIT -1 OFFSET ?)",
            (*key, RUNS),
        )
    if _may_be_too_large(db):
        db.execute(_TRIM_TASKS, (PLACE_BYTES, PLACE_BYTES, TASKS))
    db.execute(_TRIM_SIGHTINGS, (SIGNATURES,))


def _may_be_too_large(db: sqlite3.Connection) -> bool:
    """From numbers that SQLite has at hand: the sizes of the runs are in the whole file."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    if (pages - free) * size > TASKS * PLACE_BYTES:
        return True
    tasks = "SELECT count(*) FROM (SELECT DISTINCT system, pipeline, task FROM runs)"
    return bool(db.execute(tasks).fetchone()[0] > TASKS)
