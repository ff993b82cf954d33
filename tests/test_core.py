"""The core, told stories in wire bytes."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.events import Exit, FileFlag, FileReason, Fork, OomScope, ProcessKey, encode
from receiver.investigate.compose import investigate
from receiver.model import NOBODY, Blind, CoreOptions, Identity
from receiver.observe.core import Core
from receiver.signals import Severity, SpanKind
from receiver.units import SECOND
from tests.builders import HOST, MS, SELF, WALL_OFFSET_NS, Story, airflow, attributes

INIT = ProcessKey(1, 1)


def test_a_command_becomes_run_task_and_process_spans_in_one_trace() -> None:
    story = Story()
    root = story.command("bash", "job.sh", name="nightly")
    child = story.spawn(root, "python3", "load.py")
    story.exit(child)
    story.exit(root)
    run, task, bash, python = (
        story.span(n) for n in ("run nightly", "task nightly", "bash", "python3")
    )
    assert {s.trace_id for s in story.spans} == {run.trace_id}
    assert (run.kind, run.parent_id) == (SpanKind.SERVER, b"")
    assert (task.parent_id, bash.parent_id, python.parent_id) == (
        run.span_id,
        task.span_id,
        bash.span_id,
    )
    assert run.start_ns == task.start_ns == root.start_boottime_ns + WALL_OFFSET_NS
    assert attributes(task)["pipeline.task.run.result"] == "success"
    assert len({s.span_id for s in story.spans}) == 4


def test_process_spans_carry_the_exit_facts() -> None:
    story = Story()
    root = story.command("python3", "x.py")
    story.exit(root, 3)
    facts = attributes(story.span("python3"))
    assert facts["process.exit.code"] == 3
    assert facts["process.exit.cause"] == "exited"
    assert facts["error.type"] == "exit_3"
    assert facts["process.pid"] == root.tgid
    assert facts["process.usage.memory.peak"] == 5 << 20
    assert (facts["process.usage.cpu.user"], facts["process.usage.cpu.system"]) == (0.015, 0.005)
    assert story.span("python3").error == "exit_3"
    assert "process.command_args" not in facts


def test_start_and_end_events_carry_the_ids_of_the_spans_to_come() -> None:
    story = Story()
    root = story.command("true")
    start = story.events("pipeline.task.start")[0]
    assert not story.spans
    story.exit(root)
    task = story.span("task job")
    assert (start.trace_id, start.span_id) == (task.trace_id, task.span_id)
    end = story.events("pipeline.task.end")[0]
    assert (end.span_id, end.severity) == (task.span_id, Severity.INFO)


def test_every_span_is_sent_once() -> None:
    story = Story()
    root = story.spawn(INIT, "bash", environ=airflow())
    story.exit(root)
    story.tick(30)
    late = story.spawn(INIT, "python3", environ=airflow())
    story.exit(late, after_ms=100)
    story.tick(120)
    story.finish()
    ids = [s.span_id for s in story.spans]
    assert len(ids) == len(set(ids))
    assert story.core.attempts.drops["late_process"] == 1


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


def test_a_file_open_for_writing_at_a_killed_writers_death_is_a_partial_write() -> None:
    story = Story()
    root = story.command("bash")
    writer = story.spawn(root, "python3", "export.py")
    story.signal(root, writer, signal.SIGTERM)
    story.open_file(writer, "/data/out.csv", size_bytes=8192, position_bytes=8192)
    story.exit(writer, signal=15)
    facts = attributes(story.events("file.partial_write")[0])
    assert facts["file.path"] == "/data/out.csv"
    assert (facts["file.size"], facts["file.write.bytes"], facts["file.inode"]) == (
        8192,
        8192,
        "42",
    )
    assert facts["file.write.cause"] == "killed"


@pytest.mark.parametrize(
    "other",
    [
        {"open_flags": os.O_WRONLY | os.O_APPEND},
        {"file_flags": FileFlag.DELETED},
        {"file_flags": FileFlag.INHERITED_STDIO},
        {"file_flags": FileFlag.SHARES_STDERR},
        {"open_flags": os.O_RDWR, "position_bytes": 0},
        {"path": "/run/job.pid"},
    ],
)
def test_logs_locks_and_databases_are_no_torn_outputs(other: dict[str, object]) -> None:
    story = Story()
    root = story.command("python3")
    story.open_file(root, **({"path": "/data/file"} | other))  # type: ignore[arg-type]
    story.exit(root, signal=9)
    assert not story.events("file.partial_write")


@pytest.mark.parametrize("wrote", [0, 4096])
def test_only_who_wrote_leaves_a_torn_file(wrote: int) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    worker = story.spawn(root, "python3", "load.py")
    story.signal(ProcessKey(50, 9), worker, signal.SIGKILL)
    story.open_file(worker, "/data/out.csv", signal=9)
    story.exit(worker, signal=9, write_call_bytes=wrote)
    assert len(story.events("file.partial_write")) == bool(wrote)


def test_a_writer_told_to_end_that_then_fails_leaves_a_partial_write() -> None:
    story = Story()
    root = story.command("dbt")
    story.signal(ProcessKey(50, 9), root, signal.SIGTERM, handled=1)
    story.open_file(root, "/data/model.csv", reason=FileReason.SIGNAL, signal=15)
    story.exit(root, 1)
    record = story.events("file.partial_write")[0]
    assert attributes(record)["file.write.cause"] == "terminated"
    assert attributes(record)["pipeline.log.origin"] == "inferred"


def test_a_writer_told_to_end_that_then_succeeds_leaves_a_whole_file() -> None:
    story = Story()
    root = story.command("dbt")
    story.signal(ProcessKey(50, 9), root, signal.SIGTERM, handled=1)
    story.open_file(root, "/data/model.csv", reason=FileReason.SIGNAL, signal=15)
    story.exit(root, 0)
    assert not story.events("file.partial_write")


def test_a_killed_child_behind_a_parents_success_is_a_masked_failure() -> None:
    story = Story()
    root = story.command("bash")
    child = story.spawn(root, "python3")
    story.oom(child)
    story.exit(child, signal=9)
    story.exit(root, 0)
    facts = attributes(story.events("pipeline.task.result_mismatch")[0])
    assert (facts["process.pid"], facts["pipeline.task.run.result"]) == (child.tgid, "failure")
    task = attributes(story.span("task job"))
    assert (task["pipeline.task.run.result"], task["pipeline.task.run.reported_result"]) == (
        "failure",
        "success",
    )
    assert task["error.type"] == "masked_failure"


def test_the_culprit_below_a_failing_wrapper_is_named() -> None:
    story = Story()
    root = story.command("bash")
    timeout = story.spawn(root, "timeout", "1", "python3")
    writer = story.spawn(timeout, "python3")
    story.signal(timeout, writer, signal.SIGTERM, comm="timeout")
    story.open_file(writer, "/data/out.csv")
    story.exit(writer, signal=15)
    story.exit(timeout, 124)
    story.exit(root, 0)
    mismatches = story.events("pipeline.task.result_mismatch")
    assert [attributes(m)["process.pid"] for m in mismatches] == [writer.tgid]
    assert f"below timeout ({timeout.tgid})" in mismatches[0].body


def test_the_culprit_is_named_however_long_the_script_goes_on() -> None:
    story = Story()
    root = story.command("bash")
    timeout = story.spawn(root, "timeout", "1", "python3")
    writer = story.spawn(timeout, "python3")
    story.signal(timeout, writer, signal.SIGTERM, comm="timeout")
    story.open_file(writer, "/data/out.csv")
    story.exit(writer, signal=15)
    story.exit(timeout, 124)
    helper = story.spawn(root, "tail")
    story.signal(root, helper, signal.SIGTERM)
    story.exit(helper, signal=15)
    for _ in range(30):
        story.tick(60)
    story.exit(root, 0)
    facts = [attributes(m) for m in story.events("pipeline.task.result_mismatch")]
    assert [(f["process.pid"], f["process.exit.code"]) for f in facts] == [(writer.tgid, 143)]
    assert attributes(story.span("task job"))["pipeline.task.run.result"] == "failure"


def test_a_failure_that_the_parent_passes_on_is_not_masked() -> None:
    story = Story()
    root = story.command("bash")
    child = story.spawn(root, "python3")
    story.exit(child, 2)
    story.exit(root, 2)
    assert not story.events("pipeline.task.result_mismatch")
    assert attributes(story.span("task job"))["error.type"] == "exit_2"


@pytest.mark.parametrize(
    ("argv", "code", "after_ms"),
    [(("grep", "x"), 1, 50), (("locale", "x"), 1, 2), (("readlink", "x"), 1, 400)],
)
def test_answers_are_not_failures(argv: tuple[str, ...], code: int, after_ms: float) -> None:
    story = Story()
    root = story.command("bash")
    child = story.spawn(root, *argv)
    story.exit(child, code, after_ms=after_ms)
    story.exit(root, 0)
    assert not story.events("pipeline.task.result_mismatch")


def test_a_plain_failure_is_masked_but_does_not_turn_the_result() -> None:
    story = Story()
    root = story.command("bash")
    child = story.spawn(root, "dbt", "run")
    story.exit(child, 2)
    story.exit(root, 0)
    assert len(story.events("pipeline.task.result_mismatch")) == 1
    assert attributes(story.span("task job"))["pipeline.task.run.result"] == "success"


def test_a_repeated_command_that_succeeds_takes_its_failure_back() -> None:
    story = Story()
    root = story.command("bash")
    for code in (2, 2, 0):
        story.exit(story.spawn(root, "pg_isready"), code)
    story.exit(root, 0)
    assert not story.events("pipeline.task.result_mismatch")


def test_a_helper_that_its_own_script_stops_is_not_masked() -> None:
    story = Story()
    root = story.command("bash")
    helper = story.spawn(root, "tail", "-f", "log")
    story.signal(root, helper, signal.SIGTERM)
    story.exit(helper, signal=15)
    story.exit(root, 0)
    assert not story.events("pipeline.task.result_mismatch")
    assert story.events("process.killed")[0].severity == Severity.WARN


def test_airflow_is_known_by_its_environment_at_any_depth() -> None:
    story = Story()
    bash = story.spawn(INIT, "bash", environ=airflow("load", MAP_INDEX="3"))
    fork = story.fork(bash)
    child = story.spawn(fork, "python3")
    story.exit(child, 1)
    facts = attributes(story.span("python3"))
    assert (facts["pipeline.system.name"], facts["pipeline.name"], facts["pipeline.task.name"]) == (
        "airflow",
        "etl",
        "load",
    )
    assert (facts["pipeline.task.map_index"], facts["pipeline.mapping.source"]) == (3, "env")


def test_retries_are_attempts_of_one_run_with_a_link() -> None:
    story = Story()
    for attempt in (1, 2):
        key = story.spawn(INIT, "bash", environ=airflow(attempt=attempt))
        story.exit(key, 1 if attempt == 1 else 0)
        story.tick(6)
    story.tick(61)
    first, second = (s for s in story.spans if s.name == "task load")
    assert first.trace_id == second.trace_id
    assert first.span_id != second.span_id
    assert second.links[0].span_id == first.span_id
    assert dict(second.links[0].attributes) == {"pipeline.link.type": "retry_of"}
    assert attributes(story.span("run etl"))["pipeline.run.result"] == "success"


def test_two_hosts_give_the_same_trace_and_task_ids() -> None:
    spans = []
    for _ in range(2):
        story = Story()
        story.exit(story.spawn(INIT, "bash", environ=airflow()))
        story.tick(6)
        spans.append(story.span("task load"))
    assert (spans[0].trace_id, spans[0].span_id) == (spans[1].trace_id, spans[1].span_id)


def test_traceparent_in_the_environment_joins_the_applications_trace() -> None:
    story = Story()
    context = "TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    bash = story.spawn(INIT, "bash", environ=(*airflow(), context, "TRACESTATE=a=b"))
    child = story.spawn(bash, "python3")
    story.exit(child)
    story.exit(bash)
    story.tick(6)
    task, python = story.span("task load"), story.span("python3")
    assert task.trace_id == python.trace_id == bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
    assert (task.parent_id, task.remote_parent, task.trace_state) == (
        bytes.fromhex("b7ad6b7169203331"),
        True,
        "a=b",
    )
    story.tick(61)
    assert not [s for s in story.spans if s.name.startswith("run ")]


def test_a_joined_task_leaves_the_rest_of_its_run_alone() -> None:
    story = Story()
    plain = story.spawn(INIT, "bash", environ=airflow("plain"))
    joined = story.spawn(
        INIT,
        "bash",
        environ=(*airflow("joined"), "TRACEPARENT=00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"),
    )
    for key in (joined, plain):
        story.exit(key)
    story.tick(6)
    story.tick(61)
    assert story.span("task joined").trace_id == b"\xab" * 16
    assert story.span("task plain").trace_id == story.span("run etl").trace_id != b"\xab" * 16
    ends = {
        attributes(e)["pipeline.task.name"]: e.trace_id for e in story.events("pipeline.task.end")
    }
    assert ends == {"joined": b"\xab" * 16, "plain": story.span("run etl").trace_id}


def test_a_childs_own_traceparent_wins_for_the_child() -> None:
    story = Story()
    bash = story.spawn(INIT, "bash", environ=airflow())
    child = story.spawn(
        bash,
        "python3",
        environ=(*airflow(), "TRACEPARENT=00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"),
    )
    story.exit(child)
    span = story.span("python3")
    assert (span.trace_id, span.parent_id, span.remote_parent) == (b"\xab" * 16, b"\xcd" * 8, True)


def test_an_unsampled_traceparent_is_a_link_only() -> None:
    story = Story()
    bash = story.spawn(
        INIT, "bash", environ=(*airflow(), "TRACEPARENT=00-" + "ab" * 16 + "-" + "cd" * 8 + "-00")
    )
    story.exit(bash)
    story.tick(6)
    task = story.span("task load")
    assert task.trace_id != b"\xab" * 16
    assert task.links[0].trace_id == b"\xab" * 16


@pytest.mark.parametrize(
    "value",
    [
        "",
        "junk",
        "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "0" * 32 + "-" + "b" * 16 + "-01",
    ],
)
def test_a_broken_traceparent_is_ignored(value: str) -> None:
    story = Story()
    bash = story.spawn(INIT, "bash", environ=(*airflow(), f"TRACEPARENT={value}"))
    story.exit(bash)
    story.tick(6)
    assert not story.span("task load").remote_parent


def test_short_and_execless_children_fold_into_their_parent() -> None:
    story = Story()
    root = story.command("bash")
    for _ in range(3):
        story.exit(story.spawn(root, "date"), after_ms=2)
    story.exit(story.fork(root), after_ms=500)
    story.exit(root)
    assert attributes(story.span("bash"))["process.children.folded"] == 4
    assert {s.name for s in story.spans} == {"run job", "task job", "bash"}


def test_a_failing_short_child_gets_its_span() -> None:
    story = Story()
    root = story.command("bash")
    story.exit(story.spawn(root, "mv"), 1, after_ms=1)
    assert story.span("mv").error == "exit_1"


def test_spans_never_hang_below_a_parent_that_is_not_sent() -> None:
    story = Story()
    root = story.command("bash")
    middle = story.fork(root)
    leaf = story.spawn(middle, "python3")
    story.exit(middle, after_ms=2)
    story.exit(leaf)
    story.exit(root)
    sent = {s.span_id for s in story.spans}
    assert all(s.parent_id in sent or s.parent_id == b"" for s in story.spans)


def test_unattributed_processes_make_no_spans_but_are_counted() -> None:
    story = Story()
    stranger = story.spawn(INIT, "nginx")
    story.exit(stranger, 1)
    story.finish()
    assert not story.signals
    assert story.core.policy_drops["unattributed"] == 3


def test_a_reused_pid_is_another_process() -> None:
    story = Story()
    first = story.spawn(INIT, "bash", environ=airflow("a"))
    story.exit(first)
    again = story.fork(INIT, pid=first.tgid)
    story.exit(again, 1)
    story.tick(6)
    assert attributes(story.span("task a"))["pipeline.task.run.result"] == "success"
    assert story.core.policy_drops["unattributed"] == 3  # both forks, and the exit of the second


def test_a_second_exit_of_one_process_is_counted_and_ignored() -> None:
    story = Story()
    root = story.command("bash")
    child = story.spawn(root, "python3")
    story.exit(child, 1)
    story.exit(child, 1)
    assert len([s for s in story.spans if s.name == "python3"]) == 1
    assert story.core.tree.drops["second_exit"] == 1


def test_an_exit_of_a_process_never_seen_is_tolerated() -> None:
    story = Story()
    story.exit(ProcessKey(4000, 5), signal=9)
    story.exit(story.command("true"))
    assert story.span("task job").error == ""
    assert story.core.tree.drops["stub"] == 1


def test_lost_events_leave_a_record_and_mark_what_follows() -> None:
    story = Story()
    root = story.command("bash")
    story.core.missing.note_losses({("exec", "ring_full"): 24}, story.now)
    story.core.missing.note_losses({("exec", "ring_full"): 24}, story.now)
    story.exit(root, 1)
    lost = story.events("pipeline.observer.events_lost")
    assert [attributes(r)["pipeline.observer.events_lost"] for r in lost] == [24]
    assert attributes(story.events("process.exit")[0])["pipeline.observer.incomplete"] is True
    story.tick(120)
    story.exit(story.command("later"), 1)
    assert "pipeline.observer.incomplete" not in attributes(story.events("process.exit")[1])


def test_losses_among_processes_that_nobody_watches_leave_a_record_and_mark_no_work() -> None:
    story = Story()
    root = story.command("bash")
    story.core.missing.note_losses({("fork", "unwatched"): 7}, story.now)
    story.exit(root, 1)
    assert [
        attributes(r)["pipeline.observer.events_lost"]
        for r in story.events("pipeline.observer.events_lost")
    ] == [7]
    assert "pipeline.observer.incomplete" not in attributes(story.events("process.exit")[0])


def test_what_was_not_observed_of_a_task_is_in_its_report() -> None:
    story = Story()
    root = story.command("bash")
    execution = next(iter(story.core.executions.open.values()))
    began = execution.start_ns
    story.core.missing.note_blind(Blind("late_attach", began, began + 56 * MS, root), story.now)
    story.core.missing.note_blind(Blind("late_attach", began, began + 20 * MS, root), story.now)
    story.core.missing.note_blind(
        Blind("interrupted", began + 100 * MS, 0, why="the helper was killed"), story.now
    )
    (late, on) = [u.text for u in story.core.case(execution, story.now + SECOND).unseen]
    assert late == (
        "the first at most 0.056 s of system calls of 2 processes (the hooks were attached later)"
    )
    assert on == "system calls from 0.100 s on (the helper was killed)"
    story.core.missing.note_blind(
        Blind("interrupted", began + 100 * MS, began + 400 * MS, why="the helper was killed"),
        story.now,
    )
    case = story.core.case(execution, story.now + SECOND)
    assert (
        case.unseen[1].text == "system calls from 0.100 to 0.400 s (the helper was killed)"
        and case.interrupted
    )
    story.exit(story.spawn(root, "python3", "load.py"), 1)
    story.exit(root, 1)
    assert investigate(story.core.case(execution, story.now)).verdict == "incomplete"
    records = story.events("pipeline.observer.blind")
    assert [attributes(r)["pipeline.observer.blind.duration"] for r in records] == [0.0, 0.3]
    story.tick(1)
    later = story.command("later", name="later")
    (execution,) = [e for e in story.core.executions.open.values() if e.root.key == later]
    assert story.core.case(execution, story.now).unseen == ()


def test_a_process_whose_exit_was_lost_ends_without_an_outcome() -> None:
    story = Story()
    root = story.command("bash")
    story.core.unended.vanished([root], story.now)
    story.tick()
    facts = attributes(story.span("task job"))
    assert facts["pipeline.task.run.result"] == "unknown"
    assert facts["pipeline.observer.incomplete"] is True
    assert "process.exit.code" not in attributes(story.span("bash"))


def test_what_is_open_at_the_end_is_unfinished_not_failed() -> None:
    story = Story()
    story.spawn(INIT, "bash", environ=airflow())
    story.finish()
    task = story.span("task load")
    assert attributes(task)["pipeline.observer.incomplete"] is True
    assert task.error == ""


def test_a_long_task_sends_heartbeats() -> None:
    story = Story()
    story.spawn(INIT, "bash", environ=airflow())
    for _ in range(5):
        story.tick(30)
    assert len(story.events("pipeline.task.heartbeat")) == 2


def test_a_title_shows_and_a_piece_of_argv_is_none() -> None:
    story = Story()
    root = story.command("worker", "--queue", "a")
    story.title(root, "wor")
    story.title(root, "worker: task 7")
    story.exit(root)
    assert attributes(story.span("worker"))["process.title"] == "worker: task 7"


def test_hostile_names_are_escaped_in_sentences_and_whole_in_attributes() -> None:
    story = Story()
    root = story.command("evil\x1b]0;x\x07\u202e")
    story.open_file(root, "/data/\x1b[2Jout")
    story.exit(root, signal=9)
    for record in story.logs:
        assert not any(ord(c) < 32 or c == "\u202e" for c in record.body)
    assert attributes(story.events("file.partial_write")[0])["file.path"] == "/data/\x1b[2Jout"


def test_argv_is_sent_only_when_asked_for_and_then_redacted() -> None:
    story = Story(CoreOptions(include_argv=True))
    root = story.command("psql", "--password=hunter2", "db")
    story.exit(root)
    assert attributes(story.span("psql"))["process.command_args"] == (
        "psql",
        "--password=[redacted:value]",
        "db",
    )


def test_creation_time_stays_though_the_clock_is_set() -> None:
    story = Story()
    root = story.command("bash")
    story.core.set_wall_offset(WALL_OFFSET_NS + 7 * MS)
    story.exec(root, "python3")
    story.core.set_wall_offset(WALL_OFFSET_NS)
    story.oom(root)
    story.core.set_wall_offset(WALL_OFFSET_NS + 9 * MS)
    story.title(root, "worker: busy")
    story.exit(root, signal=9)
    times = {
        attributes(s)["process.creation.time"]
        for s in story.signals
        if "process.pid" in attributes(s)
    }
    assert len(times) == 1


def test_a_second_image_is_described_by_itself() -> None:
    """Its first image was described in a record already."""
    story = Story()
    root = story.command("bash")
    story.oom(root)
    story.exec(root, "python3")
    story.exit(root, signal=9)
    assert attributes(story.span("python3"))["process.executable.name"] == "python3"


def test_a_flood_of_forged_identities_is_bounded_and_leaves_room_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One user gets half of the table, and each later one half of what is left."""
    monkeypatch.setattr("receiver.work.executions.OPEN_LIMIT", 100)
    story = Story()
    for index in range(80):
        story.spawn(INIT, "bash", environ=airflow(run=f"forged_{index}"))
    assert len(story.core.executions.open) == 50
    assert story.core.attempts.drops["too_many_executions"] == 30
    for index in range(20):
        story.spawn(INIT, "bash", environ=airflow(run=f"honest_{index}"), uid=1001)
    assert sum(e.identity.owner == 1001 for e in story.core.executions.open.values()) == 20


