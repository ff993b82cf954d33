"""Who killed a process: the kernel, a person, a parent, or nobody."""

from __future__ import annotations

import signal

import pytest

from receiver.events import OomScope, ProcessKey
from receiver.signals import Severity
from tests.builders import SELF, Story, attributes
from tests.core.host import INIT


def test_an_oom_kill_is_one_finding_and_never_also_killed_by() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    worker = story.spawn(root, "python3", "big.py")
    story.signal(worker, worker, 9, code=128, comm="python3")
    story.oom(worker)
    story.exit(worker, signal=9)
    story.exit(root, 137)
    assert len(story.events("process.oom_killed")) == 1
    assert attributes(story.events("process.exit")[0])["process.exit.cause"] == "oom_killed"
    assert not [
        e for e in story.events("process.killed") if attributes(e)["process.pid"] == worker.tgid
    ]
    facts = attributes(story.events("process.oom_killed")[0])
    assert facts["process.oom.cgroup"] == "/jobs"
    assert facts["process.oom.memory.limit"] == 64 << 20
    assert story.events("process.oom_killed")[0].severity == Severity.FATAL
    assert attributes(story.span("task job"))["process.oom_killed"] is True
    assert [e.name for e in story.span("python3").events] == ["process.oom_killed"]


def test_a_host_wide_oom_names_the_host_and_a_foreign_trigger() -> None:
    story = Story()
    root = story.command("python3")
    story.oom(root, trigger=ProcessKey(99, 5), scope=OomScope.HOST)
    record = story.events("process.oom_killed")[0]
    assert attributes(record)["process.oom.scope"] == "host"
    assert "process.oom.cgroup" not in attributes(record)
    assert "java's (99)" in record.body


def test_a_neighbours_oom_kill_is_reported_as_unattributed_warning() -> None:
    story = Story()
    neighbour = story.spawn(INIT, "java")
    story.oom(neighbour)
    record = story.events("process.oom_killed")[0]
    assert (attributes(record)["pipeline.system.name"], record.severity) == (
        "unknown",
        Severity.WARN,
    )


@pytest.mark.parametrize(
    ("who", "kind"),
    [
        ("parent", "parent"),
        ("self", "self"),
        ("sibling", "sibling"),
        ("outside", "operator"),
        ("daemon", "unknown"),
        ("us", "orchestrator"),
    ],
)
def test_the_sender_of_a_kill_has_a_kind(who: str, kind: str) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    victim = root if who == "us" else story.spawn(root, "sleep", "60")
    brother = story.spawn(root, "kill", "-9")
    senders = {
        "parent": (root, "bash"),
        "self": (victim, "sleep"),
        "sibling": (brother, "kill"),
        "outside": (ProcessKey(50, 9), "kill"),
        "daemon": (ProcessKey(51, 9), "earlyoom"),
        "us": (SELF, "kwitness"),
    }
    sender, comm = senders[who]
    story.signal(sender, victim, signal.SIGKILL, comm=comm)
    story.exit(victim, signal=9)
    facts = attributes(story.events("process.killed")[0])
    assert facts["process.signal.sender.kind"] == kind
    assert facts["process.exit.code"] == 137


def test_a_kernel_fault_is_a_kill_by_the_kernel() -> None:
    story = Story()
    root = story.command("crash")
    story.signal(root, root, signal.SIGSEGV, code=1, comm="crash")
    story.exit(root, signal=11 | 0x80)
    facts = attributes(story.events("process.killed")[0])
    assert facts["process.signal.sender.kind"] == "kernel"
    assert "process.signal.sender.pid" not in facts
    assert attributes(story.span("crash"))["process.core_dumped"] is True


def test_a_caught_sigterm_that_ends_in_143_is_a_kill() -> None:
    story = Story()
    root = story.command("java")
    story.signal(ProcessKey(50, 9), root, signal.SIGTERM, comm="kill", handled=1)
    story.exit(root, 143)
    record = story.events("process.killed")[0]
    assert attributes(record)["process.signal.name"] == "SIGTERM"
    assert "exited with status 143 after SIGTERM from kill (50)" in record.body


def test_status_143_without_a_signal_is_only_a_failure() -> None:
    story = Story()
    root = story.command("java")
    story.exit(root, 143)
    assert not story.events("process.killed")
    assert attributes(story.events("process.exit")[0])["error.type"] == "exit_143"


def test_sigpipe_is_an_ordinary_end() -> None:
    story = Story()
    root = story.command("bash")
    producer = story.spawn(root, "yes")
    story.signal(producer, producer, signal.SIGPIPE, code=0, comm="yes")
    story.exit(producer, signal=13)
    story.exit(root)
    assert not story.events("process.killed")
    assert not story.events("pipeline.task.result_mismatch")
