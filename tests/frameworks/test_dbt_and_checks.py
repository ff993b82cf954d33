"""dbt against its run_results, Great Expectations against its validation results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.frameworks.harness import Bench, Figures, Report, healthy_runs, note_healthy

_STATUS = {"success": "success", "pass": "success", "error": "", "fail": "", "skipped": None}


def results(bench: Bench) -> dict[tuple[str, str], str]:
    """(type, name) → outcome of every node that dbt ran; which of several failed is not in the
    kernel's view."""
    found = json.loads((bench.folder / "target/run_results.json").read_text())["results"]
    out = {}
    for node in found:
        kind, _, name = node["unique_id"].split(".")[:3]
        outcome = _STATUS[node["status"]]
        if outcome is not None:
            out[("check" if kind == "test" else "model", name)] = outcome
    return out


def nodes(report: Report) -> dict[tuple[str, str], str]:
    return {(w["type"], w["task"]): w["outcome"] for w in report.of("dbt") if w["type"] != "job"}


@pytest.mark.parametrize(("command", "status"), [("build", 0), ("run", 0), ("test", 0), ("bad", 1)])
def test_dbt(command: str, status: int, place: Path) -> None:
    bench = Bench("dbt", place, "dbt")
    extra = ("--vars", "{with_bad: true}") if command == "bad" else ()
    if command == "test":
        bench.run("dbt", "run", "--profiles-dir", ".")
    report = bench.run(
        "dbt", "run" if command == "bad" else command, "--profiles-dir", ".", *extra, status=status
    )
    (job,) = report.of("dbt", "job")
    figures = Figures("dbt", command if command != "bad" else "run with a failing model")
    figures.records(results(bench), nodes(report))
    figures.records(
        {("shop", job["task"]): "failure" if status else "success"},
        {(job["pipeline"], job["task"]): job["outcome"]},
    )
    figures.note = (
        "of a run that failed, which node failed is in run_results.json only" if status else ""
    )
    figures.check()
    if command in ("build", "run"):
        (model,) = [w for w in report.of("dbt", "model") if w["task"] == "users_export"]
        assert model["outputs"] == [f"{bench.data}/users_export.csv"]
        assert model["trace_id"] == job["trace_id"] and model["inside_of"] == job["span_id"]


@pytest.mark.parametrize("context", ["ephemeral", "file"])
def test_great_expectations(context: str, place: Path) -> None:
    bench = Bench("gx", place, "great_expectations")
    table = bench.data / "users.csv"
    table.write_text("name,user_id\n" + "".join(f"u{i},{i}\n" for i in range(1000)))
    project = (str(bench.data),) if context == "file" else ()
    figures = Figures("great_expectations", f"{context} context")
    for least, status in ((500, 0), (5000, 1)):
        bench.truth_file.write_text("")
        report = bench.run("python", "validate.py", str(table), str(least), *project, status=status)
        (check,) = report.of("great_expectations", "check")
        assert str(table) in report.facts["execution"]["inputs"]
        recorded = {("validate.py", "users.csv"): "failure" if status else "success"}
        if context == "file":
            stored = list(bench.data.glob("gx/uncommitted/validations/*/*/*/*.json"))
            verdict = max(stored, key=lambda p: p.stat().st_mtime)
            recorded = {
                (verdict.parts[-4], verdict.stem): "success"
                if json.loads(verdict.read_text())["success"]
                else "failure"
            }
        figures.records(recorded, {(check["pipeline"], check["task"]): check["outcome"]})
        figures.processes(report, bench.truth(), "great_expectations", {}, kind="check")
    figures.check()


def test_an_import_alone_is_no_check(place: Path) -> None:
    bench = Bench("gx", place, "great_expectations")
    report = bench.run("python", "-c", "import great_expectations")
    assert not report.of("great_expectations")


def test_healthy_dbt_raises_no_alarm(place: Path) -> None:
    bench = Bench("dbt", place, "dbt")
    for _ in healthy_runs():
        report = bench.run("dbt", "build", "--profiles-dir", ".")
        assert not report.alarms(), "\n".join(report.alarms())
    note_healthy("dbt")


def test_healthy_checks_raise_no_alarm(place: Path) -> None:
    bench = Bench("gx", place, "great_expectations")
    table = bench.data / "users.csv"
    table.write_text("name,user_id\n" + "".join(f"u{i},{i}\n" for i in range(1000)))
    for _ in healthy_runs():
        report = bench.run("python", "validate.py", str(table), "500", str(bench.data))
        assert not report.alarms(), "\n".join(report.alarms())
    note_healthy("great_expectations")
