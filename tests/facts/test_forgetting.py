"""A process that is forgotten leaves no row behind."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from receiver.observe.recording import Recording
from receiver.observe.replay import core_of, replay
from receiver.observe.session import Session
from receiver.work.work_state import NOTHING, WorkState
from receiver.work.worker import KEPT_UNNAMED
from tests.builders import Story
from tests.facts.rows import ACTIVITIES, forgotten, keys_of_rows

RECORDINGS = sorted((Path(__file__).parent.parent / "scenarios").rglob("*.kw"))
NEVER_NS = 1 << 62


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_no_table_has_a_row_of_a_process_that_a_recording_forgot(recording: Path) -> None:
    source = Recording(recording)
    core = core_of(source.header)
    replay(Session(core), source)
    core.tree.sweep(NEVER_NS)
    assert not forgotten(core)
    assert all(process.exit is None for process in core.tree.processes())
    assert msgspec.structs.astuple(NOTHING) == msgspec.structs.astuple(WorkState())


def test_a_process_has_a_record_of_its_own_only_when_it_needs_one() -> None:
    story = Story()
    task = story.task("load")
    plain = story.core.tree.get(story.spawn(task, "sort"))
    dbt = story.core.tree.get(story.spawn(task, "python", "/venv/bin/dbt", "run"))
    assert plain is not None and dbt is not None
    assert plain._state is NOTHING and dbt._state is not NOTHING
    for thread in (41, 42):
        model = f"/work/target/compiled/shop/models/m{thread}.sql"
        story.opens(dbt.key, model, os.O_WRONLY, thread=thread)
    assert dbt.notes and [s.identity.task for s in dbt.steps.values()] == ["m41", "m42"]
    assert not plain.notes and not plain.steps


def test_a_forgotten_process_keeps_no_other_process_and_no_work() -> None:
    """Its words stay: a child that lives on asks which program its parent was."""
    story = Story()
    process = story.core.tree.get(story.spawn(story.task("load"), "snakemake"))
    assert process is not None and process.execution is not None
    process.begin_step(7, process.execution)
    for _ in range(2 * KEPT_UNNAMED):
        process.add_unnamed(process)
    process.take_role("snakemake", "snakemake")
    assert len(process.unnamed) == KEPT_UNNAMED
    process.forget()
    assert not process.steps and not process.unnamed and process.parent is None
    assert process.program_of == "snakemake"


def test_the_search_finds_rows_of_every_kind() -> None:
    """Otherwise the tests of this file could not fail."""
    story = Story()
    key = story.task("load")
    for active in ACTIVITIES.values():
        active(story, key, 0)
    facts = story.core.facts
    for table in facts.tables:
        assert key in table.rows, type(table).__name__
    assert key in keys_of_rows(story.core)
    del story.core.tree._processes[key]
    assert key in forgotten(story.core)
