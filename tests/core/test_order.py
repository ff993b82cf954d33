"""Any order, any batches, any loss and any bytes."""

from __future__ import annotations

import os
import signal

from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.events import Exit, Fork, ProcessKey, encode
from receiver.model import NOBODY
from receiver.observe.core import Core
from tests.builders import HOST, MS, SELF, WALL_OFFSET_NS, Story, airflow, attributes
from tests.core.host import INIT


def _long_story() -> Story:
    story = Story()
    root = story.command("bash", "job.sh")
    worker = story.spawn(root, "python3")
    story.signal(root, worker, signal.SIGTERM)
    story.open_file(worker, "/data/out.csv")
    story.exit(worker, signal=15)
    other = story.spawn(INIT, "bash", environ=airflow())
    story.oom(other)
    story.exit(other, signal=9)
    story.exit(root)
    return story


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_how_records_are_batched_changes_nothing(cuts: list[int]) -> None:
    story = _long_story()
    core = Core(HOST)
    core.set_wall_offset(WALL_OFFSET_NS)
    from receiver.model import Watch

    core.watch(Watch(1002, SELF.tgid, "job"))
    at = 0
    for cut in [*cuts, len(story.records)]:
        core.feed(story.records[at : at + cut], story.now)
        at += cut
    shape = [(type(s).__name__, s.span_id, s.attributes) for s in core.take()]
    assert shape == [(type(s).__name__, s.span_id, s.attributes) for s in story.signals]


@settings(max_examples=200, deadline=None)
@given(st.permutations(_long_story().records), st.integers(0, 12))
def test_any_order_and_any_loss_is_survived(records: list[bytes], dropped: int) -> None:
    core = Core(HOST)
    core.feed(records[dropped:], 10**12)
    core.tick(10**12)
    core.finish(10**13)
    spans = [s.span_id for s in core.take() if hasattr(s, "kind")]
    assert len(spans) == len(set(spans))
    assert not core.executions.open


@given(st.lists(st.binary(max_size=400), max_size=20))
def test_garbage_in_a_batch_is_counted_and_the_rest_goes_on(garbage: list[bytes]) -> None:
    core = Core(HOST)
    good = encode(
        Exit(5 * MS, 1, 0, ProcessKey(5, 1), NOBODY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "x", "")
    )
    core.feed([*garbage, good], 6 * MS)
    assert core.counts["exit"] >= 1
    assert core.decode_errors.total() + core.counts.total() == len(garbage) + 1


def test_a_child_whose_files_are_heard_of_before_its_fork_has_its_name() -> None:
    """Two rings are read one after the other: what happens between belongs to a process that the
    first has not told of yet."""
    story = Story()
    root = story.command("bash", "x")
    child = ProcessKey(4242, story.now)
    story.opens(child, "/data/x", os.O_WRONLY)
    story.say(
        Fork,
        process=child,
        parent=root,
        real_parent=NOBODY,
        cgroup_id=1,
        uid=1000,
        pid_namespace_pid=4242,
        comm="python3",
    )
    story.exit(child, 3)
    story.exit(root)
    (span,) = [s for s in story.spans if attributes(s).get("process.pid") == 4242]
    assert (span.name, attributes(span)["process.user.id"]) == ("python3", 1000)
