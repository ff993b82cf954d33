"""cron, make, shell scripts, and Celery's workers."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import missing
from tests.frameworks.harness import Bench, Figures, healthy_runs, note_healthy


def test_make_and_its_recipes(place: Path) -> None:
    bench = Bench("luigi", place, "plain")
    report = bench.run("make")
    figures = Figures("make", "two recipes")
    figures.processes(report, bench.truth(), "make", {}, kind="job")
    figures.records(
        {("pipeline", "all"): "success"},
        {(w["pipeline"], w["task"]): w["outcome"] for w in report.of("make")},
    )
    figures.check()
    assert not report.alarms()


def test_a_script_whose_first_stage_is_killed(place: Path) -> None:
    bench = Bench("luigi", place, "plain")
    report = bench.run("bash", "nightly.sh")
    figures = Figures("command", "a shell pipeline")
    figures.processes(report, bench.truth(), "command", {}, kind="command")
    figures.records(
        {("bash",): "failure"}, {(w["task"],): w["outcome"] for w in report.of("command")}
    )
    figures.note = "its own exit status is 0"
    figures.check()
    assert {f["kind"] for f in report.facts["findings"]} >= {
        "process.killed",
        "pipeline.task.result_mismatch",
    }


def test_cron(place: Path) -> None:
    if not (shutil.which("cron") and shutil.which("crontab")):
        missing("frameworks", "there is no cron")
    bench = Bench("luigi", place, "plain")
    report = bench.run("bash", "cron.sh")
    figures = Figures("cron", "one line")
    figures.processes(report, bench.truth(), "cron", {}, kind="job")
    jobs = [w for w in report.of("cron") if "nightly.sh" in w["task"]]
    figures.records(
        {("crontab of uid 0",): "failure"}, {(w["pipeline"],): w["outcome"] for w in jobs}
    )
    figures.note = "cron itself knows no outcome; the line's script ignores a killed stage"
    figures.check()


def test_celery_workers_are_known_and_their_tasks_are_not(place: Path) -> None:
    bench = Bench("celery", place, "celery")
    report = bench.run("bash", "drive.sh")
    roles = {p["role"] for p in report.facts["processes"]}
    assert "celery worker of tasks" in roles
    assert bench.truth() and all(
        report.chain(line["pid"])[-1]["system"] == "command" for line in bench.truth()
    )
    assert not report.of("celery")  # what it works on is in no title and no argument


def test_healthy_scripts_raise_no_alarm(place: Path) -> None:
    bench = Bench("luigi", place, "plain")
    for _ in healthy_runs():
        shutil.rmtree(bench.data)
        bench.data.mkdir()
        report = bench.run("make")
        assert not report.alarms(), "\n".join(report.alarms())
    note_healthy("make")
