"""All parts together: what is broken is logged and left out, and the rest works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from receiver.service.state import ServiceState, StateDirectory, open_directory_of_service
from tests.safe.files import identity
from tests.state.histories import KEY, loaded, run, text
from tests.state.test_reports import a_report


async def test_without_a_directory_it_remembers_in_memory() -> None:
    assert open_directory_of_service("", {}, None) is None
    state = ServiceState(None)
    state.start()
    state.history.add(KEY, run(1))
    state.keep_report("a" * 16, a_report("a" * 16))
    state.tick({"span": 1})
    await state.save_last()
    await state.end({"span": 1})
    assert state.history.tasks[KEY] and (
        state.token,
        state.gap,
        state.earlier,
        state.metrics(),
    ) == ("", None, {}, ())


async def test_what_it_keeps_is_there_at_the_next_start(tmp_path: Path) -> None:
    first = ServiceState(StateDirectory(str(tmp_path / "s")))
    first.start()
    first.history.add(KEY, run(1))
    first.keep_report("a" * 16, a_report("a" * 16))
    first.tick({"span": 7})
    await first.save_last()
    await first.end({"span": 5})
    second = ServiceState(StateDirectory(str(tmp_path / "s")))
    second.start()
    assert second.token == first.token and list(second.earlier) == ["a" * 16]
    assert second.gap is not None and (second.gap.reason, second.gap.unsent) == (
        "stopped",
        (("span", 5),),
    )
    await second.save_last()
    assert [r.run_id for r in second.history.tasks[KEY]] == ["r1"]
    await second.end({})
    assert {p.name for p in (tmp_path / "s").iterdir()} == {
        ".kwitness-state",
        "admin.token",
        "history.db",
        "incidents",
        "last-life",
    }


async def test_an_exception_is_no_shutdown(tmp_path: Path) -> None:
    state = ServiceState(StateDirectory(str(tmp_path / "s")))

    async def crash() -> None:
        try:
            raise ZeroDivisionError
        finally:
            await state.end({"span": 2})

    with pytest.raises(ZeroDivisionError):
        await crash()
    again = ServiceState(StateDirectory(str(tmp_path / "s")))
    assert again.gap is not None and (again.gap.reason, again.gap.unsent) == (
        "killed",
        (("span", 2),),
    )
    await again.end({})


async def test_parts_that_are_not_ours_are_left_out_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = StateDirectory(str(tmp_path / "s"))
    (tmp_path / "s/incidents").touch()
    os.mkfifo(tmp_path / "s/last-life")
    (tmp_path / "s/admin.token").write_text("theirs")
    (tmp_path / "s/admin.token").chmod(0o644)
    text(tmp_path / "s/history.db")
    before = {p: identity(p) for p in (tmp_path / "s").iterdir()}
    state = ServiceState(directory)
    state.start()
    state.history.add(KEY, run(1))
    state.keep_report("a" * 16, a_report("a" * 16))
    state.tick({"span": 7})
    await state.save_last()
    points = {
        dict(p.attributes)["pipeline.observer.loss.reason"]: p.value
        for m in state.metrics()
        for p in m.points
    }
    await state.end({})
    assert points == {"history_unusable": 1, "report_unusable": 1}
    assert {p: identity(p) for p in (tmp_path / "s").iterdir()} == before
    said = caplog.text
    for part in (
        "incidents cannot be used",
        "last-life cannot be used",
        "admin.token cannot be used",
        "not a history of kwitness",
    ):
        assert part in said
    (tmp_path / "s/history.db").unlink()
    assert KEY not in loaded(tmp_path / "s/history.db").tasks