def test_the_ended_work_of_one_user_does_not_make_anothers_be_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A late process of a forgotten attempt would open it again, and send its span twice."""
    monkeypatch.setattr("receiver.work.executions.REMEMBERED_ENDED", 20)
    story = Story()
    story.exit(story.spawn(INIT, "bash", environ=airflow(run="honest"), uid=1001))
    story.tick(70)
    for index in range(60):
        story.exit(story.spawn(INIT, "bash", environ=airflow(run=f"forged_{index}")))
    story.tick(70)
    story.exit(story.spawn(INIT, "bash", environ=airflow(run="honest"), uid=1001))
    story.tick(70)
    assert story.core.attempts.drops["late_process"] == 1
    ids = [s.span_id for s in story.spans]
    assert len(ids) == len(set(ids))


def test_room_comes_back_when_work_and_its_runs_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.work.executions.OPEN_LIMIT", 10)
    story = Story()
    for index in range(30):
        story.exit(story.spawn(INIT, "bash", environ=airflow(run=f"r{index}")))
        story.now += 70_000 * MS
        story.core.tick(story.now)
    assert not story.core.attempts.drops
    assert not story.core.executions.open and not story.core.executions.runs


def test_a_user_claims_so_much_work_a_second_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.work.shares.BURST", 40)
    story = Story()
    for index in range(60):
        story.exit(story.spawn(INIT, "bash", environ=airflow(run=f"forged_{index}")), after_ms=0.1)
    refused = story.core.attempts.drops["too_many_claims"]
    assert 0 < refused <= 20
    story.spawn(INIT, "bash", environ=airflow(run="honest"), uid=1001)
    assert any(e.identity.owner == 1001 for e in story.core.executions.open.values())
    story.now += 1_000 * MS
    story.spawn(INIT, "bash", environ=airflow(run="later"))
    assert story.core.attempts.drops["too_many_claims"] == refused


def test_work_inside_of_a_command_that_we_started_has_no_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("receiver.work.shares.BURST", 5)
    story = Story()
    root = story.command("bash")
    for index in range(20):
        story.exit(story.spawn(root, "bash", environ=airflow(run=f"inner_{index}")), after_ms=0.1)
    assert not story.core.attempts.drops


@pytest.mark.parametrize("mapped", [False, True])
def test_a_claim_is_compared_with_few_others_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    """Comparing each with all stopped the service for minutes:
    6,000 claims by a user were 18 million comparisons."""
    compared = 0
    agrees = Identity.agrees

    def counted(self: Identity, other: Identity) -> bool:
        nonlocal compared
        compared += 1
        return agrees(self, other)

    monkeypatch.setattr(Identity, "agrees", counted)
    story = Story()
    for index in range(500):
        environ = (
            (*airflow(), f"AIRFLOW_CTX_MAP_INDEX={index}")
            if mapped
            else airflow(run=f"forged_{index}")
        )
        story.spawn(INIT, "bash", environ=environ)
    assert len(story.core.executions.open) == 500
    assert compared <= 1_000


def test_the_tree_is_bounded_and_counts_what_it_forgets() -> None:
    story = Story(CoreOptions(process_limit=100))
    for _ in range(150):
        story.fork(INIT)
    assert len(story.core.tree) == 100
    assert story.core.tree.drops["evicted_live"] == 50


def test_memory_of_the_dead_is_given_back() -> None:
    story = Story()
    parent = story.command("bash")
    for _ in range(300):
        child = story.fork(parent)
        story.exit(child, 1, after_ms=0)
    story.tick(10)
    assert len(story.core.tree) == 1


def test_metrics_have_bounded_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.work.shares.BURST", 20_000)
    story = Story()
    for index in range(2100):
        story.exit(story.spawn(INIT, "bash", environ=airflow(f"task_{index}")), after_ms=0)
    story.tick(6)
    durations = next(m for m in story.core.metrics() if m.name == "pipeline.task.duration")
    names = {dict(p.attributes)["pipeline.task.name"] for p in durations.points}
    assert len(names) <= 2001
    assert "_other" in names


def test_counts_balance_for_processes() -> None:
    story = Story()
    root = story.command("bash")
    for code in (0, 1, 0):
        story.exit(story.spawn(root, "step"), code)
    story.exit(root)
    by_name = {m.name: m for m in story.core.metrics()}
    assert by_name["pipeline.task.process.count"].points[0].value == 0
    assert by_name["pipeline.task.active"].points[0].value == 0


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
