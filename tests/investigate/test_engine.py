"""Conclusions from stories: the twins that look alike must not be told alike."""

from __future__ import annotations

import ast
import errno
import os
import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.events import (
    CallFailed,
    CallKind,
    Crash,
    Event,
    FileReason,
    NameQuery,
    OomScope,
    ProcessKey,
)
from receiver.investigate.causes import CARDS
from receiver.investigate.citations import Citations
from receiver.investigate.classes import CLASSES
from receiver.investigate.engine import CONFIDENT, conclude
from receiver.investigate.evidence import Fact
from receiver.investigate.report import cited, to_json
from receiver.kernel.decode import split
from receiver.observe.core import Core
from receiver.observe.recording import FrameKind, Recording
from receiver.observe.replay import replay, replay_frame
from receiver.observe.session import Session
from receiver.signals import Severity
from receiver.units import SECOND
from tests.builders import MS, Calls, Story, airflow, attributes
from tests.investigate.telling import cause_of, report_of, with_history

STRANGER = ProcessKey(666, 5)
INIT = ProcessKey(1, 1)
ROOT = Path(__file__).parent.parent.parent
SCENARIOS = ROOT / "tests" / "scenarios"
CAUSES = ROOT / "receiver" / "investigate" / "causes"
# not told apart from fs.slow_io (docs/accuracy.md): no rule concludes it
ONLY_RIVALS = {"fs.netfs"}


def test_137_by_the_kernel_and_137_by_somebody_are_two_things() -> None:
    causes = []
    for by_kernel in (True, False):
        story = Story()
        root = story.command("bash", "job.sh")
        step = story.spawn(root, "python3", "load.py")
        if by_kernel:
            story.oom(step)
            story.signal(step, step, signal.SIGKILL, code=128)
        else:
            story.signal(STRANGER, step, signal.SIGKILL, comm="watchdog")
        story.exit(step, signal=signal.SIGKILL)
        story.exit(root, 137)
        causes.append(cause_of(report_of(story)))
    assert causes == ["mem.cgroup_oom", "kill.supervisor"]


def test_the_trigger_of_an_oom_kill_is_not_blamed() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    story.oom(step, trigger=STRANGER)
    story.exit(step, signal=9)
    story.exit(root, 137)
    report = report_of(story)
    lead = report.hypotheses[0]
    assert (lead.cause, lead.culprit.pid) == ("mem.cgroup_oom", step.tgid)
    assert any("This does not show which process grew" in e.text for e in lead.weighed)


def test_the_host_out_of_memory_is_no_cgroup() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    story.oom(step, scope=OomScope.HOST)
    story.exit(step, signal=9)
    story.exit(root, 137)
    report = report_of(story)
    assert cause_of(report) == "mem.host_oom"
    assert {"mem.cgroup_oom", "kill.supervisor"} <= {
        r.cause for r in report.hypotheses[0].ruled_out
    }


def test_a_plain_failure_is_not_visible_and_says_what_was_normal() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    story.writes(step, "/data/out.csv")
    story.exit(step, 1)
    story.exit(root, 1)
    report = report_of(story)
    assert report.verdict == "not_visible"
    assert any("closed by the writers" in line.text for line in report.normality)
    assert "Examine the data" in report.summary


def test_a_success_is_healthy() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    story.exit(story.spawn(root, "grep", "x"), 1)
    story.exit(root)
    assert report_of(story).verdict == "healthy"


def test_lost_events_keep_it_from_concluding_from_their_absence() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    story.core.missing.note_losses({("oom_kill", "ring_full"): 3}, story.now)
    story.exit(story.spawn(root, "python3", "load.py"), 1)
    story.exit(root, 1)
    report = report_of(story)
    assert report.verdict == "incomplete"
    assert report.completeness.lost[0]["kind"] == "oom_kill"


