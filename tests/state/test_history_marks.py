"""Which file is a history of ours: by its mark and its version. What is not is left as it was."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.service.state import HistoryError, HistoryStore, history_file
from receiver.service.state.mark import APPLICATION_ID
from tests.safe.files import OTHER, STRANGE, identity, need_root
from tests.state.histories import (
    KEY,
    SCHEMA_0_1,
    loaded,
    old_store,
    run,
    sqlite_of_somebody_else,
    text,
)


def digests(folder: Path) -> dict[str, str]:
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()
    }


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


def test_one_of_version_0_1_is_known_and_marked(tmp_path: Path) -> None:
    old_store(tmp_path / "h.db")
    assert [r.run_id for r in loaded(tmp_path / "h.db").tasks[KEY]] == ["r1"]
    with sqlite3.connect(tmp_path / "h.db") as db:
        assert db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    db.close()


_KILLED = """
import os, sqlite3, sys
sys.path.insert(0, ".")
from tests.state.histories import SCHEMA_0_1
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


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    HistoryStore(tmp_path / "h.db").close()
    with sqlite3.connect(tmp_path / "h.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(HistoryError, match="newer") as refused:
        HistoryStore(tmp_path / "h.db")
    assert refused.value.reason == "newer"
