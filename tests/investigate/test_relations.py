"""Each relation holds on the fact that it names, and not without it."""

from __future__ import annotations

import errno
import signal
from typing import Any

import pytest

from receiver.events import (
    CallFailed,
    CallKind,
    Connection,
    ConnectionFlag,
    ConnectionStage,
    ProcessKey,
)
from receiver.investigate.cards import Via
from receiver.investigate.case import Case
from receiver.investigate.causes import CARDS
from receiver.investigate.evidence import Candidate, Culprit, context
from receiver.investigate.relations import connection
from tests.builders import Story

STRANGER = ProcessKey(666, 5)
OTHER = ProcessKey(667, 5)
SERVER = int.from_bytes(bytes([10, 0, 0, 5]), "little")


def candidate(subject: ProcessKey, **culprit: Any) -> Candidate:
    found = Culprit(type="unknown", **culprit)
    seen = (context("test.it.was_seen", "It was seen.", ()),)
    return Candidate(cause="x.y", culprit=found, summary="", evidence=seen, subject=subject)


def case_of(story: Story, root: ProcessKey) -> Case:
    story.finish()
    execution = story.core.watched(root.tgid)
    assert execution is not None
    return story.core.case(execution, story.now)


def holds(via: Via, case: Case, cause: Candidate, effect: Candidate) -> bool:
    tie = connection(case, via, cause, effect)
    return tie is not None and tie.text.endswith(".")


def two(story: Story, **second: Any) -> tuple[ProcessKey, ProcessKey, ProcessKey]:
    """A root and two steps of different parents."""
    root = story.command("bash", "job.sh")
    left, right = story.spawn(root, "bash", "left.sh"), story.spawn(root, "bash", "right.sh")
    one = story.spawn(left, "python3", "one.py", stdout_inode=77)
    other = story.spawn(right, "python3", "other.py", **second)
    return root, one, other


def end(story: Story, *keys: ProcessKey) -> None:
    for key in keys:
        story.exit(key, 1)


@pytest.mark.parametrize("via", [Via.SAME, Via.SAME_ENDPOINT])
def test_the_same_process(via: Via) -> None:
    story = Story()
    root, one, other = two(story)
    end(story, one, other, root)
    case = case_of(story, root)
    assert holds(via, case, candidate(one), candidate(one))
    assert not holds(via, case, candidate(one), candidate(other))


def test_an_ancestor_and_not_the_other_way_round() -> None:
    story = Story()
    root, one, other = two(story)
    end(story, one, other, root)
    case = case_of(story, root)
    assert holds(Via.ANCESTOR, case, candidate(one), candidate(root))
    assert not holds(Via.ANCESTOR, case, candidate(root), candidate(one))
    assert not holds(Via.ANCESTOR, case, candidate(one), candidate(other))


def test_a_parent_and_workers_of_one_parent() -> None:
    story = Story()
    root = story.command("python3", "pool.py")
    one, other = story.fork(root), story.fork(root)
    step, beside = story.spawn(root, "python3", "a.py"), story.spawn(root, "python3", "b.py")
    end(story, one, other, step, beside, root)
    case = case_of(story, root)
    assert holds(Via.PARENT, case, candidate(one), candidate(root))
    assert holds(Via.PARENT, case, candidate(one), candidate(other))
    assert not holds(Via.PARENT, case, candidate(step), candidate(beside))


@pytest.mark.parametrize("shared", [True, False])
def test_signals_of_one_sender(shared: bool) -> None:
    story = Story()
    root, one, other = two(story)
    story.signal(STRANGER, one, signal.SIGTERM, comm="drainer")
    story.signal(STRANGER if shared else OTHER, other, signal.SIGKILL, comm="drainer")
    story.exit(one, signal=signal.SIGTERM)
    story.exit(other, signal=signal.SIGKILL)
    end(story, root)
    assert holds(Via.SIGNAL, case_of(story, root), candidate(one), candidate(other)) is shared


@pytest.mark.parametrize("address", [SERVER, SERVER + (1 << 24)])
def test_the_two_ends_of_a_connection(address: int) -> None:
    """A server on the same port of another address is another server."""
    story = Story()
    root, one, other = two(story)
    for key, values in (
        (
            one,
            {
                "local_low": address,
                "local_port": 5000,
                "peer_port": 4000,
                "connection_flags": int(ConnectionFlag.ACCEPTED),
            },
        ),
        (other, {"peer_low": SERVER, "peer_port": 5000, "local_port": 4000}),
    ):
        story.fact(
            Connection,
            key,
            **(
                {
                    "connection_id": key.tgid,
                    "stage": int(ConnectionStage.CONNECTED),
                    "family": 2,
                    "established_boottime_ns": 9,
                }
                | values
            ),
        )
    end(story, one, other, root)
    found = holds(Via.CONNECTION_ENDS, case_of(story, root), candidate(one), candidate(other))
    assert found is (address == SERVER)


@pytest.mark.parametrize("address", ["10.0.0.5:5000", "10.0.0.5:5001"])
def test_one_endpoint(address: str) -> None:
    story = Story()
    root, one, other = two(story)
    story.signal(STRANGER, one, signal.SIGTERM)
    end(story, one, other, root)
    case = case_of(story, root)
    cause = candidate(one, address="10.0.0.5:5000")
    effect = candidate(other, address=address)
    assert (connection(case, Via.SAME_ENDPOINT, cause, effect) is not None) is (
        address == "10.0.0.5:5000"
    )


@pytest.mark.parametrize("inode", [42, 43])
def test_one_file(inode: int) -> None:
    story = Story()
    root, one, other = two(story)
    story.writes(one, "/data/out.csv", inode=42)
    story.reads(other, "/data/out.csv", inode=inode)
    end(story, one, other, root)
    case = case_of(story, root)
    effect = candidate(other, path="/data/out.csv", inode=inode)
    assert (connection(case, Via.SAME_FILE, candidate(one), effect) is not None) is (inode == 42)


@pytest.mark.parametrize("inode", [77, 78])
def test_a_pipe(inode: int) -> None:
    story = Story()
    root, one, other = two(story, stdin_inode=inode)
    end(story, one, other, root)
    assert holds(Via.PIPE, case_of(story, root), candidate(one), candidate(other)) is (inode == 77)


@pytest.mark.parametrize("group", ["/jobs/one", "/jobs/two"])
def test_a_memory_cgroup(group: str) -> None:
    story = Story()
    root, one, other = two(story, memory_cgroup=group)
    end(story, one, other, root)
    found = holds(Via.CGROUP, case_of(story, root), candidate(one), candidate(other))
    assert found is (group == "/jobs/one")


@pytest.mark.parametrize("held", [True, False])
def test_the_holder_of_a_lock(held: bool) -> None:
    story = Story()
    root, one, other = two(story)
    story.fact(
        CallFailed,
        other,
        call=int(CallKind.LOCK),
        error=errno.EAGAIN,
        call_number=1,
        failures=1,
        holder=one if held else OTHER,
        first_boottime_ns=story.now,
        last_boottime_ns=story.now,
        path="/x",
        subject=1,
    )
    end(story, one, other, root)
    assert holds(Via.LOCK, case_of(story, root), candidate(one), candidate(other)) is held


def test_every_relation_of_a_card_has_a_check() -> None:
    story = Story()
    root, one, other = two(story)
    end(story, one, other, root)
    case = case_of(story, root)
    for card in CARDS:
        for relation in (*card.brings, *card.begins_with):
            found = connection(case, relation.via, candidate(one), candidate(other))
            assert found is None or relation.via is Via.CGROUP, (card.name, relation)