def test_events_that_processes_without_work_lost_are_listed_and_change_no_conclusion() -> None:
    """Anybody can cause these: they must not take a report's certainty away, nor push other losses
    out of it."""
    story = Story()
    root = story.command("bash", "job.sh")
    story.core.missing.note_losses({("signal", "ring_full"): 3}, story.now)
    for count in range(1, 100):
        story.core.missing.note_losses({("exit", "unwatched"): count}, story.now)
    case = story.core.case(next(iter(story.core.executions.open.values())), story.now)
    assert [(h.kind, h.reason) for h in case.losses] == [("signal", "ring_full")] and len(
        case.unwatched_losses
    ) == 32

    story = Story()
    root = story.command("bash", "job.sh")
    story.core.missing.note_losses({("oom_kill", "unwatched"): 3}, story.now)
    story.exit(story.spawn(root, "python3", "load.py"), 1)
    story.exit(root, 1)
    report = report_of(story)
    assert report.verdict == "not_visible"
    assert report.completeness.lost[0]["reason"] == "unwatched"


def test_lost_events_lower_the_confidence_of_what_is_concluded() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    story.core.missing.note_losses({("signal", "ring_full"): 3}, story.now)
    story.oom(step)
    story.exit(step, signal=9)
    story.exit(root, 137)
    report = report_of(story)
    assert cause_of(report) == "mem.cgroup_oom"
    assert report.hypotheses[0].confidence <= 0.75
    assert any("could change this answer" in e.text for e in report.hypotheses[0].weighed)


def test_the_torn_file_is_blamed_and_not_who_checked_it() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    writer = story.spawn(root, "dbt", "run")
    story.opens(writer, "/data/out.csv", os.O_WRONLY | os.O_CREAT, inode=42)
    story.signal(STRANGER, writer, signal.SIGTERM, comm="drainer")
    story.open_file(writer, "/data/out.csv", signal=15)
    story.exit(writer, signal=signal.SIGTERM)
    checker = story.spawn(root, "python3", "validate.py")
    story.reads(checker, "/data/out.csv", inode=42, size=4096)
    story.exit(checker, 1)
    story.exit(root, 1)
    lead = report_of(story).hypotheses[0]
    assert (lead.cause, lead.culprit.path) == ("fs.truncated", "/data/out.csv")
    assert lead.culprit.sender is not None and lead.culprit.sender.pid == STRANGER.tgid


@pytest.mark.parametrize(
    ("call", "error", "cause"),
    [
        (CallKind.WRITE, errno.ENOSPC, "fs.enospc"),
        (CallKind.OPEN, errno.ENOSPC, "fs.inodes_quota"),
        (CallKind.OPEN, errno.EDQUOT, "fs.inodes_quota"),
        (CallKind.OPEN, errno.EACCES, "fs.eacces"),
        (CallKind.OPEN, errno.EMFILE, "lim.emfile"),
        (CallKind.CLONE, errno.EAGAIN, "lim.pids"),
        (CallKind.MEMORY, errno.ENOMEM, "mem.rlimit"),
        (CallKind.LOCK, errno.EAGAIN, "fs.lock"),
        (CallKind.EXEC, errno.ENOENT, "proc.interpreter"),
    ],
)
def test_the_last_failing_call_tells(call: CallKind, error: int, cause: str) -> None:
    """The same story told to two observers gives the same report, byte by byte."""
    reports = []
    for _ in range(2):
        story = Story()
        root = story.command("bash", "job.sh")
        step = story.spawn(root, "python3", "load.py")
        values = {
            "first_boottime_ns": story.now,
            "last_boottime_ns": story.now + 50 * MS,
            "failures": 1,
            "path": "/data/x",
            "subject": 1,
        }
        story.fact(CallFailed, step, call=call, error=error, call_number=1, **values)
        story.exit(step, 1)
        story.exit(root, 1)
        reports.append(report_of(story))
    assert [cause_of(r) for r in reports] == [cause, cause]
    assert to_json(reports[0]) == to_json(reports[1])


