"""docs/mapping.md from what the tests of tests/frameworks measured:
`python -m tests.frameworks.report FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from tests.frameworks.harness import Figures

TARGET = Path(__file__).parent.parent.parent / "docs/mapping.md"
HEAD = """# Mapping: which task a process belongs to

Written by `make test-frameworks`. It installs each framework (pinned in
`tests/frameworks/requirements`), runs it while kwitness observes, and compares the names that
kwitness gives with two independent sources. One is the processes themselves, which write down who
they are (`tests/frameworks/pipelines/truth.py`). The other is the framework's own records
(Airflow's database, Spark's work folder, dbt's run_results, Great Expectations' validation results,
Prefect's and Dagster's stores).

- **Recall**: of the processes that wrote down who they are, the share that kwitness gives the same
  name.
- **Precision**: of the processes that kwitness assigned to work of that system, the share for which
  the work is right. *Wrong* counts processes that are assigned to other work as certain or
  probable; it must be 0.
- **Work**: of the pieces of work in the framework's records (tasks with attempt and map index,
  models, executors, …), the number that kwitness found.
- **Outcomes**: compared if both sources have one. kwitness reports what the kernel saw, so a
  difference is not always an error (see the notes).
- **Grades**: [attribution.md](attribution.md) explains them, and why a service that was started
  later is only *probable*.

| framework | runs | processes stated | recall | precision | wrong | work found | outcomes equal \
| grades |
|---|---|---|---|---|---|---|---|---|
"""


def row(f: Figures) -> str:
    recall = f"{f.found / f.stated:.1%}" if f.stated else "–"
    given = f.found + len(f.wrong)
    precision = f"{f.found / given:.1%}" if given else "–"
    work = f"{f.work_found} of {f.work_recorded}" + (
        f", {len(f.work_extra)} more" if f.work_extra else ""
    )
    outcomes = f"{f.outcomes_agreed} of {f.outcomes_known}" if f.outcomes_known else "–"
    grades = ", ".join(f"{n} {grade}" for grade, n in sorted(f.grades.items())) or "–"
    return (
        f"| {f.framework} | {f.how} | {f.stated} | {recall} | {precision} | {len(f.wrong)} | "
        f"{work} | {outcomes} | {grades} |"
    )


def main(folder: Path) -> None:
    found = sorted(
        (
            msgspec.json.decode(p.read_bytes(), type=Figures)
            for p in folder.glob("*.json")
            if p.name != "healthy.json"
        ),
        key=lambda f: (f.framework, f.how),
    )
    stated, right, wrong = (
        sum(f.stated for f in found),
        sum(f.found for f in found),
        sum(len(f.wrong) for f in found),
    )
    lines = [row(f) for f in found]
    lines += [
        "",
        f"All together: {right} of {stated} processes ({right / stated:.1%}), {wrong} wrong.",
        "",
        "## Notes",
        "",
    ]
    for f in found:
        notes = [f.note] if f.note else []
        notes += [f"not found: {text}" for text in f.unknown[:3]]
        notes += [f"not in the records: {', '.join(f.work_extra[:3])}"] if f.work_extra else []
        notes += f.outcomes_differ[:3]
        lines += [f"- {f.framework}, {f.how}: {'; '.join(notes)}." for _ in notes[:1]]
    TARGET.write_text(HEAD + "\n".join(lines) + "\n" + LIMITS + healthy(folder))


LIMITS = """
## What cannot be known from the kernel

- These names are not visible: Prefect's task runs (they are threads), the names of Dagster's steps
  (they are only in its event log), Celery's task names, inner Luigi tasks that write no
  LocalTarget, Airflow tasks that `airflow tasks test` runs in its own process, and the application
  id of Spark in local mode.
- These were not run here: Nextflow (its program is in no package registry; the rules follow its
  documentation and are tested with constructed events), Celery's and Kubernetes' executors of
  Airflow (pods and containers are tested with recorded cgroup paths), and YARN and Kubernetes as
  masters of Spark.
- kwitness recognises a dbt node by the files below target/. With `--no-write-json` or another
  target path it does not. A node ends when its thread starts the next node, so its duration is an
  upper bound.
"""


def healthy(folder: Path) -> str:
    """How often each framework ran without an alarm: written by the healthy tests."""
    path = folder / "healthy.json"
    if not path.exists():
        return ""
    runs = msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    rows = "\n".join(f"| {name} | {count} |" for name, count in sorted(runs.items()))
    head = "## Healthy runs without a finding of severity WARN or above"
    return (
        f"\n{head}\n\n| framework | runs |\n|---|---|\n{rows}\n\n"
        "Other frameworks were not run that often.\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
