"""Earlier runs and sightings in one SQLite file.

Any call may wait for a lock or a disk: never call one in an event loop.

A file that is not a history is refused and left unchanged: a device, a file of another user, a
text, a database of another program. A locked file is *busy*. Only a file that has kwitness's mark
and fails its integrity check is moved aside, together with its log, to a name that ends in
`.damaged-` and the Unix time.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import msgspec

from receiver.errors import KwitnessError
from receiver.investigate.case import TaskKey
from receiver.investigate.entries import RunSummary, Sighting, owner_of
from receiver.investigate.history import History
from receiver.safe.directories import RefusedError
from receiver.service.state.history_bounds import trim
from receiver.service.state.history_file import HistoryFile
from receiver.service.state.mark import APPLICATION_ID, RUNS_TABLE, SIGHTINGS_TABLE

log = logging.getLogger("kwitness.state")
VERSION = 1  # of the schema (PRAGMA user_version); a newer one is refused
Item = tuple[TaskKey, RunSummary] | Sighting
_POLL_SECONDS = 0.05
_REASONS = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_IOERR: "io_error",
}


class HistoryError(KwitnessError):
    """`reason` is one of busy, full, read_only, io_error, damaged, refused, newer, unusable."""

    status = 73

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class HistoryStore:
    """One SQLite file. Bounded: RUNS runs of each of TASKS tasks, SIGNATURES signatures. Each user
    has a share.
    """

    def __init__(self, path: Path, *, patience_seconds: float = 5.0) -> None:
        """Opens the file or creates it.

        Waits up to the given time for another process's lock. Raises HistoryError.
        """
        self.path = path
        self._deadline = time.monotonic() + patience_seconds
        self._file: HistoryFile | None = None
        self._database: sqlite3.Connection | None = None
        try:
            self._file = HistoryFile(path)
            self._open(self._file)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | ValueError | sqlite3.Error):
                raise self._error(error) from None
            raise

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._database is not None
        return self._database

    def _open(self, file: HistoryFile) -> None:
        for attempt in (1, 2):
            file.check(self._deadline)
            try:
                self._connect(file)
                self._check_integrity()
            except sqlite3.Error as error:
                if attempt == 2 or _reason(error) != "damaged":
                    raise
                self._close_database()
                aside = file.move_aside()
                log.warning(
                    "history %s is damaged (%s): moved it to %s, and created a new one",
                    self.path,
                    error,
                    aside,
                )
                continue
            return

    def _connect(self, file: HistoryFile) -> None:
        uri = f"file:{quote(str(self.path.absolute()))}?mode=rw"
        # no busy timeout: SQLite's does not cover every lock, so `HistoryStore` retries. One thread
        # uses it at a time
        db = sqlite3.connect(
            uri, timeout=_POLL_SECONDS, isolation_level=None, uri=True, check_same_thread=False
        )
        self._database = db
        if not file.is_what_was_opened():
            raise RefusedError("it was replaced while it was being opened")
        db.text_factory = lambda text: text.decode("utf-8", "replace")
        db.create_function("owner_of", 1, owner_of, deterministic=True)
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute(
            "PRAGMA mmap_size = 0"
        )  # so that a full or unreadable disk is an error and not a SIGBUS
        version = int(self._patiently("PRAGMA user_version"))
        if version > VERSION:
            raise HistoryError(
                f"cannot use {self.path}: a newer version of kwitness created it (schema "
                f"{version}); set another file",
                "newer",
            )
        if version < VERSION or self._patiently("PRAGMA application_id") != APPLICATION_ID:
            self._make()
        with contextlib.suppress(
            sqlite3.OperationalError
        ):  # busy: another process or a later start does it
            db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")

    def _make(self) -> None:
        """Writes the tables and the mark in one transaction, before there is a log, so they are in
        the file itself.
        """
        self._begin()
        try:
            if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
                self._db.execute(RUNS_TABLE)
                self._db.execute("CREATE INDEX runs_of ON runs (system, pipeline, task, ended)")
                self._db.execute(SIGHTINGS_TABLE)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {VERSION}")
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _check_integrity(self) -> None:
        found = self._patiently("PRAGMA quick_check(1)")
        if found != "ok":
            error = sqlite3.DatabaseError(str(found).partition("\n")[0])
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error

    def _patiently(self, statement: str) -> str | int:
        """The first value of a result. Waits for a lock until the deadline."""
        while True:
            try:
                value: str | int = self._db.execute(statement).fetchone()[0]
                return value
            except sqlite3.OperationalError as error:
                if _reason(error) != "busy" or time.monotonic() >= self._deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    def _begin(self) -> None:
        while True:
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if _reason(error) != "busy" or time.monotonic() >= self._deadline:
                    raise
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("ROLLBACK")

    def load(self) -> History:
        """Loads everything.

        Unreadable rows are skipped, and their number is logged. Raises HistoryError.
        """
        history, bad = History(), 0
        try:
            rows = self._db.execute(
                "SELECT system, pipeline, task, body FROM runs ORDER BY ended"
            ).fetchall()
            sightings = self._db.execute("SELECT body FROM sightings ORDER BY last").fetchall()
        except sqlite3.Error as error:
            raise self._error(error) from None
        for system, pipeline, task, body in rows:
            try:
                if not all(isinstance(part, str) for part in (system, pipeline, task)):
                    raise ValueError
                history.remember(
                    (system, pipeline, task), msgspec.json.decode(body, type=RunSummary)
                )
            except (ValueError, TypeError, RecursionError):
                bad += 1
        for (body,) in sightings:
            try:
                sighting = msgspec.json.decode(body, type=Sighting)
            except (ValueError, TypeError, RecursionError):
                bad += 1
                continue
            history.remember_sighting(sighting)
        if bad:
            log.warning("skipped %d unreadable rows of %s", bad, self.path)
        return history

    def save(self, fresh: Iterable[Item], *, patience_seconds: float = 5.0) -> None:
        """Stores everything or nothing. Raises HistoryError."""
        items = list(fresh)
        if not items:
            return
        self._deadline = time.monotonic() + patience_seconds
        try:
            self._begin()
            for item in items:
                self._insert(item)
            trim(self._db, {item[0] for item in items if isinstance(item, tuple)})
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise self._error(error) from None
        except BaseException:
            self._roll_back()
            raise

    def _insert(self, item: Item) -> None:
        if isinstance(item, Sighting):
            self._db.execute(
                "INSERT OR REPLACE INTO sightings VALUES (?, ?, ?)",
                (item.key, item.last_unix_ns, msgspec.json.encode(item)),
            )
        else:
            key, run = item
            row = (*key, run.ended_unix_ns, msgspec.json.encode(run))
            self._db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", row)

    def _error(self, error: OSError | ValueError | sqlite3.Error) -> HistoryError:
        """One line: the operation, the file, and the reason."""
        reason, why = "unusable", str(error)
        if isinstance(error, RefusedError):
            reason, why = "refused", str(error.strerror)
        elif isinstance(error, OSError):
            why = str(error.strerror or why)
            reason = {errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EROFS: "read_only"}.get(
                error.errno or 0, reason
            )
        elif isinstance(error, sqlite3.Error):
            reason = _reason(error)
            why = "another process has it locked" if reason == "busy" else why
        return HistoryError(f"cannot use history {self.path}: {why}", reason)

    def _close_database(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def close(self) -> None:
        self._close_database()
        if self._file is not None:
            self._file.close()
            self._file = None


def _reason(error: sqlite3.Error) -> str:
    return _REASONS.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF, "unusable")
