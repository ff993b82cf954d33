"""Input of an earlier run: when it is an incident, and when it is how the pipeline works."""

from __future__ import annotations

import pytest

from receiver.investigate.engine import conclude
from tests.builders import Story


def earlier_run(writer: str) -> Story:
    """Run r1, in which a task writes a file."""
    story = Story()
    wrote = story.task(writer, run="r1")
    story.writes(wrote, "/data/orders.csv")
    story.exit(wrote)
    story.tick(60)
    return story


def read_by_load(story: Story) -> tuple[str, list[str]]:
    """Task load of run r2 reads the file and ends well: the verdict, and the leading cause."""
    reader = story.task("load", run="r2")
    story.reads(reader, "/data/orders.csv")
    (execution,) = (e for e in story.core.executions.open.values() if e.identity.task == "load")
    story.exit(reader)
    found = conclude(story.core.case(execution, story.now))
    return found.verdict, [r.candidate.cause for r in found.ranked[:1]]


@pytest.mark.parametrize("writer", ["load", "extract"])  # its own state; data that changes seldom
def test_what_an_earlier_run_wrote_may_be_read(writer: str) -> None:
    assert read_by_load(earlier_run(writer)) == ("healthy", [])


def test_input_that_this_run_is_about_to_write_is_stale() -> None:
    story = earlier_run("extract")
    story.task("extract", run="r2")
    verdict, causes = read_by_load(story)
    assert (verdict, causes) == ("incident", ["fs.stale_input"])
