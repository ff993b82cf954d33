"""The mark of the last moment: what the next service makes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.model import Gap
from receiver.observe.core import Core
from receiver.safe.directories import RefusedError
from receiver.service.state.life import BLOCK_BYTES, NAME, Life, LifeMark, gap_after
from receiver.units import SECOND
from tests.builders import HOST, attributes


def life(
    seconds: float, *, unsent: dict[str, int] | None = None, ended: bool = False, boot: str = "b"
) -> Life:
    at = int(seconds * SECOND)
    return Life(boot, 1, 10**18 + at, at, unsent or {}, ended)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_the_last_mark_is_read_by_the_next_service(tmp_path: Path, folder: int) -> None:
    first = LifeMark(folder)
    assert first.last is None
    for seconds in (1, 2, 3):
        first.write(life(seconds, unsent={"span": int(seconds), "log_record": 2}))
    first.close()
    second = LifeMark(folder)
    assert second.last == life(3, unsent={"span": 3, "log_record": 2})
    second.close()
    assert (tmp_path / NAME).stat().st_size == BLOCK_BYTES and (
        tmp_path / NAME
    ).stat().st_mode & 0o777 == 0o600


def test_what_says_nothing_new_is_seldom_written(tmp_path: Path, folder: int) -> None:
    mark = LifeMark(folder)
    written = []
    for seconds in range(12):
        mark.write(life(seconds))
        written.append((tmp_path / NAME).read_bytes())
    mark.write(life(11.5, ended=True))
    mark.close()
    assert len(set(written)) == 3 and b"true" in (tmp_path / NAME).read_bytes()


@pytest.mark.parametrize("damage", [b"", b"x", bytes(BLOCK_BYTES), b"00000000 {}\n", b"\xff" * 600])
def test_a_damaged_mark_is_none(tmp_path: Path, folder: int, damage: bytes) -> None:
    (tmp_path / NAME).write_bytes(damage)
    mark = LifeMark(folder)
    assert mark.last is None
    mark.close()


def test_a_mark_that_is_cut_short_is_none(tmp_path: Path, folder: int) -> None:
    mark = LifeMark(folder)
    mark.write(life(1))
    mark.close()
    whole = (tmp_path / NAME).read_bytes()
    for length in range(len(whole.rstrip())):
        (tmp_path / NAME).write_bytes(whole[:length])
        again = LifeMark(folder)
        assert again.last is None
        again.close()


def test_a_foreign_file_of_that_name_is_refused(tmp_path: Path, folder: int) -> None:
    (tmp_path / NAME).symlink_to("/etc/passwd")
    with pytest.raises(RefusedError):
        LifeMark(folder)


def test_the_gap_is_measured_by_the_boot_clock_within_one_boot() -> None:
    last = life(100, unsent={"span": 601, "log_record": 2, "data_point": 0})
    now = last.seen_unix_ns + 5 * SECOND  # the wall clock was set back by 7 s
    gap = gap_after(last, "b", now, last.seen_boottime_ns + 12 * SECOND)
    assert gap == Gap("killed", now - 12 * SECOND, now, (("log_record", 2), ("span", 601)))
    other = gap_after(last, "another boot", now, 3 * SECOND)
    assert (other.reason, other.seconds) == ("host_restarted", 5.0)
    assert (
        gap_after(last, "another boot", last.seen_unix_ns - SECOND, 3 * SECOND).seconds == 0
    )  # never negative
    assert gap_after(life(100, ended=True), "b", now, 101 * SECOND).reason == "stopped"


def test_the_next_service_sends_what_is_not_known() -> None:
    core = Core(HOST)
    core.missing.resumed(
        Gap("killed", 10**18, 10**18 + 12 * SECOND, (("log_record", 2), ("span", 601))), SECOND
    )
    records = [attributes(r) for r in core.take()]
    assert records[0]["event.name"] == "pipeline.observer.gap"
    assert (
        records[0]["pipeline.observer.gap.duration"],
        records[0]["pipeline.observer.loss.reason"],
    ) == (12.0, "killed")
    lost = [
        (r["pipeline.observer.event.kind"], r["pipeline.observer.events_lost"]) for r in records[1:]
    ]
    assert lost == [("log_record", 2), ("span", 601)]
    points = next(m for m in core.metrics() if m.name == "pipeline.observer.events_lost").points
    assert {dict(p.attributes)["pipeline.observer.event.kind"]: p.value for p in points} == {
        "log_record": 2,
        "span": 601,
    }