def test_a_name_that_nobody_answers_is_told_when_its_asker_fails() -> None:
    story = Story()
    root = story.command("python3", "load.py")
    story.fact(
        NameQuery,
        root,
        server_low=0x0100007F,
        family=2,
        port=53,
        query_id=7,
        question_type=1,
        labels="\x02db\x04prod",
    )
    story.step(2500)
    story.exit(root, 1)
    report = report_of(story)
    assert (cause_of(report), report.hypotheses[0].culprit.address) == ("net.dns", "127.0.0.1:53")


def test_a_masked_failure_leads_where_the_task_is_green() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "extract.py")
    story.exit(step, 3, after_ms=400)
    story.exit(root, 0)
    report = report_of(story)
    assert (cause_of(report), report.hypotheses[0].culprit.pid) == ("proc.exit_masked", root.tgid)
    assert report.symptoms[0].text.endswith("the task reported success.")


def test_a_shell_that_hands_a_status_on_is_not_accused() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "x.py")
    story.signal(step, step, signal.SIGSEGV, code=1)
    story.exit(step, signal=signal.SIGSEGV)
    story.exit(root, 139)
    report = report_of(story)
    assert (cause_of(report), report.hypotheses[0].culprit.pid) == ("crash.segv", step.tgid)


def test_a_crash_is_told_with_the_file_that_it_stood_in() -> None:
    story = Story()
    root = story.command("python3", "x.py")
    story.fact(
        Crash,
        root,
        signal=signal.SIGSEGV,
        module="/opt/lib/libarrow.so.16",
        module_offset=0x1F00,
        address=0x7F001F00,
        thread=9,
    )
    story.signal(root, root, signal.SIGSEGV, code=1)
    story.exit(root, signal=signal.SIGSEGV)
    report = report_of(story)
    assert report.summary.endswith("crashed with SIGSEGV in libarrow.so.16.")
    assert any(
        "/opt/lib/libarrow.so.16, offset 0x1f00" in e.text for e in report.hypotheses[0].weighed
    )


def test_a_partition_is_weighed_against_the_others_of_the_run_and_of_earlier_ones() -> None:
    story = with_history()
    for run in range(2):
        root = story.command("bash", "job.sh")
        step = story.spawn(root, "python3", "load.py")
        sizes = (100, 110, 95) if run == 0 else (900,)
        for number, size in enumerate(sizes):
            story.reads(
                step,
                f"/data/day={run}{number}/p.csv",
                inode=100 + run * 10 + number,
                size=size << 20,
            )
        if run:
            story.oom(step)
            story.exit(step, signal=9)
            story.exit(root, 137)
        else:
            story.exit(step)
            story.exit(root)
            story.tick()
    story.tick()
    report = list(story.core.incidents.reports.values())[-1]
    text = " ".join(e.text for e in report.hypotheses[0].weighed)
    assert (
        cause_of(report) == "mem.cgroup_oom"
        and "day=10: 900.0 MiB, which is 9.0 times the median of" in text
    )


def test_a_run_beyond_its_own_history_is_slow_and_one_within_is_not() -> None:
    story = with_history()
    verdicts = []
    for seconds in (2, 2.2, 1.9, 2.1, 2, 2.05, 9):
        root = story.command("bash", "job.sh", name="same")
        story.exit(root, after_ms=seconds * 1000)
        story.tick()
        report = list(story.core.incidents.reports.values())[-1]
        verdicts.append([s.text for s in report.symptoms])
    assert not any(verdicts[:-1])
    assert "All of its last 6 runs took less" in verdicts[-1][0]


def test_an_incident_that_comes_again_says_how_often_and_what_was_noted() -> None:
    story = with_history()
    assert story.core.history is not None
    for _ in range(3):
        root = story.command("bash", "job.sh", name="same")
        step = story.spawn(root, "python3", "load.py")
        story.oom(step)
        story.exit(step, signal=9)
        story.exit(root, 137)
        story.tick()
        report = list(story.core.incidents.reports.values())[-1]
        story.core.history.note(report.signature, "limit raised to 2 GiB")
    assert report.seen_before == 2
    assert "seen 2 times since" in report.answers.seen_before
    assert report.answers.seen_before.endswith("the fix noted then: limit raised to 2 GiB")


