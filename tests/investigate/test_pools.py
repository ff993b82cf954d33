"""A worker of a pool whose call failed, and what looks alike."""

from __future__ import annotations

import errno
import signal

import pytest

from receiver.events import CallKind, LastFailure, ProcessKey, SubjectKind
from receiver.investigate.case import Case
from receiver.investigate.snapshot import ProcessSnapshot
from tests.builders import MS, Story
from tests.investigate.telling import cause_of, concluded, report_of

OPENAT = 257


class Pool:
    """A program with workers, which are forks of it."""

    def __init__(self, workers: int = 2) -> None:
        self.story = Story()
        self.program = self.story.command("python3", "job.py")
        self.workers = [self.story.fork(self.program) for _ in range(workers)]
        self.story.step(300)

    def fails(self, who: ProcessKey, path: str = "/data/out", *, ago_ms: float = 5) -> None:
        self.story.fact(
            LastFailure,
            who,
            call=CallKind.OPEN,
            call_number=OPENAT,
            error=errno.EISDIR,
            path=path,
            failures=1,
            subject=SubjectKind.PATH_ASKED,
            thread=who.tgid,
            failed_boottime_ns=self.story.now - int(ago_ms * MS),
        )

    def ends(self, number: int, *, status: int = 1) -> None:
        for worker in self.workers:
            if number:
                self.story.signal(self.program, worker, number, comm="python3")
            self.story.exit(worker, signal=number, after_ms=1)
        self.story.exit(self.program, status, after_ms=10)


@pytest.mark.parametrize("number", [0, signal.SIGTERM], ids=["well", "stopped"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_pool_fails_of_the_call_that_failed_in_a_worker(which: int, number: int) -> None:
    """Its program ends the workers, or stops them: that is no reason for its own end."""
    pool = Pool()
    pool.fails(pool.workers[which])
    pool.ends(number)
    report = report_of(pool.story)
    assert cause_of(report) == "fs.path_unusable"
    program, worker = pool.program.tgid, pool.workers[which].tgid
    assert report.hypotheses[0].summary.startswith(
        f"python3 ({program}) ended because openat of /data/out failed in its worker "
        f"python3 ({worker}) with EISDIR"
    )


def test_a_failure_in_a_worker_is_no_reason_for_a_program_that_ended_well() -> None:
    pool = Pool()
    pool.fails(pool.workers[0])
    pool.ends(0, status=0)
    assert cause_of(report_of(pool.story)) == "none.healthy"


def test_what_the_program_itself_failed_at_later_is_its_reason() -> None:
    pool = Pool()
    pool.fails(pool.workers[0], ago_ms=200)
    pool.fails(pool.program, "/data/own")
    pool.ends(0)
    report = report_of(pool.story)
    assert (cause_of(report), report.hypotheses[0].culprit.path) == (
        "fs.path_unusable",
        "/data/own",
    )


def test_a_failure_long_before_the_end_is_none() -> None:
    pool = Pool()
    pool.fails(pool.workers[0])
    pool.story.step(8_000)
    pool.ends(0)
    assert cause_of(report_of(pool.story)) == "none.not_visible"


def test_a_worker_that_ended_by_itself_was_not_taken_down() -> None:
    pool = Pool()
    well, stopped = pool.workers
    pool.story.exit(well)
    pool.story.signal(pool.program, stopped, signal.SIGTERM, comm="python3")
    pool.story.exit(stopped, signal=signal.SIGTERM, after_ms=1)
    pool.story.exit(pool.program, 1, after_ms=10)
    said = [
        evidence.text
        for each in concluded(pool.story, pool.program).considered
        for evidence in each.evidence
        if evidence.clue == "kill.supervisor.own_pool"
    ]
    workers = f"2 workers of python3 ({pool.program.tgid})"
    assert said == [f"{workers} ended within a second before it exited with status 1."]


def test_the_processes_of_a_large_pool_are_not_counted_for_each_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[ProcessSnapshot] = []
    below = Case.below

    def counted(case: Case, actor: ProcessSnapshot) -> list[ProcessSnapshot]:
        looked.append(actor)
        return below(case, actor)

    monkeypatch.setattr(Case, "below", counted)
    pool = Pool(workers=40)
    for worker in pool.workers:
        pool.fails(worker, f"/data/{worker.tgid}")
    pool.ends(0)
    assert cause_of(report_of(pool.story)) == "fs.path_unusable"
    assert len(looked) < 2 * 40
