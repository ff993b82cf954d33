"""What people see: the lines below a process, and the story of a task."""

from __future__ import annotations

import os

from receiver.events import (
    CallFailed,
    CallKind,
    Connection,
    ConnectionStage,
    ProcessSample,
    SubjectKind,
)
from receiver.render.details import Details, details_of, size
from receiver.render.process_tree import summary
from receiver.render.rows import Views
from receiver.render.run_json import as_json
from receiver.render.timeline import Timeline
from receiver.work.tables import Facts
from receiver.work.worker import Worker
from tests.builders import Calls, Story

OUT = os.O_WRONLY | os.O_CREAT


def story() -> tuple[Story, Views, Timeline, dict[int, Details]]:
    found = Story()
    views = Views(found.core.facts)
    timeline = Timeline(found.core.tree, found.core.facts)
    kept: dict[int, Details] = {}

    def ended(process: Worker) -> None:
        views.process_ended(process)
        kept[process.key.tgid] = details_of(process, found.core.facts)

    found.core.listeners.add(Calls(process_ended=ended, event=timeline.note))
    root = found.command("bash", "-c", "x")
    worker = found.spawn(
        root, "python3", "-u", "/work/clean.py", "/data/raw\x1b[31m.csv", "/data/clean.csv"
    )
    found.reads(worker, "/work/clean.py", inode=2)
    found.reads(worker, "/data/raw\x1b[31m.csv", inode=3, size=20_000)
    found.writes(worker, "/data/clean.tmp", inode=4, size=5)
    found.renames(worker, "/data/clean.tmp", "/data/clean.csv")
    log = found.opens(
        worker, "/var/log/task.log", OUT | os.O_APPEND, inode=5, size=9, opened_flags=1
    )
    found.closes(worker, log, written=50)
    found.fact(
        Connection,
        worker,
        connection_id=9,
        stage=ConnectionStage.FAILED,
        error=111,
        family=2,
        peer_low=0x0500000A,
        peer_port=443,
    )
    found.fact(
        CallFailed,
        worker,
        error=13,
        call=CallKind.OPEN,
        call_number=257,
        failures=3,
        subject=SubjectKind.PATH_ASKED,
        path="/data/secret",
        last_boottime_ns=found.now + 1,
    )
    found.exit(worker, 1, run_delay_ns=2_000_000_000, after_ms=100)
    found.exit(root, 1)
    return found, views, timeline, kept


def test_the_lines_below_a_process() -> None:
    _, _, _, kept = story()
    lines = next(d for d in kept.values() if d.files).lines()
    assert lines == [
        "> /data/clean.csv (5 B)",
        "< /data/raw\\x1b[31m.csv (19.5 KiB)",
        "~ 10.0.0.5:443: 1 connection, 1 refused, 0 B out, 0 B in",
        "! openat /data/secret EACCES (3 times)",
        "waited 2.00 s for a CPU",
    ]


def test_the_summary_and_its_json_tell_the_same() -> None:
    found, views, _, _ = story()
    execution = found.core.watched(found.next_pid - 1)
    assert execution is not None
    view = views.pop(execution)
    text = summary(execution, view, {}, ["files (why)"], colour=False)
    assert (
        "> /data/clean.csv (5 B)" in text
        and "not visible here: files (why)" in text
        and "\x1b" not in text
    )
    facts = as_json(execution, view, {}, ["files (why)"])
    assert facts["execution"]["outputs"] == [
        {"path": "/data/clean.csv", "state": "complete", "bytes": 5, "commit": "rename"}
    ]
    assert facts["completeness"]["blind"] == ["files (why)"]
    worker = next(p for p in facts["processes"] if p["files"])
    assert {f["path"] for f in worker["files"]} == {
        "/data/clean.csv",
        "/data/raw\\x1b[31m.csv",
        "/var/log/task.log",
    }
    assert list(worker["failures"]) == [
        {"call": "openat", "error": "EACCES", "subject": "/data/secret", "count": 3}
    ]


def test_the_story_is_in_order_and_escaped() -> None:
    found, _, timeline, _ = story()
    execution = found.core.watched(found.next_pid - 1)
    assert execution is not None
    text = timeline.text(execution)
    words = [line.split()[1] for line in text.splitlines()]
    assert " ".join(words) == (
        "fork exec fork exec opens closes opens closes opens closes rename opens closes tcp "
        "fails exit exit"
    )
    assert "\x1b" not in text and "closes" in text and "/data/clean.tmp: read 0, wrote 5" in text


def test_a_task_below_a_command_is_in_its_story() -> None:
    found = Story()
    timeline = Timeline(found.core.tree, found.core.facts)
    found.core.listeners.add(Calls(event=timeline.note))
    root = found.command("bash", "-c", "x")
    number = found.next_pid
    found.exit(found.task("load", parent=root))
    execution = found.core.watched(number)
    assert execution is not None
    assert "load" in timeline.text(execution)


def test_sizes() -> None:
    assert [size(n) for n in (0, 9_999, 10_240, 5 << 20)] == [
        "0 B",
        "9999 B",
        "10.0 KiB",
        "5.0 MiB",
    ]


def test_work_that_is_named_after_its_process_has_ended_is_shown_with_it() -> None:
    story = Story()
    views = Views(story.core.facts)
    story.core.listeners.add(
        Calls(process_ended=views.process_ended, execution_finished=views.closed)
    )
    main = story.command("snakemake", "--cores", "1")
    job = story.spawn(main, "bash", "-c", "set -euo pipefail;  exit 7 > /data/a.txt")
    story.exit(job, 7, after_ms=1)
    story.opens(main, "/work/.snakemake/incomplete/L2RhdGEvYS50eHQ=", os.O_WRONLY | os.O_CREAT)
    story.exit(main, 1)
    (execution,) = [
        e for e in story.core.executions._ended.values() if e.identity.source == "command"
    ]
    view = views.pop(execution)
    shown = view.rows[job].execution
    assert shown is not None and (shown.identity.task, shown.result) == ("a.txt", "failure")


def test_how_many_connections_were_open_at_once_is_told_when_it_was_more_than_one() -> None:
    lines: list[list[str]] = []

    for at_once in (1, 2):
        story = Story()
        facts = story.core.facts

        def ended(process: Worker, facts: Facts = facts) -> None:
            lines.append(details_of(process, facts).lines())

        client = story.command("python3", "load.py")
        story.core.listeners.add(Calls(process_ended=ended))
        values = {
            "family": 2,
            "peer_low": 0x0500000A,
            "peer_port": 443,
            "established_boottime_ns": 5,
        }
        for number in range(1, at_once + 1):
            story.fact(
                Connection, client, connection_id=number, stage=ConnectionStage.CONNECTED, **values
            )
        story.exit(client)
    assert lines == [
        ["~ 10.0.0.5:443: 1 connection, 0 B out, 0 B in"],
        ["~ 10.0.0.5:443: 2 connections, 2 at once, 0 B out, 0 B in"],
    ]


def test_a_look_is_in_the_story_when_memory_grew_by_a_tenth_since_the_last_one_told() -> None:
    story = Story()
    timeline = Timeline(story.core.tree, story.core.facts)
    story.core.listeners.add(Calls(event=timeline.note))
    root = story.command("python3", "load.py")
    number = root.tgid
    for mib in (100, 105, 120, 125, 240):
        story.fact(ProcessSample, root, anon_bytes=mib << 20, threads=1)
    story.exit(root)
    execution = story.core.watched(number)
    assert execution is not None
    told = [line for line in timeline.text(execution).splitlines() if " sample " in line]
    assert len(told) == 3