def test_records_of_an_incident_are_linked_to_the_trace_and_cite_kernel_events() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    story.oom(step)
    story.exit(step, signal=9)
    story.exit(root, 137)
    report = report_of(story)
    (opened,) = story.events("pipeline.incident.opened")
    assert opened.severity == Severity.ERROR and opened.trace_id == story.span("task job").trace_id
    facts = attributes(opened)
    assert (facts["pipeline.incident.cause"], facts["pipeline.incident.id"]) == (
        "mem.cgroup_oom",
        report.id,
    )
    assert len(story.events("pipeline.incident.resolved")) == 1
    uids = {str(attributes(r)["log.record.uid"]) for r in story.logs}
    refs = [
        str(attributes(r)["pipeline.evidence.ref"])
        for r in story.events("pipeline.incident.evidence")
    ]
    assert refs and any(uid.startswith(refs[0] + "-") for uid in uids)
    ruled = [attributes(r) for r in story.events("pipeline.incident.hypothesis")]
    assert {"likely", "ruled_out"} <= {r["pipeline.hypothesis.verdict"] for r in ruled}


def test_a_reader_in_another_task_joins_the_incident_of_the_writer() -> None:
    story = Story()
    writer = story.task("extract")
    story.opens(writer, "/data/out.csv", os.O_WRONLY | os.O_CREAT, inode=42)
    story.signal(STRANGER, writer, signal.SIGTERM, comm="drainer")
    story.open_file(writer, "/data/out.csv", signal=15)
    story.exit(writer, signal=signal.SIGTERM)
    story.tick(7)
    reader = story.task("validate")
    story.reads(reader, "/data/out.csv", inode=42, size=4096)
    story.exit(reader, 1)
    story.tick(7)
    story.finish()
    assert len(story.core.incidents.reports) == 1
    assert len(story.events("pipeline.incident.opened")) == 1
    report = next(iter(story.core.incidents.reports.values()))
    assert (
        report.hypotheses[0].culprit.path == "/data/out.csv" and report.execution.task == "validate"
    )


def failing(story: Story, task: str, uid: int) -> None:
    root = story.spawn(INIT, "bash", environ=airflow(task, run=f"r{uid}"), uid=uid)
    step = story.spawn(root, "python3", "load.py", uid=uid)
    story.oom(step)
    story.exit(step, signal=9)
    story.exit(root, 137)
    story.tick(7)


def test_another_user_who_reads_the_file_and_fails_does_not_replace_the_report() -> None:
    story = Story()
    writer = story.spawn(INIT, "python3", "extract.py", environ=airflow("extract"), uid=1001)
    story.opens(writer, "/data/out.csv", os.O_WRONLY | os.O_CREAT, inode=42)
    story.signal(STRANGER, writer, signal.SIGTERM, comm="drainer")
    story.open_file(writer, "/data/out.csv", signal=15)
    story.exit(writer, signal=signal.SIGTERM)
    story.tick(7)
    reader = story.spawn(
        INIT, "python3", "validate.py", environ=airflow("validate", run="forged"), uid=1000
    )
    story.reads(reader, "/data/out.csv", inode=42, size=4096)
    story.exit(reader, 1)
    story.tick(7)
    story.finish()
    reports = story.core.incidents.reports
    assert [(r.execution.task, number == r.id) for number, r in reports.items()] == [
        ("extract", True),
        ("validate", True),
    ]


def test_the_failures_of_one_user_take_no_report_from_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("receiver.investigate.incidents.KEPT_REPORTS", 10)
    story = Story()
    failing(story, "pay", 1001)
    for number in range(20):
        failing(story, f"forged_{number}", 1000)
    found = [r.execution.task for r in story.core.incidents.reports.values()]
    assert len(found) == 10 and found[0] == "pay"
    assert set(story.core.incidents.owners) == set(story.core.incidents.reports)


