"""Listeners of the core: what they are told, in which order, and that none harms the core or
another one."""

from __future__ import annotations

import logging

import pytest

from receiver import semconv as sc
from receiver.events import Exec, Exit, Fork
from receiver.export import encode
from receiver.observe.listeners import Listener, Listeners
from receiver.signals import LogRecord, Metric
from tests.builders import Calls, Story

TOLD = ("execution_started", "execution_finished", "process_ended", "event", "report")


def failing_command(story: Story) -> None:
    root = story.command("load")
    story.exit(root, 1)
    story.core.tick(story.now + 2_000_000_000)


def encoded(story: Story) -> list[bytes]:
    return [
        encode.log_record(s) if isinstance(s, LogRecord) else encode.span(s) for s in story._signals
    ]


def drops(metrics: tuple[Metric, ...]) -> dict[str, float]:
    (found,) = (m for m in metrics if m.name == sc.METRIC_PIPELINE_OBSERVER_DROPS[0])
    return {str(p.attributes[0][1]): p.value for p in found.points}  # type: ignore[misc]


def hear(story: Story, said: list[str], name: str) -> None:
    story.core.listeners.add(
        Calls(
            execution_started=lambda e: said.append(f"{name} started {e.identity.task}"),
            execution_finished=lambda e: said.append(f"{name} finished {e.result}"),
            process_ended=lambda p: said.append(f"{name} ended {p.name}"),
            event=lambda e: said.append(f"{name} event {type(e).__name__}"),
            report=lambda number, r: said.append(f"{name} report {number == r.id} {r.verdict}"),
        )
    )


def test_every_listener_is_told_everything_in_order() -> None:
    story = Story()
    said: list[str] = []
    hear(story, said, "a")
    hear(story, said, "b")
    failing_command(story)
    first = [line[2:] for line in said if line.startswith("a ")]
    assert first == [line[2:] for line in said if line.startswith("b ")]
    assert first[0] == "started job" and first[1] == "event Fork"
    assert first.index("ended load") < first.index("finished failure") < first.index("event Exit")
    assert first[-1].startswith("report True")
    assert [line[0] for line in said[:4]] == ["a", "b", "a", "b"]


def test_a_listener_that_overrides_nothing_is_told_nothing() -> None:
    story = Story()
    story.core.listeners.add(Listener())
    assert story.core.listeners.of_events == []
    failing_command(story)
    assert not story.core.listeners.failed


@pytest.mark.parametrize("method", TOLD)
def test_a_listener_that_raises_is_counted_and_harms_no_other(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    quiet, story = Story(), Story()
    failing_command(quiet)
    said: list[str] = []

    class Faulty(Listener):
        pass

    def fail(*_: object) -> None:
        raise OSError("no room")

    setattr(Faulty, method, fail)
    story.core.listeners.add(Faulty())
    hear(story, said, "b")
    with caplog.at_level(logging.ERROR):
        failing_command(story)
    assert any(line.startswith("b report") for line in said)
    count = story.core.listeners.failed["Faulty"]
    assert count == (3 if method == "event" else 1)
    assert drops(story.core.metrics())["failed_listener_Faulty"] == count
    assert [r.getMessage() for r in caplog.records] == [
        "the listener Faulty failed; the observing continues"
    ]
    assert caplog.records[0].exc_info is not None and "no room" in caplog.text
    assert encoded(story) == encoded(quiet)


def test_the_end_of_the_process_is_not_caught() -> None:
    listeners = Listeners()

    class Stopped(Listener):
        def event(self, event: object) -> None:
            raise KeyboardInterrupt

    listeners.add(Stopped())
    with pytest.raises(KeyboardInterrupt):
        listeners.event(Story().core)  # type: ignore[arg-type]
    assert not listeners.failed


def test_events_come_after_they_were_applied() -> None:
    story = Story()
    known: list[tuple[str, bool]] = []
    story.core.listeners.add(
        Calls(
            event=lambda e: known.append(
                (type(e).__name__, story.core.tree.get(e.process) is not None)
            )
        )
    )
    root = story.command("load")
    story.exit(root)
    assert known == [(kind.__name__, True) for kind in (Fork, Exec, Exit)]
