"""Incidents as they are sent, joined and kept, also those of several users."""

from __future__ import annotations

import os
import signal

import pytest

from receiver.events import ProcessKey
from receiver.signals import Severity
from tests.builders import Story, airflow, attributes
from tests.investigate.telling import report_of

STRANGER = ProcessKey(666, 5)
INIT = ProcessKey(1, 1)


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
