"""Prefect, Dagster, Luigi, Snakemake and papermill against their own records and what their
processes say."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.frameworks.harness import Bench, Figures, healthy_runs, note_healthy


def prefect_runs(bench: Bench) -> dict[tuple[str, str], str]:
    """(flow, run id) → outcome of its own store."""
    base = Path(bench.env["HOME"]) / ".prefect/prefect.db"
    with sqlite3.connect(f"file:{base}?mode=ro", uri=True) as store:
        rows = store.execute(
            "select f.name, r.id, r.state_type from flow_run r join flow f on f.id = r.flow_id"
        ).fetchall()
    return {
        (name, run): "success" if state == "COMPLETED" else "failure" for name, run, state in rows
    }


def prefect(place: Path) -> Bench:
    bench = Bench("prefect", place, "prefect")
    bench.env |= {
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    return bench


def test_prefect_worker(place: Path) -> None:
    bench = prefect(place)
    report = bench.run("python", "drive.py", "worker", "1", "-p", "healthy=false")
    figures = Figures("prefect", "worker")
    figures.processes(report, bench.truth(), "prefect", {"run_id": "run"}, kind="job")
    found = {(w["pipeline"], w["run_id"]): w["outcome"] for w in report.of("prefect", "job")}
    figures.records(dict.fromkeys(prefect_runs(bench), ""), found)
    figures.note = (
        "task runs are threads: not visible. The flow is Completed in Prefect's store though a "
        "task failed in it"
    )
    figures.check()


def test_prefect_script(place: Path) -> None:
    bench = prefect(place)
    report = bench.run("python", "flow.py", status=None)
    figures = Figures("prefect", "script")
    figures.processes(report, bench.truth(), "prefect", {}, kind="job")
    figures.note = "neither flow nor run id is visible: the script is the name (grade: partial)"
    figures.check()
    assert [w["pipeline"] for w in report.of("prefect")] == ["flow.py"]


def test_healthy_prefect_raises_no_alarm(place: Path) -> None:
    bench = prefect(place)
    runs = len(list(healthy_runs()))
    report = bench.run(
        "python", "drive.py", "worker", str(runs), "-p", "healthy=true", timeout=2400
    )
    assert len(report.of("prefect", "job")) == runs
    assert not report.alarms("prefect"), "\n".join(report.alarms("prefect"))
    note_healthy("prefect")


def dagster(place: Path) -> Bench:
    bench = Bench("dagster", place, "dagster")
    home = place / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    bench.env |= {"DAGSTER_HOME": str(home)}
    return bench


def dagster_steps(bench: Bench, run: str) -> list[str]:
    """Step keys in the order of their starts, one for each attempt, by the run's own event log."""
    with sqlite3.connect(
        f"file:{bench.env['DAGSTER_HOME']}/history/runs/{run}.db?mode=ro", uri=True
    ) as store:
        rows = store.execute(
            "select step_key from event_logs where dagster_event_type in ('STEP_START', "
            "'STEP_RESTARTED') order by id"
        ).fetchall()
    return [key for (key,) in rows]


@pytest.mark.parametrize("how", ["job execute", "dev"])
def test_dagster(how: str, place: Path) -> None:
    bench = dagster(place)
    command = (
        ("dagster", "job", "execute", "-f", "defs.py", "-j", "etl")
        if how != "dev"
        else ("python", "dev.py", "etl")
    )
    report = bench.run(*command, status=None, timeout=600)
    figures = Figures("dagster", how)
    figures.processes(report, bench.truth(), "dagster", {"run_id": "run"}, kind="task")
    (run,) = {line["run"] for line in bench.truth()}
    recorded = {(run, n): "" for n, _ in enumerate(dagster_steps(bench, run))}
    found = {(w["run_id"], n): w["outcome"] for n, w in enumerate(report.of("dagster", "task"))}
    figures.records(recorded, found)
    figures.note = (
        "a step's name is in the event log only: steps are compared by run, order and process"
    )
    figures.check()
    assert {w["run_id"] for w in report.of("dagster")} == {run}
    if how != "dev":
        assert [w["task"] for w in report.of("dagster", "job")] == ["etl"]


def test_healthy_dagster_raises_no_alarm(place: Path) -> None:
    bench = dagster(place)
    for _ in healthy_runs():
        report = bench.run("dagster", "job", "execute", "-f", "defs.py", "-j", "healthy")
        assert not report.alarms(), "\n".join(report.alarms())
    note_healthy("dagster")


