"""What outlives the service: earlier runs and sightings in SQLite, reports as JSON files. Written at the edge, after the fact.

A store that cannot be read is set aside under another name, said, and begun anew: a history is a help, never a condition.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from receiver.errors import ConfigError, DataError
from receiver.investigate.case import TaskKey
from receiver.investigate.history import RUNS, SIGNATURES, TASKS, History, RunSummary, Sighting
from receiver.investigate.report import Report, to_json

log = logging.getLogger("kwitness.state")
VERSION = 1  # of the schema (PRAGMA user_version); a newer one is refused, not guessed at
KEPT_REPORTS = 500
REPORT_BYTES = 4 << 20  # a larger file is none of ours
_NAME = re.compile(r"^[0-9a-f]{16}$")
_SCHEMA = """
CREATE TABLE runs (system TEXT, pipeline TEXT, task TEXT, ended INTEGER, body BLOB);
CREATE INDEX runs_of ON runs (system, pipeline, task, ended);
CREATE TABLE sightings (signature TEXT PRIMARY KEY, last INTEGER, body BLOB);
"""


class HistoryStore:
    """One SQLite file. Bounded: RUNS runs of each of TASKS tasks, SIGNATURES signatures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            aside = self.path.with_name(f"{self.path.name}.unreadable-{time.time_ns() // 1_000_000_000}")
            self.path.replace(aside)
            log.warning("%s cannot be read (%s): set aside as %s, history begins anew", self.path, error, aside.name)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(self.path, timeout=5, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise ConfigError(f"cannot open {self.path}: {error}") from None
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise DataError(f"{self.path} is of a newer kwitness (schema {version}): use another --history file")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            if version == 0:
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("it is damaged")
        except BaseException:
            db.close()
            raise
        return db

    def load(self) -> History:
        """All of it. Rows that cannot be read are counted, said, and left out."""
        history, bad = History(), 0
        rows = self._db.execute("SELECT system, pipeline, task, body FROM runs ORDER BY ended")
        for system, pipeline, task, body in rows:
            try:
                history.remember((system, pipeline, task), msgspec.json.decode(body, type=RunSummary))
            except (ValueError, RecursionError):
                bad += 1
        for (body,) in self._db.execute("SELECT body FROM sightings ORDER BY last"):
            try:
                sighting = msgspec.json.decode(body, type=Sighting)
            except (ValueError, RecursionError):
                bad += 1
                continue
            history.sightings[sighting.signature] = sighting
        if bad:
            log.warning("%d rows of %s could not be read", bad, self.path)
        return history

    def save(self, fresh: Iterable[tuple[TaskKey, RunSummary] | Sighting]) -> None:
        items = list(fresh)
        if not items:
            return
        with contextlib.suppress(sqlite3.OperationalError):  # a full disk must not end the observing
            self._db.execute("BEGIN IMMEDIATE")
            touched = {item[0] for item in items if isinstance(item, tuple)}
            for item in items:
                if isinstance(item, Sighting):
                    self._db.execute(
                        "INSERT OR REPLACE INTO sightings VALUES (?, ?, ?)",
                        (item.signature, item.last_unix_ns, msgspec.json.encode(item)),
                    )
                else:
                    key, run = item
                    self._db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", (*key, run.ended_unix_ns, msgspec.json.encode(run)))
            self._trim(touched)
            self._db.execute("COMMIT")

    def _trim(self, touched: Iterable[TaskKey]) -> None:
        for key in touched:
            self._db.execute(
                "DELETE FROM runs WHERE rowid IN (SELECT rowid FROM runs WHERE system = ? AND pipeline = ? AND task = ? "
                "ORDER BY ended DESC LIMIT -1 OFFSET ?)", (*key, RUNS),
            )  # fmt: skip
        self._db.execute(
            "DELETE FROM runs WHERE (system, pipeline, task) IN (SELECT system, pipeline, task FROM runs "
            "GROUP BY 1, 2, 3 ORDER BY max(ended) DESC LIMIT -1 OFFSET ?)", (TASKS,),
        )  # fmt: skip
        self._db.execute(
            "DELETE FROM sightings WHERE signature IN (SELECT signature FROM sightings ORDER BY last DESC LIMIT -1 OFFSET ?)",
            (SIGNATURES,),
        )

    def close(self) -> None:
        self._db.close()


class ReportStore:
    """One JSON file for each report, the oldest go first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)

    def save(self, number: str, report: Report) -> None:
        """Whole or not at all."""
        target = self.folder / f"{number}.json"
        temporary = self.folder / f".{number}.tmp"
        try:
            temporary.write_bytes(to_json(report))
            temporary.replace(target)
        except OSError as error:
            log.error("report %s could not be kept: %s", number, error.strerror)
            return
        for old in self._files()[KEPT_REPORTS:]:
            old.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """Latest first."""
        found = [p for p in self.folder.glob("*.json") if _NAME.match(p.stem)]
        return sorted(found, key=lambda p: (-p.stat().st_mtime_ns, p.name))

    def load(self) -> dict[str, Report]:
        """Oldest first. A file that is no report is left alone, and said."""
        out: dict[str, Report] = {}
        for path in reversed(self._files()[:KEPT_REPORTS]):
            try:
                if path.stat().st_size <= REPORT_BYTES:
                    out[path.stem] = msgspec.json.decode(path.read_bytes(), type=Report)
            except (OSError, ValueError, RecursionError):
                log.warning("%s is no report of this version", path.name)
        return out


def hand_over(folder: Path, uid: int, gid: int) -> None:
    """Makes the directory, and gives it with all that is in it to the user that the service becomes. Raises ConfigError.

    Without CAP_CHOWN (a container) a new one is left to that user to make: its parent may be open to all, as an emptyDir is.
    """
    made = not folder.exists()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (folder, *(folder.rglob("*") if folder.lstat().st_uid != uid else ())):
            if path.lstat().st_uid != uid:
                os.chown(path, uid, gid, follow_symlinks=False)
    except PermissionError as error:
        if not made:
            raise ConfigError(f"state.directory {folder}: {error.strerror}") from None
        with contextlib.suppress(OSError):
            folder.rmdir()
    except OSError as error:
        raise ConfigError(f"state.directory {folder}: {error.strerror}") from None


class State:
    """The state directory: `history.db`, `incidents/`, `admin.token`."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError when it cannot be used, or is not ours alone to write."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError as error:
            raise ConfigError(f"state.directory {folder}: {error.strerror}") from None
        if folder.is_symlink() or status.st_mode & 0o022:
            raise ConfigError(f"state.directory {folder} is a link or can be written by others: chmod 700 it")
        self.folder = folder
        self.token = _token(folder / "admin.token")
        self.history = HistoryStore(folder / "history.db")
        self.reports = ReportStore(folder / "incidents")

    def close(self) -> None:
        self.history.close()


def _token(path: Path) -> str:
    """Made once, readable by its owner only."""
    with contextlib.suppress(FileExistsError):
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    return read_token(path)


def read_token(path: Path) -> str:
    """Raises ConfigError when others can read it."""
    try:
        status = path.stat()
        if status.st_mode & 0o077:
            raise ConfigError(f"{path} can be read by others: chmod 600 it")
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
