"""Stories, and the report at their end."""

from __future__ import annotations

from typing import Any

from receiver.events import LastFailure, Neighbour, ProcessKey, ProcessSample, SubjectKind
from receiver.investigate.engine import Conclusion, conclude
from receiver.investigate.history import History
from receiver.investigate.report import Hypothesis, Report
from receiver.units import SECOND
from tests.builders import MS, Story


def report_of(story: Story) -> Report:
    """Of the only execution that was told of."""
    story.finish()
    (report,) = story.core.incidents.reports.values()
    return report


def concluded(story: Story, root: ProcessKey) -> Conclusion:
    """What the engine concludes of a command, before the report leaves anything out."""
    story.finish()
    execution = story.core.watched(root.tgid)
    assert execution is not None
    return conclude(story.core.case(execution, story.now))


def with_history() -> Story:
    story = Story()
    story.core.history = History()
    return story


def cause_of(report: Report) -> str:
    return report.hypotheses[0].cause if report.verdict == "incident" else f"none.{report.verdict}"


def hypothesis(report: Report, cause: str) -> Hypothesis:
    (found,) = [h for h in report.hypotheses if h.cause == cause]
    return found


def follows(conclusion: Conclusion, effect: str) -> list[str]:
    """The causes that brought a candidate of this class about."""
    steps = [s for i in (conclusion.first, *conclusion.others) for s in i.steps]
    return [step.cause.cause for step in steps if step.effect.cause == effect]


def last_failed(story: Story, who: ProcessKey, *, ago_ms: float = 5, **fields: Any) -> None:
    """One of the last failed calls of a process that failed."""
    values: dict[str, Any] = {
        "failures": 1,
        "subject": SubjectKind.PATH_ASKED,
        "thread": who.tgid,
        "failed_boottime_ns": story.now - int(ago_ms * MS),
    }
    story.fact(LastFailure, who, **(values | fields))


def waits_for_a_cpu(story: Story, key: ProcessKey, seconds: int = 12) -> None:
    """It waits most of the time, and a stranger takes the CPU."""
    for step in range(seconds):
        story.step(1_000)
        story.fact(
            ProcessSample,
            key,
            threads=1,
            running_threads=1,
            run_delay_ns=step * SECOND * 7 // 10,
            cpu_runtime_ns=step * SECOND * 3 // 10,
        )
        story.fact(Neighbour, ProcessKey(77, 5), cpu_ns=SECOND, interval_ns=SECOND, comm="simulate")
        story.tick(0)
