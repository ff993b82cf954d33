"""Runtimes that end at the limit of their heap, and ones that end below it."""

from __future__ import annotations

import signal

import pytest

from receiver.events import EarlySample, ProcessKey
from receiver.investigate.report import to_json
from receiver.units import MIB, SECOND
from tests.builders import Story
from tests.investigate.telling import cause_of, report_of


@pytest.mark.parametrize(
    ("options", "peak_mib", "cause"),
    [
        (("--max-old-space-size=96",), 162, "mem.app_heap"),
        (("--max-old-space-size=4096", "--max-old-space-size=96"), 162, "mem.app_heap"),
        (("--max-old-space-size=96", "--max-old-space-size=4096"), 162, "crash.abort_ill"),
        (("-Xmx98304k",), 162, "mem.app_heap"),
        (("--max-old-space-size=96",), 90, "crash.abort_ill"),  # far below its limit
        (("rank.js", "--max-old-space-size=96"), 162, "crash.abort_ill"),  # an option of the script
        ((), 162, "crash.abort_ill"),  # nothing says that it has a limit
    ],
)
def test_a_runtime_that_aborts_itself_at_the_limit_of_its_heap(
    options: tuple[str, ...], peak_mib: int, cause: str
) -> None:
    story = Story()
    root = story.command("node", *options, "rank.js")
    for held in (44, 80, peak_mib):
        story.step(150)
        story.fact(EarlySample, root, anon_bytes=held * MIB, cpu_runtime_ns=SECOND)
    story.signal(root, root, signal.SIGABRT, code=-6, comm="node")
    story.exit(root, signal=signal.SIGABRT, after_ms=1, peak_rss_bytes=peak_mib * MIB)
    report = report_of(story)
    assert cause_of(report) == cause
    if cause == "mem.app_heap":
        assert "96.0 MiB" in report.summary and report.hypotheses[0].culprit.pid == root.tgid


@pytest.mark.parametrize(
    ("options", "held_mib", "cause"),
    [
        (("-Xmx96m",), (17, 36, 61), "mem.app_heap"),  # objects of half a region waste the rest
        (("-Xmx96m",), (30, 80, 112), "mem.app_heap"),
        (("-Xmx900m",), (17, 36, 61), "none.not_visible"),  # far below its limit
        (("-Xmx96m",), (2, 15, 22), "none.not_visible"),  # a JVM that starts
        (("-Xmx96m",), (61, 61, 61), "none.not_visible"),  # it had stopped growing
        ((), (17, 36, 61), "none.not_visible"),  # nothing says that it has a limit
    ],
)
@pytest.mark.parametrize("pool", [False, True])
def test_a_jvm_that_exits_while_it_grows_towards_the_limit_of_its_heap(
    options: tuple[str, ...], held_mib: tuple[int, ...], cause: str, pool: bool
) -> None:
    story = Story()
    root = story.command("python3", "run.py")
    above = story.fork(root) if pool else root
    job = story.spawn(above, "java", *options, "-jar", "rank.jar")
    for held in held_mib[:-1]:
        story.step(200)
        story.fact(
            EarlySample, job, anon_bytes=held * MIB, file_bytes=21 * MIB, cpu_runtime_ns=SECOND
        )
    peak = (held_mib[-1] + 21) * MIB
    story.exit(job, 1, after_ms=150, peak_rss_bytes=peak)
    if pool:
        story.exit(above, 0, after_ms=5)
    story.exit(root, 1, after_ms=30)
    report = report_of(story)
    assert cause_of(report) == cause
    if cause == "mem.app_heap":
        lead = report.hypotheses[0]
        assert "96.0 MiB" in report.summary and lead.culprit.pid == job.tgid
        assert 0.5 < lead.confidence < 0.9


def test_a_peak_before_the_last_looks_is_no_growth_to_the_end() -> None:
    story = Story()
    job = story.command("java", "-Xmx96m", "-jar", "rank.jar")
    for held in (60, 20, 20):
        story.step(200)
        story.fact(
            EarlySample, job, anon_bytes=held * MIB, file_bytes=21 * MIB, cpu_runtime_ns=SECOND
        )
    story.exit(job, 1, after_ms=150, peak_rss_bytes=81 * MIB)
    assert cause_of(report_of(story)) == "none.not_visible"


def test_a_jvm_that_was_asked_to_end_did_not_outgrow_its_heap() -> None:
    """It handles SIGTERM, and exits with status 143."""
    story = Story()
    job = story.command("java", "-Xmx96m", "-jar", "rank.jar")
    for held in (17, 36):
        story.step(200)
        story.fact(
            EarlySample, job, anon_bytes=held * MIB, file_bytes=21 * MIB, cpu_runtime_ns=SECOND
        )
    story.signal(ProcessKey(666, 5), job, signal.SIGTERM, comm="drainer", handled=1)
    story.exit(job, 143, after_ms=150, peak_rss_bytes=82 * MIB)
    assert "exited by itself" not in to_json(report_of(story)).decode()
