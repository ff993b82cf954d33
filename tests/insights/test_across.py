"""A cause on host a, its symptom on host b: what is concluded, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from receiver import semconv as sc
from receiver.insights.across import across
from receiver.insights.runs import (
    FACTS_PER_RUN,
    PATIENCE_SECONDS,
    RUNS,
    SETTLE_SECONDS,
    RemoteFact,
    RemoteRun,
    RemoteRuns,
)
from receiver.insights.service import Insights
from receiver.investigate.report import cited
from receiver.signals import LogRecord, ResourceAttributes, Severity
from receiver.units import SECOND

TRACE = "ab" * 16
ADDRESSES = {"a": ("10.0.0.1",), "b": ("10.0.0.2",)}


class Teller:
    """Agents of two hosts, as far as their event records go."""

    def __init__(self) -> None:
        self.facts: list[RemoteFact] = []

    def say(
        self,
        host: str,
        kind: str,
        at: float,
        text: str = "it happened.",
        severity: int = Severity.ERROR,
        **values: Any,
    ) -> RemoteFact:
        values = {k.replace("__", "."): v for k, v in values.items()}
        base = {
            sc.PIPELINE_SYSTEM_NAME: "x",
            sc.PIPELINE_NAME: "p",
            sc.PIPELINE_RUN_ID: "r1",
            sc.PIPELINE_TASK_NAME: f"task_{host}",
        }
        told = RemoteFact(
            host=host,
            addresses=ADDRESSES[host],
            uid=f"u{len(self.facts)}",
            at_ns=int(at * SECOND),
            kind=kind,
            severity=severity,
            text=text,
            trace_id=TRACE,
            span_id=f"span{host}",
            values=base | values,
        )
        self.facts.append(told)
        return told

    def incident(
        self,
        host: str,
        at: float,
        cause: str,
        culprit: str,
        confidence: float = 0.9,
        score: float = 5.0,
    ) -> None:
        number = f"i{host}"
        self.say(
            host,
            sc.EVENT_PIPELINE_INCIDENT_OPENED,
            at,
            pipeline__incident__id=number,
            pipeline__incident__cause=cause,
        )
        self.say(
            host,
            sc.EVENT_PIPELINE_INCIDENT_HYPOTHESIS,
            at,
            f"{culprit} is to blame.",
            Severity.INFO,
            pipeline__incident__id=number,
            pipeline__hypothesis__rank=1,
            pipeline__hypothesis__name=cause,
            pipeline__hypothesis__culprit=culprit,
            pipeline__hypothesis__confidence=confidence,
            pipeline__hypothesis__score=score,
        )

    def run(self) -> RemoteRun:
        runs = RemoteRuns()
        for fact in self.facts:
            runs.add(fact, 0.0)
        ((_, run),) = runs.due(SETTLE_SECONDS)
        return run


def a_kill_and_a_reset(
    *, peer: str = "10.0.0.1", later: float = 0.2, at_b: str = "net.reset_short"
) -> Teller:
    teller = Teller()
    teller.say(
        "a",
        sc.EVENT_PROCESS_OOM_KILLED,
        100.0,
        "python (7) was killed.",
        process__pid=7,
        process__executable__name="python",
    )
    teller.incident("a", 100.5, "mem.cgroup_oom", "process python (7)")
    teller.say(
        "b",
        sc.EVENT_NETWORK_CONNECTION_FAILED,
        100.0 + later,
        "reset",
        network__peer__address=peer,
        network__peer__port=8080,
    )
    teller.say(
        "b",
        sc.EVENT_PIPELINE_TASK_END,
        100.3 + later,
        "task_b ended: failure.",
        pipeline__task__run__result="failure",
    )
    teller.incident(
        "b", 100.9, at_b, f"endpoint {peer}:8080" if at_b.startswith("net.") else "process java (9)"
    )
    return teller


def test_the_other_end_of_a_broken_connection_is_named() -> None:
    report = across(TRACE, a_kill_and_a_reset().run())
    assert report is not None
    lead = report.hypotheses[0]
    assert (lead.cause, lead.culprit.name, lead.culprit.pid, lead.culprit.host) == (
        "mem.cgroup_oom",
        "python",
        7,
        "a",
    )
    assert (
        lead.confidence > 0.9
        and report.execution.task == "task_b"
        and report.execution.trace_id == TRACE
    )
    assert [r.cause for r in lead.ruled_out] == ["net.reset_short"]
    assert report.answers.what_started_it[0].by == "socket"
    assert cited(report) <= set(report.events)


@pytest.mark.parametrize(
    "teller",
    [
        a_kill_and_a_reset(peer="10.0.0.9"),  # the connection went elsewhere
        a_kill_and_a_reset(later=-30.0),  # it broke half a minute before
        a_kill_and_a_reset(later=90.0),  # or long after
    ],
    ids=["another peer", "before", "long after"],
)
def test_what_does_not_fit_is_not_linked(teller: Teller) -> None:
    assert across(TRACE, teller.run()) is None


def test_a_host_that_explains_itself_needs_nobody() -> None:
    assert across(TRACE, a_kill_and_a_reset(at_b="mem.cgroup_oom").run()) is None


def test_a_torn_file_on_a_shared_mount() -> None:
    teller = Teller()
    teller.say(
        "a",
        sc.EVENT_PROCESS_KILLED,
        50.0,
        "dbt (5) was killed.",
        process__pid=5,
        process__executable__name="dbt",
    )
    teller.say("a", sc.EVENT_FILE_PARTIAL_WRITE, 50.0, "torn", file__path="/mnt/lake/users.csv")
    teller.say("b", sc.EVENT_FILE_TAINTED_READ, 55.0, "reads it", file__path="/mnt/lake/users.csv")
    teller.incident("b", 56.0, "fs.truncated", "file /mnt/lake/users.csv")
    report = across(TRACE, teller.run())
    assert report is not None
    assert (report.hypotheses[0].culprit.pid, report.hypotheses[0].culprit.host) == (5, "a")
    assert report.answers.what_started_it[0].by == "file"


def test_records_come_twice_late_and_in_any_order() -> None:
    facts = a_kill_and_a_reset().facts
    runs = RemoteRuns()
    for n, fact in enumerate([*reversed(facts), *facts]):
        runs.add(fact, n * 0.1)
    ((trace, run),) = runs.due(SETTLE_SECONDS + 2)
    assert trace == TRACE and len(run.facts) == len(facts) and runs.drops["repeated"] == len(facts)
    report = across(TRACE, run)
    assert report is not None and report.hypotheses[0].culprit.pid == 7
    assert list(runs.due(1000.0)) == []  # nothing new was told


def test_a_run_that_never_falls_silent_is_looked_at_all_the_same() -> None:
    runs, teller = RemoteRuns(), a_kill_and_a_reset()
    for fact in teller.facts:
        runs.add(fact, 1.0)
    for n in range(1, 70):
        told = teller.say("b", sc.EVENT_PROCESS_KILLED, 100.0 + n)
        runs.add(told, 1.0 + n)
        if list(runs.due(1.0 + n)):
            assert n >= PATIENCE_SECONDS
            return
    raise AssertionError("never looked at")


def fact_of(kind: str, severity: int, trace_id: str = "") -> RemoteFact:
    return RemoteFact(
        host="a",
        addresses=(),
        uid="u",
        at_ns=0,
        kind=kind,
        severity=severity,
        text="",
        trace_id=trace_id,
        span_id="",
        values={},
    )


def test_tables_are_bounded_and_count_what_they_drop() -> None:
    runs, teller = RemoteRuns(), Teller()
    for n in range(FACTS_PER_RUN + 10):
        runs.add(teller.say("a", sc.EVENT_PROCESS_KILLED, n), 0.0)
    told = teller.facts[0]
    for n in range(RUNS + 5):
        runs.add(fact_of(told.kind, told.severity, trace_id=f"{n:032x}"), 0.0)
    runs.add(fact_of("process.start", 5, trace_id=TRACE), 0.0)
    runs.add(fact_of(sc.EVENT_PROCESS_KILLED, 17), 0.0)
    assert len(runs) == RUNS
    assert dict(runs.drops) == {
        "run_full": 10,
        "forgotten_run": 6,
        "uninteresting": 1,
        "without_run": 1,
    }


def test_an_instance_tells_each_incident_once_and_again_when_it_changes() -> None:
    told: list[LogRecord] = []
    insights = Insights(ResourceAttributes((("service.name", "kwitness-insights"),)), told.append)
    teller = a_kill_and_a_reset()
    for fact in teller.facts:
        insights.take(fact, 0.0)
    insights.evaluate_due(10.0, 1)
    insights.take(teller.say("b", sc.EVENT_PROCESS_EXIT, 101.0), 11.0)
    insights.evaluate_due(20.0, 2)
    assert len(told) == 1 and len(insights.reports) == 1
    values = dict(told[0].attributes)
    assert (
        values[sc.PIPELINE_INCIDENT_CAUSE] == "mem.cgroup_oom"
        and values[sc.PIPELINE_INCIDENT_HOST] == "a"
    )
    assert told[0].trace_id.hex() == TRACE and "on a" in told[0].body
    (metric,) = [m for m in insights.metrics() if m.name == "pipeline.incidents"]
    assert [p.value for p in metric.points] == [1]