@pytest.mark.parametrize("workers", [1, 2])
def test_luigi(workers: int, place: Path) -> None:
    bench = Bench("luigi", place, "luigi")
    bench.env["PYTHONPATH"] = "."
    task = "All" if workers == 2 else "ShellSort"
    command = (
        "luigi",
        "--module",
        "tasks",
        task,
        "--day",
        "2024-01-15",
        "--local-scheduler",
        "--workers",
        str(workers),
    )
    report = bench.run(*command, PYTHONPATH=f".:{Path(__file__).parent.parent.parent}")
    figures = Figures("luigi", f"{workers} workers")
    figures.processes(report, bench.truth(), "luigi", {}, kind="job")
    targets = {(p.name,): "success" for p in bench.data.glob("luigi_extract*")}
    figures.records(targets, {(w["task"],): w["outcome"] for w in report.of("luigi", "task")})
    figures.note = "inner tasks by the LocalTargets that they write; others are not visible"
    figures.check()
    (job,) = report.of("luigi", "job")
    assert (job["pipeline"], job["outcome"]) == (
        f"tasks.{task}",
        "failure" if workers == 2 else "success",
    )


def test_healthy_luigi_raises_no_alarm(place: Path) -> None:
    bench = Bench("luigi", place, "luigi")
    path = f".:{Path(__file__).parent.parent.parent}"
    for n in healthy_runs():
        day = f"2024-02-{n + 1:02}"
        report = bench.run(
            "luigi",
            "--module",
            "tasks",
            "ShellSort",
            "--day",
            day,
            "--local-scheduler",
            "--workers",
            "2",
            PYTHONPATH=path,
        )
        assert not report.alarms(), "\n".join(report.alarms())
    note_healthy("luigi")


_OUTPUTS = {
    "extract": "extract.txt",
    "sort_it": "sorted.txt",
    "py_run": "py_run",
    "py_script": "script.txt",
    "fails": "fails.txt",
    "killed": "killed.txt",
}


def test_snakemake(place: Path) -> None:
    bench = Bench("snakemake", place, "snakemake")
    report = bench.run("snakemake", "--cores", "2", "--keep-going", status=1)
    figures = Figures("snakemake", "cores 2")
    truth = [line | {"job": _OUTPUTS[line["job"]]} for line in bench.truth()]
    figures.processes(report, truth, "snakemake", {"task": "job"})
    failed = {"fails", "killed"}
    recorded = {(_OUTPUTS[j],): "failure" if j in failed else "success" for j in _OUTPUTS}
    figures.records(recorded, {(w["task"],): w["outcome"] for w in report.of("snakemake", "task")})
    figures.note = "jobs are named by their first output, `run:` jobs by their rule"
    figures.check()


def test_healthy_snakemake_raises_no_alarm(place: Path) -> None:
    bench = Bench("snakemake", place, "snakemake")
    for _ in healthy_runs():
        report = bench.run("snakemake", "--cores", "2", "--forceall", "healthy")
        assert not report.alarms(), "\n".join(report.alarms())
    note_healthy("snakemake")


def test_papermill(place: Path) -> None:
    bench = Bench("papermill", place, "papermill")
    bench.run("python", "make_notebook.py", ".")
    figures = Figures("papermill", "execute")
    for name, status in (("etl.ipynb", 0), ("etl_killed.ipynb", None)):
        bench.truth_file.write_text("")
        report = bench.run("papermill", name, "out.ipynb", "-p", "day", "2024-01-15", status=status)
        truth = [line | {"notebook": name} for line in bench.truth()]
        figures.processes(report, truth, "papermill", {"pipeline": "notebook"}, kind="job")
        found = {(w["pipeline"],): w["outcome"] for w in report.of("papermill", "job")}
        figures.records({(name,): "failure" if status is None else "success"}, found)
    figures.check()


def test_healthy_papermill_raises_no_alarm(place: Path) -> None:
    bench = Bench("papermill", place, "papermill")
    bench.run("python", "make_notebook.py", ".")
    for _ in healthy_runs():
        report = bench.run("papermill", "etl.ipynb", "out.ipynb", "-p", "day", "2024-01-15")
        assert not report.alarms(), "\n".join(report.alarms())
    note_healthy("papermill")