def test_every_class_is_told_apart_from_rivals_that_exist() -> None:
    assert len(CARDS) == len(CLASSES), "one name twice"
    for card in CARDS:
        assert card.rivals, card.name
        assert all(r in CLASSES for r in card.rivals), card.name
        assert card.fix.text.endswith(".") and card.predicts


def test_a_card_is_in_the_file_of_its_name_and_names_classes_that_exist() -> None:
    """One with a typing error would end in a KeyError on the day it is needed, or never match."""
    families = {card.family for card in CARDS}
    for card in CARDS:
        path = CAUSES / f"{card.name.replace('.', '/')}.py"
        assert "CARD = cause_class(" in path.read_text()
        assert bool(card.find) is (card.name not in ONLY_RIVALS), card.name
        for relation in (*card.brings, *card.begins_with):
            for name in relation.names:
                known = (
                    name.removesuffix(".") in families if name.endswith(".") else name in CLASSES
                )
                assert known, (card.name, name)
    written = {name for path in CAUSES.rglob("*.py") for name in _named_classes(path)}
    assert written == set(CLASSES)
    (stated,) = re.findall(r"(\d+) cause classes", (ROOT / "docs/usage.md").read_text())
    assert int(stated) == len(CLASSES)


def test_no_other_module_names_a_class() -> None:
    """What holds of a class stands on its card: no rule elsewhere may ask for one by name.

    The table of weights is no rule: it has the counts of each class and clue.
    """
    for folder in ("receiver", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            if not path.is_relative_to(CAUSES) and path != CAUSES.parent / "weights.py":
                assert not set(_named_classes(path)) & set(CLASSES), path


def _named_classes(path: Path) -> Iterator[str]:
    families = "|".join(sorted({card.family for card in CARDS}))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for word in node.value.split():
                if re.fullmatch(rf"({families})\.[a-z_]+", word):
                    yield word


def test_a_case_is_bounded() -> None:
    from receiver.investigate.casebook import ACTORS_PER_CASE

    story = Story()
    root = story.command("bash", "job.sh")
    for _ in range(ACTORS_PER_CASE + 500):
        story.exit(story.spawn(root, "true"), after_ms=20)
    execution = next(iter(story.core.executions.open.values()))
    case = story.core.case(execution, story.now)
    assert len(case.actors) <= ACTORS_PER_CASE + 1
    assert case.left_out == 500


RECORDINGS = sorted(
    [*SCENARIOS.glob("*.kw"), *SCENARIOS.glob("incidents/*.kw"), *SCENARIOS.glob("frameworks/*.kw")]
)


def _note(seen: set[str], event: Event) -> None:
    seen.add(f"{event.cpu}-{event.sequence}")


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.stem)
def test_reports_on_recordings_cite_nothing_that_was_not_seen(path: Path) -> None:
    """Whole, the same twice, byte by byte."""
    told = []
    for _ in range(2):
        recording = Recording(path)
        core = Core(recording.header.host)
        seen: set[str] = set()
        core.listeners.add(Calls(event=partial(_note, seen)))
        replay(Session(core), recording)
        for report in core.incidents.reports.values():
            assert cited(report) <= set(report.events)
            assert {i for i in report.events if not i.startswith(("lost-", "clock-"))} <= seen
        told.append([to_json(r) for r in core.incidents.reports.values()])
    assert told[0] == told[1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_reports_on_damaged_recordings_cite_nothing_that_was_not_seen(data: st.DataObject) -> None:
    """Cut short, with holes, with records out of order or twice."""
    recording = Recording(data.draw(st.sampled_from(RECORDINGS)))
    frames = list(recording)
    frames = frames[: data.draw(st.integers(1, len(frames)))]
    core = Core(recording.header.host)
    seen: set[str] = set()
    core.listeners.add(Calls(event=partial(_note, seen)))
    session = Session(core)
    drop = data.draw(st.floats(0, 0.4))
    chance = data.draw(st.randoms(use_true_random=False))
    last = 0
    for frame in frames:
        last = max(last, frame.time_ns)
        if frame.kind == FrameKind.BATCH:
            records = [r for r in split(frame.payload) if chance.random() >= drop]
            if chance.random() < 0.1:
                chance.shuffle(records)
            session.batch(records + records[: int(chance.random() < 0.05)], frame.time_ns)
        else:
            replay_frame(session, frame)
    session.finish(last)
    for report in core.incidents.reports.values():
        assert cited(report) <= set(report.events)
        assert {i for i in report.events if not i.startswith(("lost-", "clock-"))} <= seen


def test_a_moved_clock_is_named() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    story.core.set_wall_offset(1_700_000_000_000_000_000 - 30 * 10**9, story.now)
    story.exit(root, 1)
    report = report_of(story)
    assert cause_of(report) == "time.clock" and "-30.0 s" in report.summary


def test_confidence_is_no_certainty() -> None:
    story = Story()
    root = story.command("python3", "x.py")
    story.oom(root)
    story.exit(root, signal=9)
    story.finish()
    execution = story.core.watched(root.tgid)
    assert execution is not None
    ranked = conclude(story.core.case(execution, story.now)).ranked
    assert CONFIDENT < ranked[0].confidence < 1
    assert [r.confidence for r in ranked] == sorted((r.confidence for r in ranked), reverse=True)


def test_what_came_after_the_failure_did_not_cause_it() -> None:
    """A service that its starter ends 25 s after its start looks like a time limit;
    the task had failed long before."""
    story = Story()
    root = story.command("python3", "drive.py")
    service = story.spawn(root, "python3", "service.py")
    helper = story.spawn(service, "python3", "helper.py")
    step = story.spawn(root, "python3", "load.py")
    story.step(10_000)
    story.signal(STRANGER, step, signal.SIGKILL, comm="watchdog")
    story.exit(step, signal=signal.SIGKILL)
    story.step(15_000)
    story.signal(root, service, signal.SIGTERM, comm="python3")
    story.exit(service, signal=signal.SIGTERM)
    story.exit(helper, after_ms=2_000)
    story.exit(root, 1)
    lead = report_of(story).hypotheses[0]
    assert (lead.cause, lead.culprit.pid) == ("kill.supervisor", STRANGER.tgid)


def test_a_service_that_is_stopped_by_who_started_it_masks_nothing() -> None:
    """Asked, then killed with its parent: nothing was lost. Killed without a word while at work:
    something was."""
    for asked in (True, False):
        story = Story()
        root = story.command("python3", "drive.py")
        service = story.spawn(root, "python3", "scheduler.py")
        worker = story.fork(service)
        story.step(3_000)
        for number in (signal.SIGTERM, signal.SIGKILL) if asked else (signal.SIGKILL,):
            for each in (service, worker):
                story.signal(root, each, number, comm="python3")
            story.step(1_000)
        story.exit(worker, signal=signal.SIGKILL, after_ms=1)
        story.exit(service, signal=signal.SIGKILL, after_ms=1)
        story.exit(root)
        report = report_of(story)
        assert (report.verdict, report.execution.outcome) == (
            ("healthy", "success") if asked else ("incident", "failure")
        )


def test_a_writer_that_reads_its_file_again_was_done_with_writing() -> None:
    """Executors of Spark write parts and read parts; a part of a whole file is all that a reader of
    Parquet takes."""
    story = Story()
    root = story.command("java", "driver")
    writer, reader = (
        story.spawn(root, "java", "executor 0"),
        story.spawn(root, "java", "executor 1"),
    )
    story.writes(writer, "/data/part-0.parquet", inode=42, size=1 << 20)
    again = story.opens(reader, "/data/part-0.parquet", inode=42, size=1 << 20)
    story.closes(reader, again, read=1 << 16, size=1 << 20)
    story.step(3_000)
    late = story.opens(writer, "/data/part-0.parquet", inode=42, size=1 << 20)
    story.closes(writer, late, read=1 << 16, size=1 << 20)
    for each in (reader, writer, root):
        story.exit(each)
    report = report_of(story)
    assert (report.verdict, report.hypotheses) == ("healthy", ())


@pytest.mark.parametrize(("status", "cause"), [(1, "proc.exit_masked"), (3, "none.not_visible")])
def test_a_failure_that_a_pipe_swallowed_and_a_check_found_later(status: int, cause: str) -> None:
    """`step | tail` and then a test that fails: the shell's own status is another one.
    With pipefail it is the step's."""
    story = Story()
    root = story.command("bash", "job.sh")
    step, reader = story.fork(root), story.fork(root)
    story.exec(step, "python3", "step.py", stdout_inode=77, parent=root)
    story.exec(reader, "tail", "-n", "1", stdin_inode=77, parent=root)
    story.exit(step, 3, after_ms=300)
    story.exit(reader)
    story.exit(root, status)
    assert cause_of(report_of(story)) == cause


def test_the_texts_of_a_report_are_bounded() -> None:
    """Reports are kept in memory, and a path may have 4,096 bytes. Its end names the file."""
    story = Story()
    story.command("python3")
    (execution,) = story.core.executions.open.values()
    cited_facts = Citations(story.core.case(execution, story.now))
    text = f"It opens /data/{'x' * 4000}/missing.csv."
    cited_facts.cite([Fact(id="1-1", kind="call_failed", at_ns=story.now, pid=1, text=text)])
    (event,) = cited_facts.as_json().values()
    told = str(event["text"])
    assert (
        len(told) <= 1000 and told.startswith("It opens /data/x") and told.endswith("/missing.csv.")
    )


NOTHING, LINES, BLOCKS = (0, 0), (300, 100), (409_600, 100)  # bytes, calls


@pytest.mark.parametrize(
    ("descriptor", "wrote", "idle_ms", "said"),
    [
        (3, NOTHING, 0, ""),
        (3, LINES, 0, "It was writing /data/out.csv at that moment"),
        (3, LINES, 5_000, "It had not closed /data/out.csv"),
        (1, LINES, 0, ""),  # a server's log
        (1, BLOCKS, 5_000, ""),  # an export that was over
        (1, BLOCKS, 0, "It was writing /data/out.csv at that moment"),
    ],
)
def test_a_signal_stops_a_writer_only_in_the_middle_of_its_output(
    descriptor: int, wrote: tuple[int, int], idle_ms: float, said: str
) -> None:
    """A process that wrote nothing shares the position of the shell's open file. A server that is
    stopped by somebody else, and whose standard output is a file, is not cut short."""
    story = Story()
    root = story.command("bash", "job.sh")
    worker = story.spawn(root, "python3", "load.py")
    number = story.opens(worker, "/data/out.csv", os.O_WRONLY | os.O_CREAT, inode=42)
    last_use_ns = story.now + SECOND // 2
    story.step(500 + idle_ms)
    story.signal(STRANGER, worker, signal.SIGTERM, comm="drainer", handled=1)
    story.open_file(
        worker, "/data/out.csv", reason=FileReason.SIGNAL, signal=15, descriptor=descriptor
    )
    story.closes(
        worker,
        number,
        written=wrote[0],
        write_calls=wrote[1],
        last_use_boottime_ns=last_use_ns if wrote[0] else 0,
    )
    story.exit(worker, 0, write_call_bytes=wrote[0])
    story.exit(root, 0)
    report = report_of(story)
    assert report.verdict == ("incident" if said else "healthy")
    told = to_json(report).decode()
    assert said in told
    assert ("was writing" in told) == ("was writing" in said)
