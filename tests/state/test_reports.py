"""Reports on disk: whole or not at all, and what is no report of ours stays."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from receiver.investigate.report import Report
from receiver.safe.directories import RefusedError
from receiver.service.state import ReportStore, reports
from tests.builders import Story
from tests.investigate.telling import report_of
from tests.safe.files import STRANGE, identity
from tests.small_disk import run_on_small_disk


def a_report(number: str) -> Report:
    story = Story()
    story.exit(story.command("false"), 1)
    return msgspec.structs.replace(report_of(story), id=number)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_they_are_kept_and_the_oldest_go(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reports, "KEPT_REPORTS", 3)
    store = ReportStore(folder)
    for number in range(5):
        store.save(f"{number:016x}", a_report(f"{number:016x}"))
        os.utime(tmp_path / f"incidents/{number:016x}.json", ns=(number, number))
    last = a_report("f" * 16)
    store.save("f" * 16, last)
    store.save("f" * 16, last)  # a report that is revised is written again
    (tmp_path / "incidents/eeeeeeeeeeeeeeee.json").write_text("{")
    (tmp_path / "incidents/note.json").write_text("mine")
    found = store.load()
    store.close()
    assert f"{0:016x}" not in found and found["f" * 16] == last
    kept = {path.stem for path in (tmp_path / "incidents").glob("*.json")} - {"note", "e" * 16}
    assert kept == {f"{3:016x}", f"{4:016x}", "f" * 16}  # the others are gone from the disk
    assert (
        "not a report of this version" in caplog.text
        and (tmp_path / "incidents/note.json").read_text() == "mine"
    )
    assert stat.S_IMODE((tmp_path / "incidents").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / f"incidents/{'f' * 16}.json").stat().st_mode) == 0o600


def test_a_report_is_replaced_by_a_better_one(folder: int) -> None:
    store = ReportStore(folder)
    first = a_report("a" * 16)
    better = msgspec.structs.replace(first, summary="more is known")
    for report in (first, better):
        store.save("a" * 16, report)
    assert store.load() == {"a" * 16: better}
    store.close()


def test_the_reports_of_one_user_take_no_room_from_another(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "KEPT_REPORTS", 3)
    store = ReportStore(folder)
    for number in range(6):
        store.save(
            f"{number:016x}", a_report(f"{number:016x}"), owner=1001 if number == 0 else 1000
        )
        os.utime(tmp_path / f"incidents/{number:016x}.json", ns=(number, number))
    store.close()
    assert {path.stem for path in (tmp_path / "incidents").glob("*.json")} == {
        f"{n:016x}" for n in (0, 4, 5)
    }


@pytest.mark.parametrize(
    ("make", "why"), [*STRANGE, (lambda path: path.write_text("mine"), "is not a report")]
)
def test_a_foreign_file_of_that_name_stays(
    tmp_path: Path,
    folder: int,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], object],
    why: str,
) -> None:
    monkeypatch.setattr(reports, "KEPT_REPORTS", 0)  # all are too many
    store = ReportStore(folder)
    path = tmp_path / f"incidents/{'a' * 16}.json"
    make(path)
    before = identity(path)
    with pytest.raises(RefusedError):
        store.save("a" * 16, a_report("a" * 16))
    store.save("b" * 16, a_report("b" * 16))  # which makes the oldest go
    store.load()
    store.close()
    assert identity(path) == before


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, lambda path: path.symlink_to("/etc")])
def test_a_directory_that_is_none_is_refused(
    tmp_path: Path, folder: int, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "incidents")
    before = identity(tmp_path / "incidents")
    with pytest.raises(RefusedError, match="incidents is not a directory"):
        ReportStore(folder)
    assert identity(tmp_path / "incidents") == before


def test_what_a_killed_service_left_half_written_is_removed(tmp_path: Path, folder: int) -> None:
    (tmp_path / "incidents").mkdir()
    (tmp_path / f"incidents/.{'a' * 16}.json.0123abcd.tmp").write_text("{")
    (tmp_path / "incidents/.mine.tmp").write_text("mine")
    ReportStore(folder).close()
    assert [p.name for p in (tmp_path / "incidents").iterdir()] == [".mine.tmp"]


_FULL = """
import os, sys
sys.path.insert(0, ".")
from pathlib import Path
from receiver.service.state import ReportStore
from tests.state.test_reports import a_report
folder = Path(sys.argv[1])
store = ReportStore(os.open(folder, os.O_RDONLY))
store.save("a" * 16, a_report("a" * 16))
with open(folder / "ballast", "wb", buffering=0) as ballast:
    try:
        while True:
            ballast.write(bytes(512))
    except OSError:
        pass
for number in range(200):
    try:
        store.save(f"{number:016x}", a_report(f"{number:016x}"))
    except OSError as error:
        print(error.strerror)
        break
print(sorted(store.load()) == sorted(p.stem for p in (folder / "incidents").iterdir()))
"""


def test_a_full_disk_leaves_no_half_report(tmp_path: Path) -> None:
    done = run_on_small_disk(tmp_path, [sys.executable, "-c", _FULL, str(tmp_path)])
    assert (done.stdout.splitlines(), done.stderr) == (["No space left on device", "True"], "")
