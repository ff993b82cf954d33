"""State directories of version 0.1, and what only looks like one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.service.state import HistoryStore, StateDirectory, directory
from receiver.service.state.token import make_token
from tests.state.directories import refused, tree
from tests.state.histories import SCHEMA_0_1, old_store, sqlite_of_somebody_else


def of_0_1(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    old_store(folder / "history.db")
    (folder / "history.db").chmod(0o644)
    (folder / "incidents").mkdir(mode=0o700)
    (folder / "admin.token").write_text("t" * 43 + "\n")
    (folder / "admin.token").chmod(0o600)
    (folder / "history.db.unreadable-1700000000").write_text("x")


def test_one_of_version_0_1_is_adopted(tmp_path: Path) -> None:
    of_0_1(tmp_path / "s")
    adopted = StateDirectory(str(tmp_path / "s"))
    assert make_token(adopted.fd) == "t" * 43
    adopted.close()
    assert (tmp_path / "s" / directory.MARKER).exists()
    store = HistoryStore(tmp_path / "s/history.db")
    assert store.load().tasks
    store.close()


def more(folder: Path) -> None:
    (folder / "thesis.doc").touch()


def open_token(folder: Path) -> None:
    (folder / "admin.token").chmod(0o644)


def other_database(folder: Path) -> None:
    (folder / "history.db").unlink()
    sqlite_of_somebody_else(folder / "history.db")


def linked_database(folder: Path) -> None:
    (folder / "history.db").rename(folder.parent / "elsewhere")
    (folder / "history.db").symlink_to(folder.parent / "elsewhere")


def no_token(folder: Path) -> None:
    (folder / "admin.token").unlink()


def reports_are_a_file(folder: Path) -> None:
    (folder / "incidents").rmdir()
    (folder / "incidents").touch()


@pytest.mark.parametrize(
    "change", [more, open_token, other_database, linked_database, no_token, reports_are_a_file]
)
def test_what_only_looks_like_one_of_version_0_1_is_not(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    of_0_1(tmp_path / "s")
    change(tmp_path / "s")
    before = tree(tmp_path)
    refused(tmp_path / "s", "contains files that kwitness did not create")
    assert tree(tmp_path) == before


def test_schema_0_1_is_what_the_mark_looks_for() -> None:
    from receiver.service.state.mark import RUNS_TABLE, SIGHTINGS_TABLE

    assert f"{RUNS_TABLE};" in SCHEMA_0_1 and f"{SIGHTINGS_TABLE};" in SCHEMA_0_1
